//! The structures of the design (phase 4.4.4): its fields come first, in its order.

use crate::memory::dynamic::DynamicMemoryStats;
use crate::memory::lazy::LazyPage;
use crate::memory::stacks::DynamicStack;
use std::mem::offset_of;

/// The offsets of a structure's fields.
macro_rules! offsets {
    ($structure:ty: $($field:ident)*) => { [$(offset_of!($structure, $field)),*] };
}

#[test]
fn fields_of_a_stack_are_in_the_designs_order() {
    let offsets = offsets!(DynamicStack: id base_address current_size max_size growth_count shrink_count
                           last_access_time);
    assert!(offsets.is_sorted() && offsets[0] == 0);
    let ours = offsets!(DynamicStack: is_active policy owner stack_pointer high_water_mark guard_address
                        last_growth_time last_growth_pages pages_returned);
    assert!(ours.is_sorted() && ours[0] > offsets[6]);
}

#[test]
fn fields_of_a_lazy_page_are_in_the_designs_order() {
    let offsets = offsets!(LazyPage: virtual_address physical_address is_allocated is_zero_page access_count
                           allocation_time);
    assert!(offsets.is_sorted() && offsets[0] == 0);
    assert!(offset_of!(LazyPage, owner) > offsets[5]);
}

#[test]
fn the_statistics_are_in_the_designs_order() {
    let offsets = offsets!(DynamicMemoryStats: total_dynamic_stacks active_dynamic_stacks total_stack_growth_events
                           total_stack_shrink_events total_lazy_pages allocated_lazy_pages total_lazy_page_faults
                           memory_pressure_events optimization_events context_switch_count);
    assert!(offsets.is_sorted() && offsets[0] == 0);
    assert_eq!(size_of::<DynamicMemoryStats>(), 4 * offsets.len());
}
