//! The strategies that free frames: their effects on frames, tables and the TLB, and when they run.

use super::audit::audit;
use super::machine::{Machine, PAGE, walk};
use crate::events::EventKind;
use crate::memory::growth::GrowthPolicy::{Aggressive, Conservative};
use crate::memory::layout::PAGE_SIZE;
use crate::memory::lazy::record_of;
use crate::memory::pressure::{Need, PressureLevel, Strategy};

/// A machine with one task and a range of `pages` pages; each contains its number, counted from 1.
pub(super) fn with_written_pages(pages: u32) -> (Machine, u64) {
    let mut machine = Machine::new(8);
    machine.start(1, Conservative, 32 * PAGE_SIZE).expect("the pool is empty");
    let first = machine.reserve(1, pages).unwrap();
    for page in 0..pages as u64 {
        machine.write(1, first + page * PAGE, page + 1).unwrap();
    }
    (machine, first)
}

/// Runs a strategy. Returns its gain: of Page Migration the pages moved, for its gain depends on the whole pool.
pub(super) fn run(machine: &mut Machine, strategy: Strategy) -> u32 {
    let moved = |machine: &Machine| machine.manager.pressure_handler.strategies[strategy as usize].pages_moved;
    let supply = |machine: &Machine| match strategy.need() {
        Need::Frames => machine.manager.frames.free_frames,
        Need::Run => machine.manager.frames.longest_free_run(),
    };
    let before = (moved(machine), supply(machine));
    let won = machine.kernel(|manager| manager.run_strategy(strategy));
    audit(machine);
    let record = machine.manager.pressure_handler.strategies[strategy as usize];
    assert_eq!((record.last_won, won), (won, supply(machine).saturating_sub(before.1)));
    assert!(record.run_count > 0 && record.total_won >= won as u64);
    if strategy == Strategy::PageMigration { (moved(machine) - before.0) as u32 } else { won }
}

pub(super) fn read_all(machine: &mut Machine, first: u64, pages: u32) {
    (0..pages as u64).for_each(|page| machine.read(1, first + page * PAGE).unwrap());
}

/// Number of the frame of a lazy page.
pub(super) fn frame_of(machine: &Machine, address: u64) -> u32 {
    let physical = machine.manager.lazy_allocator.pages[record_of(address).unwrap()].physical_address;
    machine.manager.frames.number(physical).unwrap()
}

pub(super) fn events(machine: &Machine, kind: EventKind) -> Vec<(u64, u64)> {
    let entries = machine.manager.events.entries.iter().filter(|event| event.kind == kind);
    entries.map(|event| (event.first, event.second)).collect()
}

#[test]
#[cfg_attr(miri, ignore)]
fn cache_optimization_folds_zeros_and_empties_the_cache() {
    let (mut machine, first) = with_written_pages(20);
    for page in 0..5 {
        machine.write(1, first + page * PAGE, 0).unwrap();
    }
    // One word at the end keeps a page from being folded.
    machine.write(1, first + PAGE - 8, 3).unwrap();
    let other = machine.reserve(1, 4).unwrap();
    (0..4).for_each(|page| machine.write(1, other + page * PAGE, 1).unwrap());
    machine.give_up(1, 1, true);
    let available = machine.manager.frames.available_frames();
    assert_eq!(machine.manager.frames.cached_frames, 4);
    assert_eq!(run(&mut machine, Strategy::CacheOptimization), 4 + 4);
    let frames = &machine.manager.frames;
    assert_eq!((frames.cached_frames, frames.available_frames()), (0, available + 4));
    let lazy = &machine.manager.lazy_allocator;
    assert_eq!((lazy.fold_count, lazy.zero_pages, lazy.allocated_pages), (4, 4, 16));
    assert_eq!(events(&machine, EventKind::LazyFold).len(), 4);
    read_all(&mut machine, first, 20);
    machine.write(1, first + PAGE, 8).unwrap();
    read_all(&mut machine, first, 20);
    assert_eq!(machine.manager.lazy_allocator.upgrade_fault_count, 1);
    audit(&machine);
    assert_eq!(run(&mut machine, Strategy::CacheOptimization), 0);
}

#[test]
fn a_task_trims_its_own_stack_and_grows_it_again() {
    let mut machine = Machine::new(8);
    for task in [1, 2] {
        machine.start(task, Conservative, 32 * PAGE_SIZE).expect("the pool is empty");
        machine.push(task, 5 * PAGE, false, 7).unwrap();
        machine.pop(task, 5 * PAGE);
    }
    assert_eq!(machine.kernel(|manager| manager.trim_stack(2)), 4);
    let sizes = |machine: &Machine| [0, 1].map(|slot| machine.manager.stack_manager.stacks[slot].current_size);
    assert_eq!(sizes(&machine), [5 * PAGE_SIZE, PAGE_SIZE], "the other task's stack is left alone");
    assert_eq!(events(&machine, EventKind::StackShrink), [(2, 4)]);
    assert_eq!(machine.kernel(|manager| manager.trim_stack(2)), 0);
    audit(&machine);
    machine.push(2, 5 * PAGE, false, 8).unwrap();
    assert_eq!(sizes(&machine), [5 * PAGE_SIZE, 5 * PAGE_SIZE]);
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn pressure_relief_frees_stack_pages_below_the_pointer_only() {
    let (mut machine, _) = with_written_pages(1);
    for page in 0..10 {
        machine.push(1, PAGE, false, page).unwrap();
    }
    machine.pop(1, 7 * PAGE - 16);
    machine.kernel(|manager| manager.check_pressure());
    let before = machine.invalidations[0];
    assert_eq!(run(&mut machine, Strategy::PressureRelief), 6);
    let stack = machine.manager.stack_manager.stacks[0];
    assert_eq!((stack.current_size, stack.high_water_mark), (4 * PAGE_SIZE, 10 * PAGE_SIZE));
    assert_eq!((stack.shrink_count, stack.pages_returned), (1, 6));
    assert_eq!(machine.manager.stats.total_stack_shrink_events, 1);
    assert_eq!(events(&machine, EventKind::StackShrink), [(1, 6)]);
    assert_eq!(machine.invalidations[0], before + 6, "each page is invalidated");
    for address in machine.tasks[&1].memory.keys().copied().collect::<Vec<_>>() {
        machine.read(1, address).unwrap();
    }
    assert_eq!(run(&mut machine, Strategy::PressureRelief), 0);
    machine.push(1, 2 * PAGE, false, 1).unwrap();
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn an_empty_stack_keeps_its_topmost_page() {
    let (mut machine, _) = with_written_pages(1);
    machine.push(1, 5 * PAGE, false, 1).unwrap();
    machine.pop(1, 5 * PAGE);
    assert_eq!(run(&mut machine, Strategy::PressureRelief), 4);
    assert_eq!(machine.manager.stack_manager.stacks[0].current_size, PAGE_SIZE);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_stack_pointer_at_a_page_boundary_keeps_that_page() {
    for (pointer_page, offset, kept) in [(3, 0, 3), (3, 16, 4), (2, PAGE - 16, 3)] {
        let (mut machine, _) = with_written_pages(1);
        machine.push(1, 8 * PAGE, false, 1).unwrap();
        let top = machine.manager.stack_manager.stacks[0].base_address;
        let below = machine.tasks[&1].stack_pointer;
        machine.pop(1, top - pointer_page * PAGE - offset - below);
        run(&mut machine, Strategy::PressureRelief);
        assert_eq!(machine.manager.stack_manager.stacks[0].current_size, kept * PAGE_SIZE, "{offset} below");
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_stack_pointer_outside_the_stack_does_no_harm() {
    let (mut machine, _) = with_written_pages(1);
    machine.push(1, 8 * PAGE, false, 1).unwrap();
    let size = |machine: &Machine| machine.manager.stack_manager.stacks[0].current_size / PAGE_SIZE;
    for (pointer, pages) in [(0, 8), (0x7000_0000_0000, 8), (u64::MAX, 1)] {
        machine.manager.record_stack_pointer(1, pointer);
        machine.manager.run_strategy(Strategy::PressureRelief);
        assert_eq!(size(&machine), pages, "{pointer:#x}");
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn pressure_relief_frees_empty_tables() {
    let (mut machine, first) = with_written_pages(1);
    machine.give_up(1, 0, false);
    let root = machine.manager.context_switcher.spaces[1].table;
    let before = machine.invalidations[1];
    assert_eq!(run(&mut machine, Strategy::PressureRelief), 1 + 3, "a cached frame; three levels below the root");
    assert_eq!(machine.invalidations[1], before + 1, "by ASID: cached table entries are invalidated too");
    assert_eq!(walk(root, first), 0);
    machine.write(1, first, 4).unwrap();
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn under_pressure_a_write_gets_a_frame_that_a_strategy_freed() {
    let (mut machine, first) = with_written_pages(200);
    (0..150).for_each(|page| machine.write(1, first + page * PAGE, 0).unwrap());
    let used = machine.manager.frames.used_frames();
    let more = machine.reserve(1, 100).unwrap();
    machine.manager.frames.set_limit(used);
    machine.manager.pressure_handler.set_limit(used);
    assert_eq!(machine.manager.frames.available_frames(), 0);
    (0..100).for_each(|page| machine.write(1, more + page * PAGE, 7).unwrap());
    audit(&machine);
    assert!(machine.manager.lazy_allocator.fold_count >= 100);
    assert!(machine.manager.pressure_handler.level_events[PressureLevel::Critical as usize] > 0);
    read_all(&mut machine, first, 200);
    read_all(&mut machine, more, 100);
    let changes = events(&machine, EventKind::PressureChange);
    assert_eq!(changes.len() as u32, machine.manager.stats.memory_pressure_events);
    assert!(changes.windows(2).all(|pair| pair[0].1 == pair[1].0), "each change starts where the last one ended");
}

/// A machine of two tasks without an available frame. Task 1 has `pages` pages; the last 100 contain only zeros. Every
/// strategy backs off as long as it can.
fn in_need(pages: u32) -> (Machine, u64) {
    let (mut machine, first) = with_written_pages(pages);
    machine.start(2, Conservative, 32 * PAGE_SIZE).unwrap();
    let more = machine.reserve(2, 200).unwrap();
    machine.write(2, more, 1).unwrap();
    let zeros = (pages as u64 - 100)..pages as u64;
    zeros.for_each(|page| machine.write(1, first + page * PAGE, 0).unwrap());
    for strategy in Strategy::ALL {
        (0..5).for_each(|_| machine.manager.pressure_handler.record_run(strategy, 0, 1));
    }
    machine.manager.stats.optimization_events += 20;
    machine.manager.frames.drain_cache();
    let used = machine.manager.frames.used_frames();
    machine.manager.frames.set_limit(used);
    machine.manager.pressure_handler.set_limit(used);
    machine.kernel(|manager| manager.update_pressure());
    assert_eq!(machine.manager.frames.available_frames(), 0);
    (machine, more)
}

#[test]
#[cfg_attr(miri, ignore)]
fn in_need_every_strategy_that_frees_frames_runs_despite_its_backoff() {
    let (mut machine, more) = in_need(1500);
    // The pages lie in two tables: the second one takes a frame as well.
    (1..=99).for_each(|page| machine.write(2, more + page * PAGE, 7).unwrap());
    assert_eq!(machine.manager.lazy_allocator.fold_count, 100);
    assert_eq!(machine.manager.frames.available_frames(), 0);
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn in_need_the_folding_examines_every_page() {
    let (mut machine, more) = in_need(9000);
    machine.manager.lazy_allocator.folding_hand = 0;
    machine.write(2, more + PAGE, 7).unwrap();
    let runs = machine.manager.pressure_handler.strategies.map(|record| record.run_count - 5);
    assert_eq!(runs, [3, 0, 0, 0], "each run of the folding examines 4,096 pages");
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn in_need_the_stacks_give_what_is_below_their_pointers() {
    let (mut machine, more) = in_need(200);
    (1..=99).for_each(|page| machine.write(2, more + page * PAGE, 7).unwrap());
    machine.kernel(|manager| manager.set_pool_limit(u32::MAX));
    machine.push(1, 6 * PAGE, false, 7).unwrap();
    machine.pop(1, 6 * PAGE);
    (0..5).for_each(|_| machine.manager.pressure_handler.record_run(Strategy::PressureRelief, 0, 1));
    machine.manager.stats.optimization_events += 5;
    machine.manager.frames.drain_cache();
    let used = machine.manager.frames.used_frames();
    machine.kernel(|manager| manager.set_pool_limit(used));
    (101..=105).for_each(|page| machine.write(2, more + page * PAGE, 7).unwrap());
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_page_just_mapped_is_not_freed_by_the_pressure_it_causes() {
    let (mut machine, first) = with_written_pages(4);
    (0..4).for_each(|page| machine.write(1, first + page * PAGE, 0).unwrap());
    let more = machine.reserve(1, 50).unwrap();
    let limit = |machine: &mut Machine, free: u32| {
        let used = machine.manager.frames.used_frames();
        machine.kernel(|manager| manager.set_pool_limit(used + free));
    };
    // Each write is of zeros, which could be folded, and enters the next level. The simulated machine fails if the same
    // fault happens twice.
    limit(&mut machine, 60);
    (0..50).for_each(|page| machine.write(1, more + page * PAGE, 0).unwrap());
    assert!(machine.manager.lazy_allocator.fold_count > 0, "there was pressure");
    // A store below the pointer in one instruction: the page that it needs is completely below the pointer.
    machine.start(2, Aggressive, 64 * PAGE_SIZE).unwrap();
    limit(&mut machine, 60);
    let before = machine.manager.stats.optimization_events;
    for _ in 0..700 {
        machine.push(2, 256, true, 1).unwrap();
    }
    assert!(machine.manager.stats.optimization_events > before, "there was pressure");
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn relief_stops_at_low_pressure() {
    let (mut machine, first) = with_written_pages(100);
    machine.kernel(|manager| manager.relieve());
    assert_eq!(machine.manager.stats.optimization_events, 0);
    (0..100).for_each(|page| machine.write(1, first + page * PAGE, 0).unwrap());
    let used = machine.manager.frames.used_frames();
    // The first strategy frees 100 of 160 frames.
    machine.kernel(|manager| manager.set_pool_limit(used + 40));
    assert_eq!(machine.manager.pressure_handler.level, PressureLevel::Low);
    let runs = machine.manager.pressure_handler.strategies.map(|record| record.run_count);
    assert_eq!(runs, [1, 0, 0, 0]);
    audit(&machine);
}
