//! The answers to the commands of the `*` submenu.

mod context;
mod lazy;
mod pressure;
mod stacks;
mod statistics;

pub use context::context;
pub use lazy::lazy_pages;
pub use pressure::{pressure, strategy_name};
pub use stacks::stacks;
pub use statistics::statistics;

use crate::memory::dynamic::DynamicMemoryManager;
use crate::tasks::Scheduler;
use core::fmt::{Result, Write};

/// The most rows of each table in the report; the command for one subject shows all rows.
const REPORT_ROWS: usize = 16;

/// `*r`: all subjects, each under a heading in brackets.
pub fn report(manager: &DynamicMemoryManager, scheduler: &Scheduler, out: &mut dyn Write) -> Result {
    writeln!(out, "[statistics]")?;
    statistics(manager, out)?;
    writeln!(out, "[memory pressure]")?;
    pressure(manager, out)?;
    writeln!(out, "[dynamic stacks]")?;
    stacks::up_to(manager, REPORT_ROWS, out)?;
    writeln!(out, "[lazy pages]")?;
    lazy::totals(manager, out)?;
    lazy::ranges(manager, REPORT_ROWS, out)?;
    writeln!(out, "[address spaces]")?;
    context::up_to(manager, scheduler, REPORT_ROWS, out)
}

/// Writes how many rows of a table are not shown, if any.
fn write_hidden_count(hidden: usize, out: &mut dyn Write) -> Result {
    if hidden > 0 { writeln!(out, "rows not shown: {hidden}") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::growth::GrowthPolicy;
    use crate::text::fixtures;

    #[test]
    fn the_report_has_every_subject_once_and_bounded_tables() {
        let mut manager = fixtures::manager();
        for owner in 1..=40 {
            manager.stack_manager.create(owner, GrowthPolicy::Predictive, 65536);
            manager.lazy_allocator.reserve(owner, 10);
            manager.context_switcher.spaces[owner as usize].is_active = true;
        }
        let mut text = String::new();
        report(&manager, &fixtures::scheduler(&["shell", "walker"]), &mut text).unwrap();
        let lines = fixtures::lines(&text);
        let headings: Vec<_> = lines.iter().filter(|line| line.starts_with('[')).collect();
        let subjects = ["[statistics]", "[memory pressure]", "[dynamic stacks]", "[lazy pages]", "[address spaces]"];
        assert_eq!(headings, subjects.iter().collect::<Vec<_>>());
        assert_eq!(lines.iter().filter(|line| **line == "rows not shown: 24").count(), 3);
        assert!(lines.len() < 130, "{} lines", lines.len());
    }
}
