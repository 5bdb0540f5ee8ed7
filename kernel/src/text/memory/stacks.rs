//! `*d`: the dynamic stacks.

use super::write_hidden_count;
use crate::memory::dynamic::DynamicMemoryManager;
use crate::memory::growth::GrowthPolicy;
use crate::memory::stacks::DynamicStack;
use crate::text::units::{Gauge, Size};
use core::fmt::{Result, Write};

macro_rules! columns {
    () => {
        "{:>2} {:>4} {:<12} {:>8} {:>8} {:>8} {:>7} {:>7} {:>14} {:>14} {}"
    };
}

/// Width of a gauge.
const GAUGE_WIDTH: u32 = 4;

pub fn policy_name(policy: GrowthPolicy) -> &'static str {
    match policy {
        GrowthPolicy::Conservative => "Conservative",
        GrowthPolicy::Aggressive => "Aggressive",
        GrowthPolicy::Predictive => "Predictive",
    }
}

/// `*d`: the totals, and a row for each active stack. `highest` is the high-water mark; the gauge shows the current
/// size as a part of the maximum.
pub fn stacks(manager: &DynamicMemoryManager, out: &mut dyn Write) -> Result {
    up_to(manager, usize::MAX, out)
}

/// As [`stacks`], with at most `rows` rows.
pub(super) fn up_to(manager: &DynamicMemoryManager, rows: usize, out: &mut dyn Write) -> Result {
    let active = || manager.stack_manager.stacks.iter().filter(|stack| stack.is_active);
    let mapped: u64 = active().map(|stack| stack.current_size as u64).sum();
    let returned: u64 = manager.stack_manager.stacks.iter().map(|stack| stack.pages_returned as u64).sum();
    writeln!(out, "active_stacks: {}", active().count())?;
    writeln!(out, "mapped: {}", Size(mapped))?;
    writeln!(out, "pages_returned: {returned}")?;
    if active().next().is_none() {
        return Ok(());
    }
    writeln!(
        out,
        columns!(),
        "id",
        "task",
        "policy",
        "current",
        "maximum",
        "highest",
        "growths",
        "shrinks",
        "stack_pointer",
        "base_address",
        "gauge"
    )?;
    for stack in active().take(rows) {
        row(stack, out)?;
    }
    write_hidden_count(active().skip(rows).count(), out)
}

fn row(stack: &DynamicStack, out: &mut dyn Write) -> Result {
    let gauge = Gauge { part: stack.current_size as u64, whole: stack.max_size as u64, width: GAUGE_WIDTH };
    writeln!(
        out,
        columns!(),
        stack.id,
        stack.owner,
        policy_name(stack.policy),
        Size(stack.current_size as u64),
        Size(stack.max_size as u64),
        Size(stack.high_water_mark as u64),
        stack.growth_count,
        stack.shrink_count,
        format_args!("{:#x}", stack.stack_pointer),
        format_args!("{:#x}", stack.base_address),
        gauge
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::layout::STACK_LIMIT;
    use crate::text::fixtures;

    fn show(manager: &DynamicMemoryManager) -> String {
        let mut text = String::new();
        stacks(manager, &mut text).unwrap();
        text
    }

    #[test]
    fn a_kernel_without_stacks_says_so() {
        assert_eq!(show(&fixtures::manager()), "active_stacks: 0\nmapped: 0 B\npages_returned: 0\n");
    }

    #[test]
    fn a_stack_has_its_row() {
        let mut manager = fixtures::manager();
        manager.stack_manager.create(1, GrowthPolicy::Conservative, 4096);
        let slot = manager.stack_manager.create(7, GrowthPolicy::Predictive, STACK_LIMIT).unwrap();
        manager.stack_manager.stacks[0].is_active = false;
        let stack = &mut manager.stack_manager.stacks[slot];
        (stack.current_size, stack.high_water_mark) = (20 * 4096, 3 << 19);
        (stack.growth_count, stack.shrink_count, stack.pages_returned) = (12, 1, 364);
        stack.stack_pointer = stack.base_address - 0x6010;
        let text = show(&manager);
        let lines = fixtures::lines(&text);
        assert_eq!(lines[..3], ["active_stacks: 1", "mapped: 80 KiB", "pages_returned: 364"]);
        assert_eq!(lines.len(), 5);
        let cells: Vec<_> = lines[4].split_whitespace().collect();
        let expected = "2 7 Predictive 80 KiB 2040 KiB 1.5 MiB 12 1 0x7000003f9ff0 0x700000400000 [#---]";
        assert_eq!(cells.join(" "), expected);
    }

    #[test]
    fn columns_stand_under_their_headers() {
        let mut manager = fixtures::manager();
        manager.stack_manager.create(96, GrowthPolicy::Conservative, STACK_LIMIT);
        let stack = &mut manager.stack_manager.stacks[0];
        (stack.growth_count, stack.shrink_count) = (9_999_999, 9_999_999);
        let text = show(&manager);
        let lines = fixtures::lines(&text);
        for (header, cell) in [("task", "96"), ("shrinks", "9999999"), ("base_address", "0x700000200000")] {
            let header_end = lines[3].find(header).unwrap() + header.len();
            assert!(lines[4][..header_end].ends_with(cell), "{header}:\n{text}");
        }
    }
}
