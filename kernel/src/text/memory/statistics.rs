//! `*s`: the ten figures of [`DynamicMemoryStats`].

use crate::memory::dynamic::{DynamicMemoryManager, DynamicMemoryStats};
use core::fmt::{Result, Write};

/// `*s`: a line with the name and value of each field.
pub fn statistics(manager: &DynamicMemoryManager, out: &mut dyn Write) -> Result {
    // Names every field, so that a new field is a compile error here.
    let DynamicMemoryStats {
        total_dynamic_stacks,
        active_dynamic_stacks,
        total_stack_growth_events,
        total_stack_shrink_events,
        total_lazy_pages,
        allocated_lazy_pages,
        total_lazy_page_faults,
        memory_pressure_events,
        optimization_events,
        context_switch_count,
    } = manager.stats;
    writeln!(out, "total_dynamic_stacks: {total_dynamic_stacks}")?;
    writeln!(out, "active_dynamic_stacks: {active_dynamic_stacks}")?;
    writeln!(out, "total_stack_growth_events: {total_stack_growth_events}")?;
    writeln!(out, "total_stack_shrink_events: {total_stack_shrink_events}")?;
    writeln!(out, "total_lazy_pages: {total_lazy_pages}")?;
    writeln!(out, "allocated_lazy_pages: {allocated_lazy_pages}")?;
    writeln!(out, "total_lazy_page_faults: {total_lazy_page_faults}")?;
    writeln!(out, "memory_pressure_events: {memory_pressure_events}")?;
    writeln!(out, "optimization_events: {optimization_events}")?;
    writeln!(out, "context_switch_count: {context_switch_count}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixtures;

    #[test]
    fn each_field_stands_under_its_own_name() {
        let mut manager = fixtures::manager();
        manager.stats = DynamicMemoryStats {
            total_dynamic_stacks: 1,
            active_dynamic_stacks: 2,
            total_stack_growth_events: 3,
            total_stack_shrink_events: 4,
            total_lazy_pages: 5,
            allocated_lazy_pages: 6,
            total_lazy_page_faults: 7,
            memory_pressure_events: 8,
            optimization_events: 9,
            context_switch_count: 4_000_000_000,
        };
        let mut text = String::new();
        statistics(&manager, &mut text).unwrap();
        // `Debug` also writes each field as a line `name: value`.
        let debug = format!("{:#?}", manager.stats);
        let fields: Vec<_> = debug.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(',')).collect();
        assert_eq!(fixtures::lines(&text), fields);
        assert_eq!(fields.len(), 10);
    }
}
