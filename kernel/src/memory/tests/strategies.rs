//! The effects of each pressure strategy on frames, tables and the TLB.

use super::audit::audit;
use super::machine::{Machine, PAGE, walk};
use crate::events::EventKind;
use crate::memory::frames::{FrameInfo, FrameUse};
use crate::memory::growth::GrowthPolicy::{Aggressive, Conservative};
use crate::memory::layout::PAGE_SIZE;
use crate::memory::lazy::record_of;
use crate::memory::pressure::{PressureLevel, Strategy};
use crate::memory::strategies::SECTION_FRAMES;

/// A machine with one task and a range of `pages` pages; each contains its number, counted from 1.
fn with_written_pages(pages: u32) -> (Machine, u64) {
    let mut machine = Machine::new(8);
    machine.start(1, Conservative, 32 * PAGE_SIZE).expect("the pool is empty");
    let first = machine.reserve(1, pages).unwrap();
    for page in 0..pages as u64 {
        machine.write(1, first + page * PAGE, page + 1).unwrap();
    }
    (machine, first)
}

fn run(machine: &mut Machine, strategy: Strategy) -> u32 {
    let won = machine.kernel(|manager| manager.run_strategy(strategy));
    audit(machine);
    let record = machine.manager.pressure_handler.strategies[strategy as usize];
    assert_eq!(record.last_won, won);
    assert!(record.run_count > 0 && record.total_won >= won as u64);
    won
}

fn read_all(machine: &mut Machine, first: u64, pages: u32) {
    (0..pages as u64).for_each(|page| machine.read(1, first + page * PAGE).unwrap());
}

/// Number of the frame of a lazy page.
fn frame_of(machine: &Machine, address: u64) -> u32 {
    let physical = machine.manager.lazy_allocator.pages[record_of(address).unwrap()].physical_address;
    machine.manager.frames.number(physical).unwrap()
}

fn events(machine: &Machine, kind: EventKind) -> Vec<(u64, u64)> {
    let entries = machine.manager.events.entries.iter().filter(|event| event.kind == kind);
    entries.map(|event| (event.first, event.second)).collect()
}

/// Moves the page at `address` to frame `to`.
fn scatter(machine: &mut Machine, address: u64, to: u32) {
    let from = frame_of(machine, address);
    assert!(machine.kernel(|manager| {
        let moved = manager.move_frame(from, to);
        manager.check_pressure();
        moved
    }));
}

#[test]
fn a_moved_page_keeps_its_contents_and_leaves_the_tlb() {
    let (mut machine, first) = with_written_pages(3);
    let (from, address) = (frame_of(&machine, first + PAGE), first + PAGE);
    let before = machine.invalidations[0];
    scatter(&mut machine, address, 5000);
    assert_eq!((frame_of(&machine, address), machine.invalidations[0]), (5000, before + 1));
    assert_eq!(machine.manager.frames.info[from as usize].usage, FrameUse::Free);
    let frames = &machine.manager.frames;
    assert_eq!(events(&machine, EventKind::PageMoved), [(frames.address(from), frames.address(5000))]);
    read_all(&mut machine, first, 3);
    machine.write(1, address, 99).unwrap();
    read_all(&mut machine, first, 3);
    audit(&machine);
}

#[test]
fn pages_of_stacks_and_of_tasks_move_as_well() {
    let (mut machine, _) = with_written_pages(1);
    for page in 1..5 {
        machine.push(1, PAGE, false, page).unwrap();
    }
    machine.read_task_page(1);
    let movable = |machine: &Machine, usage| -> Vec<u32> {
        let known = machine.manager.frames.info[..1000].iter().enumerate();
        known.filter(|(_, info)| info.usage == usage).map(|(frame, _)| frame as u32).collect()
    };
    let (stack, task) = (movable(&machine, FrameUse::Stack), movable(&machine, FrameUse::TaskPage));
    assert_eq!((stack.len(), task.len()), (4, 1));
    for (place, &from) in stack.iter().chain(&task).enumerate() {
        assert!(machine.kernel(|manager| manager.move_frame(from, 2000 + place as u32)));
    }
    machine.kernel(|manager| manager.check_pressure());
    audit(&machine);
    machine.read_task_page(1);
    for address in machine.tasks[&1].memory.keys().copied().collect::<Vec<_>>() {
        machine.read(1, address).unwrap();
    }
}

#[test]
fn a_page_that_cannot_be_moved_stays() {
    let (mut machine, first) = with_written_pages(3);
    let manager = &mut machine.manager;
    let lazy = (0..1000).find(|&frame| manager.frames.info[frame].usage == FrameUse::LazyPage).unwrap() as u32;
    let table = (2..1000).find(|&frame| manager.frames.info[frame].usage == FrameUse::Table).unwrap() as u32;
    let before = manager.frames.allocation_count;
    // The zero page, a table, a free frame; a frame in use, the same frame, one that does not exist.
    for (from, to) in [(0, 900), (table, 900), (901, 900), (lazy, table), (lazy, lazy), (lazy, u32::MAX)] {
        assert!(!manager.move_frame(from, to), "{from} to {to}");
    }
    assert_eq!(manager.frames.allocation_count, before);
    read_all(&mut machine, first, 3);
    audit(&machine);
}

#[test]
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
fn an_empty_stack_keeps_its_topmost_page() {
    let (mut machine, _) = with_written_pages(1);
    machine.push(1, 5 * PAGE, false, 1).unwrap();
    machine.pop(1, 5 * PAGE);
    assert_eq!(run(&mut machine, Strategy::PressureRelief), 4);
    assert_eq!(machine.manager.stack_manager.stacks[0].current_size, PAGE_SIZE);
}

#[test]
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
fn pressure_relief_frees_empty_tables() {
    let (mut machine, first) = with_written_pages(1);
    machine.give_up(1, 0, false);
    let root = machine.manager.context_switcher.spaces[1].table;
    let before = machine.invalidations[1];
    assert_eq!(run(&mut machine, Strategy::PressureRelief), 3, "three levels below the root");
    assert_eq!(machine.invalidations[1], before + 1, "by ASID: cached table entries are invalidated too");
    assert_eq!(walk(root, first), 0);
    machine.write(1, first, 4).unwrap();
    audit(&machine);
}

fn in_section(machine: &Machine, section: u32) -> usize {
    let first = (section * SECTION_FRAMES) as usize;
    let frames = &machine.manager.frames.info[first..first + SECTION_FRAMES as usize];
    frames.iter().filter(|info| info.is_used()).count()
}

/// Allocates all free frames below `end`, for pages that do not exist.
fn claim_below(machine: &mut Machine, end: u32) -> Vec<u32> {
    let nobody = FrameInfo::new(FrameUse::Stack, 9, 0);
    (0..end).filter(|&frame| machine.manager.frames.claim(frame, nobody)).collect()
}

fn give_back(machine: &mut Machine, claimed: Vec<u32>) {
    claimed.into_iter().for_each(|frame| machine.manager.frames.release_to_pool(frame));
    machine.kernel(|manager| manager.check_pressure());
}

#[test]
fn page_migration_moves_pages_only_into_other_sections() {
    let (mut machine, first) = with_written_pages(40);
    for page in 0..8u64 {
        let section = if page < 3 { 1 } else { 2 };
        scatter(&mut machine, first + page * PAGE, section * SECTION_FRAMES + page as u32 * 3);
    }
    let claimed = claim_below(&mut machine, SECTION_FRAMES);
    assert_eq!(machine.kernel(|manager| manager.run_strategy(Strategy::PageMigration)), 3);
    assert_eq!((in_section(&machine, 1), in_section(&machine, 2)), (0, 8));
    give_back(&mut machine, claimed);
    audit(&machine);
    read_all(&mut machine, first, 40);
}

#[test]
fn page_migration_empties_the_sparsest_section() {
    let (mut machine, first) = with_written_pages(40);
    for page in 0..12u64 {
        let section = if page < 5 { 3 } else { 7 };
        scatter(&mut machine, first + page * PAGE, section * SECTION_FRAMES + page as u32 * 3);
    }
    assert_eq!((in_section(&machine, 3), in_section(&machine, 7)), (5, 7));
    machine.manager.frames.drain_cache();
    machine.kernel(|manager| manager.check_pressure());
    assert_eq!(run(&mut machine, Strategy::PageMigration), 5);
    assert_eq!((in_section(&machine, 3), in_section(&machine, 7)), (0, 7));
    assert_eq!(run(&mut machine, Strategy::PageMigration), 7);
    assert_eq!((in_section(&machine, 3), in_section(&machine, 7)), (0, 0));
    assert_eq!(run(&mut machine, Strategy::PageMigration), 0, "section 0 holds tables");
    read_all(&mut machine, first, 40);
}

#[test]
fn page_migration_moves_pages_from_beyond_the_limit() {
    let (mut machine, first) = with_written_pages(30);
    for page in 0..10 {
        scatter(&mut machine, first + page * PAGE, 3000 + page as u32);
    }
    // No free frame within the limit: the pages beyond it stay, and still work.
    machine.kernel(|manager| {
        let used = (0..3000).filter(|&frame| manager.frames.info[frame].is_used()).count() as u32;
        manager.set_pool_limit(used);
    });
    let before = machine.manager.frames.limit_frames;
    audit(&machine);
    let beyond =
        |machine: &Machine| (before..4000).filter(|&f| machine.manager.frames.info[f as usize].is_used()).count();
    assert!(beyond(&machine) >= 10);
    read_all(&mut machine, first, 30);
    assert_eq!(run(&mut machine, Strategy::PageMigration), 0);
    machine.kernel(|manager| manager.set_pool_limit(200));
    assert_eq!((0..10).filter(|&page| frame_of(&machine, first + page * PAGE) >= 200).count(), 0);
    assert_eq!(events(&machine, EventKind::PoolLimit).last(), Some(&(before as u64, 200)));
    read_all(&mut machine, first, 30);
    audit(&machine);
}

#[test]
fn many_pages_are_evacuated_in_steps_and_the_level_follows() {
    let (mut machine, first) = with_written_pages(1500);
    let used = machine.manager.frames.used_frames();
    for page in 0..1300 {
        scatter(&mut machine, first + page * PAGE, 10_000 + page as u32);
    }
    machine.kernel(|manager| manager.set_pool_limit(used + 100));
    let mut moved = 0;
    loop {
        audit(&machine);
        match machine.kernel(|manager| manager.evacuate_more()) {
            0 => break,
            more => moved += more,
        }
    }
    assert!((500..1300).contains(&moved), "{moved} in later steps");
    assert!((0..1500).all(|page| frame_of(&machine, first + page * PAGE) < used + 100));
    assert_eq!(machine.manager.pressure_handler.level, PressureLevel::Critical);
    read_all(&mut machine, first, 1500);
}

#[test]
fn defragmentation_makes_one_run_of_the_free_frames() {
    let (mut machine, first) = with_written_pages(60);
    machine.kernel(|manager| manager.set_pool_limit(1000));
    for page in 0..60 {
        scatter(&mut machine, first + page * PAGE, 100 + page as u32 * 15);
    }
    let before = machine.manager.frames.longest_free_run();
    assert!(before < 100);
    let won = run(&mut machine, Strategy::Defragmentation);
    let frames = &machine.manager.frames;
    assert_eq!(frames.longest_free_run(), before + won);
    assert_eq!(frames.longest_free_run(), frames.free_frames, "one run");
    read_all(&mut machine, first, 60);
    assert_eq!(run(&mut machine, Strategy::Defragmentation), 0);
}

#[test]
fn defragmentation_skips_frames_that_cannot_be_moved() {
    let (mut machine, first) = with_written_pages(20);
    machine.kernel(|manager| manager.set_pool_limit(600));
    for page in 0..20 {
        scatter(&mut machine, first + page * PAGE, 580 - page as u32 * 20);
    }
    // A task whose tables are above the pages.
    let claimed = claim_below(&mut machine, 590);
    machine.start(2, Conservative, PAGE_SIZE).unwrap();
    give_back(&mut machine, claimed);
    assert!(run(&mut machine, Strategy::Defragmentation) > 0);
    read_all(&mut machine, first, 20);
    machine.read_task_page(2);
    machine.read_task_page(1);
}

#[test]
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

#[test]
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
