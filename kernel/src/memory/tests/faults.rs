//! Faults of tasks: how they are resolved, and for which reasons they end the task.

use super::audit::audit;
use super::machine::{Machine, PAGE};
use crate::events::EventKind;
use crate::hardware;
use crate::memory::dynamic::Exhausted;
use crate::memory::faults::{Access, Cause, Fault, PUSH_REACH};
use crate::memory::growth::GrowthPolicy::{Aggressive, Conservative, Predictive};
use crate::memory::growth::{AGGRESSIVE_PAGES, GrowthPolicy};
use crate::memory::layout::{
    LAZY_REGION_END, MAX_LAZY_PAGES, MAX_STACKS, PAGE_SIZE, STACK_REGION_END, TASK_PAGE_BASE, USER_TEXT_BASE,
};
use crate::memory::lazy::{LazyPage, record_of};
use crate::memory::stacks::DynamicStack;
use crate::tasks::EndReason;

fn with_task(policy: GrowthPolicy, pages: usize) -> Machine {
    let mut machine = Machine::new(8);
    machine.start(1, policy, pages * PAGE_SIZE).expect("the pool is empty");
    machine
}

fn stack(machine: &Machine) -> DynamicStack {
    machine.manager.stack_manager.stacks[0]
}

fn lazy_page(machine: &Machine, address: u64) -> LazyPage {
    machine.manager.lazy_allocator.pages[record_of(address).unwrap()]
}

/// The kind and arguments of the newest event.
fn last_event(machine: &Machine) -> (EventKind, u64, u64) {
    let ring = &machine.manager.events;
    let event = ring.entries[(ring.recorded as usize - 1) % ring.entries.len()];
    (event.kind, event.first, event.second)
}

#[test]
fn a_read_maps_the_zero_page_and_a_write_then_replaces_it() {
    let mut machine = with_task(Conservative, 4);
    let address = machine.reserve(1, 3).unwrap() + PAGE;
    assert_eq!(lazy_page(&machine, address), LazyPage { virtual_address: address, owner: 1, ..LazyPage::UNUSED });
    let used = machine.manager.frames.used_frames();
    machine.read(1, address + 8).unwrap();
    let page = lazy_page(&machine, address);
    assert_eq!((page.is_zero_page, page.is_allocated, page.access_count), (true, false, 1));
    let zero = machine.manager.lazy_allocator.zero_frame;
    assert_eq!(last_event(&machine), (EventKind::LazyZero, address + 8, zero));
    assert_eq!(machine.manager.frames.used_frames(), used + 3, "only tables");

    machine.write(1, address + 16, 77).unwrap();
    let page = lazy_page(&machine, address);
    assert_eq!((page.is_zero_page, page.is_allocated, page.access_count), (false, true, 2));
    assert_eq!(last_event(&machine), (EventKind::LazyAllocate, address + 16, page.physical_address));
    assert_eq!(machine.manager.frames.used_frames(), used + 4);
    assert!(page.allocation_time > 0);
    let lazy = &machine.manager.lazy_allocator;
    let counts = (lazy.zero_fault_count, lazy.allocate_fault_count, lazy.upgrade_fault_count, lazy.access_flag_count);
    assert_eq!(counts, (1, 0, 1, 0));
    machine.read(1, address + 16).unwrap();
    machine.read(1, address + 8).unwrap();
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_first_write_gets_zeros_even_from_a_dirty_frame() {
    let mut machine = with_task(Conservative, 4);
    let first = machine.reserve(1, 1).unwrap();
    for word in 0..512 {
        machine.write(1, first + word * 8, u64::MAX).unwrap();
    }
    let frame = lazy_page(&machine, first).physical_address;
    machine.give_up(1, 0, false);
    assert_eq!(lazy_page(&machine, first), LazyPage { virtual_address: first, owner: 1, ..LazyPage::UNUSED });
    machine.write(1, first + 8, 1).unwrap();
    assert_eq!(lazy_page(&machine, first).physical_address, frame, "the cached frame comes first");
    (0..512).for_each(|word| machine.read(1, first + word * 8).unwrap());
    let lazy = &machine.manager.lazy_allocator;
    assert_eq!((lazy.allocate_fault_count, lazy.zero_fault_count, lazy.upgrade_fault_count), (2, 0, 0));
    audit(&machine);
}

#[test]
fn an_access_to_a_page_with_a_clear_access_flag_counts_once() {
    let mut machine = with_task(Conservative, 4);
    let first = machine.reserve(1, 2).unwrap();
    machine.write(1, first, 5).unwrap();
    machine.read(1, first + PAGE).unwrap();
    machine.kernel(|manager| manager.age());
    for _ in 0..3 {
        machine.read(1, first).unwrap();
        machine.read(1, first + PAGE).unwrap();
    }
    assert_eq!((lazy_page(&machine, first).access_count, lazy_page(&machine, first + PAGE).access_count), (2, 2));
    assert_eq!(machine.manager.lazy_allocator.access_flag_count, 2);
    assert_eq!(machine.manager.stats.total_lazy_page_faults, 2);
    // The access flag is checked before the permissions: both faults are resolved.
    for _ in 0..MAX_ROUNDS {
        machine.kernel(|manager| manager.age());
    }
    machine.write(1, first + PAGE, 6).unwrap();
    assert_eq!(lazy_page(&machine, first + PAGE).access_count, 4);
    audit(&machine);
}

/// Number of runs of the ageing that reach each record at least once.
const MAX_ROUNDS: usize = crate::memory::layout::MAX_LAZY_PAGES / 256 + 1;

#[test]
fn a_stale_tlb_entry_is_invalidated_and_the_access_repeated() {
    let mut machine = with_task(Conservative, 4);
    let address = machine.reserve(1, 1).unwrap();
    machine.write(1, address, 9).unwrap();
    let before = (machine.invalidations, lazy_page(&machine, address));
    let (access, cause) = (Access::Write, Cause::Translation);
    let fault = Fault { task: 1, address, access, cause, stack_pointer: machine.tasks[&1].stack_pointer };
    assert_eq!(machine.kernel(|manager| manager.handle_fault(fault)), Ok(()));
    assert_eq!(machine.invalidations[0], before.0[0] + 1);
    assert_eq!(lazy_page(&machine, address), before.1);
}

#[test]
fn each_policy_grows_its_stack_by_its_step() {
    for (policy, sizes) in [
        (Conservative, [2, 3, 4, 5, 6]),
        (Aggressive, [1 + AGGRESSIVE_PAGES, 1 + AGGRESSIVE_PAGES, 1 + AGGRESSIVE_PAGES, 1 + AGGRESSIVE_PAGES, 9]),
        (Predictive, [2, 4, 4, 8, 8]),
    ] {
        let mut machine = with_task(policy, 40);
        assert_eq!(stack(&machine).current_size, PAGE_SIZE);
        machine.push(1, PAGE, false, 1).unwrap();
        for pages in sizes {
            machine.push(1, PAGE, false, 2).unwrap();
            assert_eq!(stack(&machine).current_size, pages as usize * PAGE_SIZE, "{policy:?}");
        }
        let grown = stack(&machine);
        assert_eq!(grown.high_water_mark, grown.current_size);
        assert_eq!(machine.manager.stats.total_stack_growth_events, grown.growth_count);
        audit(&machine);
    }
}

#[test]
fn a_growth_is_recorded_as_an_event_and_in_the_stack() {
    let mut machine = with_task(Aggressive, 40);
    hardware::advance_clock(1000);
    machine.push(1, PAGE + 16, false, 1).unwrap();
    assert_eq!(last_event(&machine), (EventKind::StackGrowth, 1, AGGRESSIVE_PAGES as u64));
    let grown = stack(&machine);
    assert_eq!((grown.growth_count, grown.last_growth_pages), (1, AGGRESSIVE_PAGES));
    assert!(grown.last_growth_time > 1000 && grown.last_access_time > 1000);
    assert_eq!(grown.stack_pointer, machine.tasks[&1].stack_pointer);
}

#[test]
fn one_push_may_skip_pages() {
    let mut machine = with_task(Conservative, 40);
    machine.push(1, 10 * PAGE, false, 1).unwrap();
    machine.push(1, 16, true, 1).unwrap();
    let grown = stack(&machine);
    assert_eq!((grown.current_size, grown.growth_count), (11 * PAGE_SIZE, 2));
    audit(&machine);
}

#[test]
fn a_store_just_below_the_pointer_is_a_push_one_further_is_not() {
    for (distance, expected) in [(PUSH_REACH, Ok(())), (PUSH_REACH + 8, Err(EndReason::WildAccess))] {
        let mut machine = with_task(Conservative, 40);
        machine.push(1, PAGE, false, 1).unwrap();
        let address = machine.tasks[&1].stack_pointer - distance;
        assert_eq!(machine.access(1, address, Access::Write).map(|_| ()), expected, "{distance} below");
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_stack_at_its_limit_overflows_into_its_guard() {
    for policy in [Conservative, Aggressive, Predictive] {
        let mut machine = with_task(policy, 6);
        for _ in 0..6 {
            machine.push(1, PAGE, false, 1).unwrap();
        }
        let full = stack(&machine);
        assert_eq!((full.current_size, full.lowest_mapped()), (6 * PAGE_SIZE, full.lowest_allowed()));
        assert_eq!(machine.push(1, 16, true, 1), Err(EndReason::StackOverflow));
        assert_eq!(last_event(&machine), (EventKind::StackOverflow, 1, full.lowest_allowed() - 16));
        assert_eq!(stack(&machine).current_size, 6 * PAGE_SIZE);
        audit(&machine);
        machine.end(1);
        assert!(!stack(&machine).is_active && stack(&machine).growth_count > 0, "the record is kept");
    }
}

#[test]
fn a_push_over_the_guard_overflows_too() {
    let mut machine = with_task(Conservative, 6);
    assert_eq!(machine.push(1, 20 * PAGE, false, 1), Err(EndReason::StackOverflow));
}

#[test]
fn an_access_to_memory_of_others_is_a_wild_access() {
    let mut machine = with_task(Conservative, 6);
    machine.start(2, Conservative, 6 * PAGE_SIZE).unwrap();
    let (own, others) = (machine.reserve(1, 2).unwrap(), machine.reserve(2, 2).unwrap());
    machine.write(2, others, 3).unwrap();
    let others_stack = machine.tasks[&2].stack_pointer - 8;
    for (address, access) in [
        (0, Access::Read),
        (USER_TEXT_BASE, Access::Write),
        (USER_TEXT_BASE + 2 * PAGE, Access::Execute),
        (TASK_PAGE_BASE, Access::Execute),
        (TASK_PAGE_BASE + PAGE, Access::Write),
        (others, Access::Read),
        (others_stack, Access::Write),
        (others_stack - PAGE, Access::Write),
        (own + 4 * PAGE, Access::Read),
        (own, Access::Execute),
        (LAZY_REGION_END, Access::Write),
        (STACK_REGION_END, Access::Write),
        (0x0100_0000_0000_0000, Access::Read),
        (0xffff_0000_0800_0000, Access::Write),
    ] {
        let expected = if address >> 63 == 1 { EndReason::KernelAccess } else { EndReason::WildAccess };
        assert_eq!(machine.access(1, address, access), Err(expected), "{access:?} of {address:#x}");
        assert_eq!(last_event(&machine), (EventKind::WildAccess, 1, address));
    }
    audit(&machine);
}

#[test]
fn executing_lazy_pages_and_reading_below_the_pointer_fail() {
    let mut machine = with_task(Conservative, 100);
    let own = machine.reserve(1, 1).unwrap();
    machine.write(1, own, 1).unwrap();
    assert_eq!(machine.access(1, own, Access::Execute), Err(EndReason::WildAccess));
    let below = machine.tasks[&1].stack_pointer - 50 * PAGE;
    assert_eq!(machine.access(1, below, Access::Read), Err(EndReason::WildAccess), "too far for a push");
    let fault = |cause| Fault { task: 1, address: own, access: Access::Write, cause, stack_pointer: below };
    assert_eq!(machine.manager.handle_fault(fault(Cause::Other)), Err(EndReason::WildAccess.into()));
    assert_eq!(
        machine.manager.handle_fault(fault(Cause::Permission)),
        Err(EndReason::WildAccess.into()),
        "the page has a frame"
    );
}

#[test]
#[cfg_attr(miri, ignore)]
fn without_frames_a_task_ends_and_no_frame_is_lost() {
    let mut machine = with_task(Conservative, 100);
    let first = machine.reserve(1, 1000).unwrap();
    machine.kernel(|manager| manager.set_pool_limit(100));
    let mut written = 0;
    let reason = loop {
        match machine.write(1, first + written * PAGE, 5) {
            Ok(()) => written += 1,
            Err(reason) => break reason,
        }
    };
    assert_eq!((reason, machine.manager.frames.available_frames()), (EndReason::OutOfMemory, 0));
    let kinds = machine.manager.events.entries.map(|event| event.kind);
    assert!(kinds.contains(&EventKind::OutOfMemory));
    assert!(machine.manager.frames.failure_count > 0);
    audit(&machine);
    assert_eq!(machine.push(1, 2 * PAGE, false, 1), Err(EndReason::OutOfMemory));
    audit(&machine);
    machine.end(1);
    assert_eq!(machine.manager.frames.used_frames(), 2);
    audit(&machine);
}

/// A machine with a task and exactly `available` available frames.
fn with_available(available: u32) -> Machine {
    let mut machine = with_task(Conservative, 4);
    machine.reserve(1, 1).unwrap();
    let used = machine.manager.frames.used_frames();
    machine.kernel(|manager| manager.set_pool_limit(used + available));
    assert_eq!(machine.manager.frames.available_frames(), available);
    machine
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_frame_is_not_lost_when_its_tables_cannot_be_allocated() {
    for available in 0..5 {
        let mut machine = with_available(available);
        let first = machine.tasks[&1].ranges[0].0;
        // The first page of the region needs three tables and its frame.
        let expected = if available < 4 { Err(EndReason::OutOfMemory) } else { Ok(()) };
        assert_eq!(machine.write(1, first, 5), expected, "{available} frames");
        audit(&machine);
        let mut machine = with_available(available);
        let expected = if available < 3 { Err(EndReason::OutOfMemory) } else { Ok(()) };
        assert_eq!(machine.read(1, first), expected, "{available} frames");
        audit(&machine);
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn an_exhausted_resource_is_named() {
    let mut machine = with_available(0);
    assert_eq!(machine.start(2, Conservative, PAGE_SIZE), Err(Exhausted::Frames));
    machine.manager.lazy_allocator.page_quotas[1].max = u32::MAX;
    assert_eq!(machine.manager.reserve(1, MAX_LAZY_PAGES as u32), Err(Exhausted::LazyPages), "one is reserved already");
    for slot in 1..MAX_STACKS {
        assert!(machine.manager.stack_manager.create(1, Conservative, PAGE_SIZE).is_some(), "slot {slot}");
    }
    assert_eq!(machine.manager.create_stack(1, Conservative, PAGE_SIZE), Err(Exhausted::Stacks));
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_task_that_cannot_be_created_leaves_no_frame_used() {
    let mut made = 0;
    for available in 0..20 {
        let mut machine = with_available(available);
        let used = machine.manager.frames.used_frames();
        match machine.start(2, Conservative, 4 * PAGE_SIZE) {
            Ok(()) => made += 1,
            Err(_) => assert_eq!(machine.manager.frames.used_frames(), used, "{available} frames"),
        }
        audit(&machine);
    }
    // A root, four tables for text and task page, three for the stack, and the two pages.
    assert_eq!(made, 20 - 10);
}
