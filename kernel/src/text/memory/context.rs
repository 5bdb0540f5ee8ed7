//! Address spaces, ASIDs and TLB invalidations.

use super::write_hidden_count;
use crate::memory::dynamic::DynamicMemoryManager;
use crate::memory::switcher::AddressSpace;
use crate::tasks::Scheduler;
use core::fmt::{Result, Write};

macro_rules! columns {
    () => {
        "{:>4} {:<16} {:>5} {:>10} {:<5} {:>14} {:>12}"
    };
}

/// Writes the totals of switches, invalidations and ASIDs, and a row for each address space in use.
pub fn context(manager: &DynamicMemoryManager, scheduler: &Scheduler, out: &mut dyn Write) -> Result {
    up_to(manager, scheduler, usize::MAX, out)
}

/// As [`context`], with at most `rows` rows.
pub(super) fn up_to(manager: &DynamicMemoryManager, scheduler: &Scheduler, rows: usize, out: &mut dyn Write) -> Result {
    totals(manager, out)?;
    let switcher = &manager.context_switcher;
    let active = || switcher.spaces.iter().enumerate().filter(|(_, space)| space.is_active);
    writeln!(out, columns!(), "task", "name", "asid", "generation", "state", "table", "switches")?;
    for (task, space) in active().take(rows) {
        let name = scheduler.tasks.get(task).map_or("", |task| task.name());
        writeln!(
            out,
            columns!(),
            task,
            if name.is_empty() { "-" } else { name },
            space.asid,
            space.generation,
            state(task, space, manager),
            format_args!("{:#x}", space.table()),
            space.switch_count
        )?;
    }
    write_hidden_count(active().skip(rows).count(), out)
}

fn totals(manager: &DynamicMemoryManager, out: &mut dyn Write) -> Result {
    let switcher = &manager.context_switcher;
    writeln!(out, "current_space: {}", switcher.current)?;
    writeln!(out, "switch_count: {}", switcher.switch_count)?;
    writeln!(out, "fast_switch_count: {}", switcher.fast_switch_count)?;
    writeln!(out, "invalidations_by_address: {}", switcher.invalidations.by_address)?;
    writeln!(out, "invalidations_by_asid: {}", switcher.invalidations.by_asid)?;
    writeln!(out, "invalidations_of_everything: {}", switcher.invalidations.everything)?;
    writeln!(out, "asid_bits: {}", switcher.asids.bits)?;
    writeln!(out, "asid_generation: {}", switcher.asids.generation)?;
    writeln!(out, "asids_taken: {}", switcher.asids.taken_count())?;
    writeln!(out, "asid_allocation_count: {}", switcher.asids.allocation_count)?;
    writeln!(out, "asid_rollover_count: {}", switcher.asids.rollover_count)
}

/// `in`: in TTBR0 now; `valid`: its ASID is of the current generation; `stale`: it gets a new ASID at the next switch.
fn state(task: usize, space: &AddressSpace, manager: &DynamicMemoryManager) -> &'static str {
    let switcher = &manager.context_switcher;
    if task == switcher.current as usize {
        "in"
    } else if space.generation == switcher.asids.generation {
        "valid"
    } else {
        "stale"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::frames::FrameAddress;
    use crate::memory::layout::POOL_BASE;
    use crate::text::fixtures;

    #[test]
    fn spaces_show_whether_their_asid_holds() {
        let mut manager = fixtures::manager();
        let switcher = &mut manager.context_switcher;
        switcher.restart_asids(16);
        for task in 0..4 {
            switcher.spaces[task] = AddressSpace::new(FrameAddress::new(POOL_BASE + 0x1000).unwrap());
        }
        switcher.switch_to(2);
        switcher.restart_asids(8);
        switcher.switch_to(1);
        switcher.switch_to(0);
        switcher.switch_to(1);
        let mut text = String::new();
        context(&manager, &fixtures::scheduler(&["shell", "climber"]), &mut text).unwrap();
        let lines = fixtures::lines(&text);
        let rows: Vec<_> =
            lines[12..].iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let generation = manager.context_switcher.asids.generation;
        assert_eq!(rows[0], format!("0 shell 0 {generation} valid 0x8001000 1"));
        let asid = manager.context_switcher.spaces[1].asid;
        assert_eq!(rows[1], format!("1 climber {asid} {generation} in 0x8001000 2"));
        assert!(rows[3].starts_with("3 - 0 0 stale "), "{}", rows[3]);
        assert_eq!(fixtures::value(&text, "asid_bits"), "8");
        assert_eq!(fixtures::value(&text, "switch_count"), "4");
        assert_eq!(fixtures::value(&text, "current_space"), "1");
        assert_eq!(fixtures::value(&text, "invalidations_of_everything"), "2");
    }
}
