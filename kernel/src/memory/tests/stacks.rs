//! Records and addresses of dynamic stacks.

use super::support::{cases, in_heap};
use crate::memory::growth::GrowthPolicy::{Aggressive, Conservative, Predictive};
use crate::memory::growth::History;
use crate::memory::layout::{
    LAZY_REGION_END, MAX_STACKS, PAGE_SIZE, STACK_LIMIT, STACK_REGION_BASE, STACK_REGION_END, STACK_SLOT_SIZE,
};
use crate::memory::stacks::{DynamicStackManager, slot_of};
use proptest::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;

fn empty() -> Box<DynamicStackManager> {
    in_heap(DynamicStackManager::new)
}

#[test]
fn a_new_stack_is_not_mapped_and_has_its_guard_below_its_range() {
    let mut manager = empty();
    assert_eq!(manager.create(7, Aggressive, 64 * 1024), Some(0));
    let stack = manager.stacks[0];
    assert_eq!((stack.id, stack.is_active, stack.owner, stack.policy), (1, true, 7, Aggressive));
    assert_eq!(stack.base_address, STACK_REGION_BASE + STACK_SLOT_SIZE);
    assert_eq!((stack.current_size, stack.max_size, stack.high_water_mark), (0, 64 * 1024, 0));
    assert_eq!((stack.lowest_mapped(), stack.stack_pointer), (stack.base_address, stack.base_address));
    assert_eq!(stack.lowest_allowed(), stack.base_address - 64 * 1024);
    assert_eq!(stack.guard_address, stack.lowest_allowed() - PAGE);
    assert_eq!((stack.growth_count, stack.shrink_count, stack.last_growth_pages, stack.pages_returned), (0, 0, 0, 0));
}

#[test]
fn the_lowest_mapped_address_follows_the_size() {
    let mut manager = empty();
    manager.create(1, Conservative, STACK_LIMIT);
    let stack = &mut manager.stacks[0];
    stack.current_size = 3 * PAGE_SIZE;
    assert_eq!(stack.lowest_mapped(), stack.base_address - 3 * PAGE);
}

#[test]
fn the_history_has_pages_and_whether_the_descent_lasts() {
    let mut manager = empty();
    manager.create(1, Predictive, STACK_LIMIT);
    let stack = &mut manager.stacks[0];
    stack.current_size = 3 * PAGE_SIZE;
    stack.high_water_mark = 9 * PAGE_SIZE;
    stack.last_growth_pages = 2;
    stack.last_growth_time = 1000;
    let history = History { mapped: 3, high_water: 9, last_growth: 2, is_descending: true };
    assert_eq!(stack.history(1234, 235), history);
    assert_eq!(stack.history(1234, 234), History { is_descending: false, ..history });
    stack.last_growth_pages = 0;
    assert!(!stack.history(1234, 235).is_descending);
}

/// QEMU's timer and the board's.
#[test]
fn a_descent_lasts_ten_milliseconds_at_any_frequency() {
    for frequency in [62_500_000, 54_000_000] {
        let mut manager = empty();
        manager.initialize(frequency);
        manager.create(1, Predictive, STACK_LIMIT);
        manager.stacks[0].last_growth_pages = 2;
        let pages = |since_last| manager.pages_to_add(0, 1, since_last);
        assert_eq!((pages(frequency / 100 - 1), pages(frequency / 100)), (4, 1));
    }
}

fn size() -> impl Strategy<Value = usize> {
    let near_limit = STACK_LIMIT - PAGE_SIZE..STACK_LIMIT + 2 * PAGE_SIZE;
    prop_oneof![0..3 * PAGE_SIZE, near_limit, any::<usize>(), usize::MAX - 5000..=usize::MAX]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_size_becomes_whole_pages_within_the_slot(asked in size()) {
        let mut manager = empty();
        manager.create(1, Conservative, asked);
        manager.create(1, Conservative, asked);
        let stack = manager.stacks[1];
        prop_assert_eq!(stack.max_size % PAGE_SIZE, 0);
        prop_assert!((PAGE_SIZE..=STACK_LIMIT).contains(&stack.max_size));
        prop_assert!(stack.max_size >= asked.min(STACK_LIMIT));
        prop_assert!(stack.max_size < asked.max(1).saturating_add(PAGE_SIZE));
        // The guard is in the stack's slot, with one page between it and the next slot.
        prop_assert_eq!(slot_of(stack.guard_address), Some(1));
        prop_assert!(stack.guard_address >= manager.stacks[0].base_address + PAGE);
    }

    #[test]
    fn slots_are_unique_reused_lowest_first_and_run_out(
        steps in prop::collection::vec((any::<bool>(), any::<usize>()), 1..300),
    ) {
        let mut manager = empty();
        let mut active = std::collections::BTreeSet::new();
        for (create, choice) in steps {
            if create || active.is_empty() {
                let expected = (0..MAX_STACKS).find(|slot| !active.contains(slot));
                prop_assert_eq!(manager.create(2, Conservative, PAGE_SIZE), expected);
                active.extend(expected);
            } else {
                let slot = *active.iter().nth(choice % active.len()).unwrap();
                active.remove(&slot);
                manager.stacks[slot].is_active = false;
            }
            prop_assert_eq!(manager.active_count() as usize, active.len());
        }
    }
}

#[test]
fn all_slots_can_be_taken_but_not_one_more() {
    let mut manager = empty();
    for slot in 0..MAX_STACKS {
        assert_eq!(manager.create(1, Conservative, STACK_LIMIT), Some(slot));
    }
    assert_eq!(manager.create(1, Conservative, PAGE_SIZE), None);
    assert_eq!(manager.active_count() as usize, MAX_STACKS);
    for (slot, stack) in manager.stacks.iter().enumerate() {
        assert_eq!(stack.id as usize, slot + 1);
        assert_eq!(slot_of(stack.base_address - 1), Some(slot));
        assert_eq!(slot_of(stack.lowest_allowed()), Some(slot));
        assert_eq!(slot_of(stack.base_address), (slot + 1 < MAX_STACKS).then_some(slot + 1));
    }
}

#[test]
fn the_record_of_an_ended_stack_stays_until_its_slot_is_reused() {
    let mut manager = empty();
    manager.create(1, Aggressive, 8 * PAGE_SIZE);
    manager.stacks[0].growth_count = 5;
    manager.stacks[0].is_active = false;
    assert_eq!((manager.active_count(), manager.stacks[0].growth_count), (0, 5));
    assert_eq!(manager.create(2, Predictive, PAGE_SIZE), Some(0));
    let stack = manager.stacks[0];
    assert_eq!((stack.growth_count, stack.owner, stack.max_size), (0, 2, PAGE_SIZE));
}

#[test]
fn addresses_outside_the_region_have_no_slot() {
    assert_eq!(slot_of(STACK_REGION_BASE), Some(0));
    assert_eq!(slot_of(STACK_REGION_BASE + STACK_SLOT_SIZE - 1), Some(0));
    assert_eq!(slot_of(STACK_REGION_BASE + STACK_SLOT_SIZE), Some(1));
    assert_eq!(slot_of(STACK_REGION_END - 1), Some(MAX_STACKS - 1));
    for address in [0, LAZY_REGION_END, STACK_REGION_BASE - 1, STACK_REGION_END, u64::MAX] {
        assert_eq!(slot_of(address), None, "{address:#x}");
    }
}
