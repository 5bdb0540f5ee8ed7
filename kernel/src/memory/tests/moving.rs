//! Moved pages and tables, and the strategies that move them: one run of free frames, empty sections.

use super::audit::audit;
use super::machine::{Machine, PAGE};
use super::strategies::{events, frame_of, read_all, run, with_written_pages};
use crate::events::EventKind;
use crate::hardware::{Operation, take_log};
use crate::memory::frames::{FrameInfo, FrameUse};
use crate::memory::growth::GrowthPolicy::Conservative;
use crate::memory::layout::PAGE_SIZE;
use crate::memory::pressure::{PressureLevel, Strategy};
use crate::memory::strategies::SECTION_FRAMES;
use crate::memory::tables::{Descriptor, Entry, find};

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
    scatter(&mut machine, address, 1900);
    assert_eq!((frame_of(&machine, address), machine.invalidations[0]), (1900, before + 1));
    assert_eq!(machine.manager.frames.info[from as usize].usage, FrameUse::Free);
    let frames = &machine.manager.frames;
    assert_eq!(events(&machine, EventKind::PageMoved), [(frames.address(from).get(), frames.address(1900).get())]);
    read_all(&mut machine, first, 3);
    machine.write(1, address, 99).unwrap();
    read_all(&mut machine, first, 3);
    audit(&machine);
}

/// A page's descriptor in the space of task 1, and its ASID.
fn entry_and_asid(machine: &Machine, address: u64) -> (Entry, u16) {
    let space = &machine.manager.context_switcher.spaces[1];
    (find(space.table, address).unwrap(), space.asid)
}

fn written(entry: Entry, descriptor: Descriptor) -> Operation {
    Operation::Descriptor { address: entry.address(), descriptor: descriptor.bits() }
}

#[test]
fn a_page_is_moved_by_break_before_make() {
    let (mut machine, address) = with_written_pages(1);
    let from = frame_of(&machine, address);
    let (entry, asid) = entry_and_asid(&machine, address);
    let (source, target) = (machine.manager.frames.address(from), machine.manager.frames.address(1900));
    take_log();
    assert!(machine.manager.move_frame(from, 1900));
    let expected = [
        written(entry, Descriptor::INVALID),
        Operation::Publish,
        Operation::Address { asid, address },
        Operation::Copy { from: source.get(), to: target.get() },
        Operation::Publish,
        written(entry, Descriptor::read_write(target)),
        Operation::Publish,
    ];
    assert_eq!(take_log(), expected);
}

#[test]
fn a_page_is_folded_by_break_before_make() {
    let (mut machine, address) = with_written_pages(1);
    machine.write(1, address, 0).unwrap();
    let (entry, asid) = entry_and_asid(&machine, address);
    take_log();
    machine.manager.run_strategy(Strategy::CacheOptimization);
    let zero_page = Descriptor::read_only(machine.manager.lazy_allocator.zero_frame);
    let expected = [
        written(entry, Descriptor::INVALID),
        Operation::Publish,
        Operation::Address { asid, address },
        written(entry, zero_page),
        Operation::Publish,
    ];
    assert_eq!(take_log(), expected);
}

#[test]
#[cfg_attr(miri, ignore)]
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
#[cfg_attr(miri, ignore)]
fn tables_of_every_level_move_and_their_descriptors_follow() {
    for current in [1, 2] {
        let (mut machine, first) = with_written_pages(40);
        machine.start(2, Conservative, PAGE_SIZE).unwrap();
        machine.push(1, 3 * PAGE, false, 5).unwrap();
        machine.switch_to(current);
        let infos = machine.manager.frames.info.iter().enumerate();
        let tables: Vec<u32> = infos
            .filter(|(_, info)| info.usage == FrameUse::Table && info.owner == 1)
            .map(|(frame, _)| frame as u32)
            .collect();
        assert_eq!(tables.len(), 1 + 3 * 3 + 1, "the root; three levels for each region; text and task page share two");
        for (place, &from) in tables.iter().enumerate() {
            let before = machine.invalidations[1];
            let to = 3000 + place as u32;
            assert!(machine.kernel(|manager| manager.move_frame(from, to)));
            machine.kernel(|manager| manager.check_pressure());
            assert_eq!(machine.invalidations[1], before + 1, "by ASID");
            assert_eq!(machine.manager.frames.info[from as usize].usage, FrameUse::Free);
            audit(&machine);
            let frames = &machine.manager.frames;
            assert_eq!(
                events(&machine, EventKind::TableMoved).last(),
                Some(&(frames.address(from).get(), frames.address(to).get()))
            );
            read_all(&mut machine, first, 40);
            machine.read_task_page(2);
            machine.switch_to(current);
        }
        assert!(machine.manager.context_switcher.spaces[1].table >= machine.manager.frames.address(3000).get());
        machine.push(1, 2 * PAGE, false, 6).unwrap();
        machine.write(1, first, 77).unwrap();
        read_all(&mut machine, first, 40);
        machine.end(1);
        audit(&machine);
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn page_migration_empties_a_section_that_holds_tables() {
    let (mut machine, first) = with_written_pages(40);
    let claimed = claim_below(&mut machine, 3 * SECTION_FRAMES);
    machine.start(2, Conservative, PAGE_SIZE).unwrap();
    let more = machine.reserve(2, 10).unwrap();
    (0..10).for_each(|page| machine.write(2, more + page * PAGE, page + 1).unwrap());
    give_back(&mut machine, claimed);
    let used = in_section(&machine, 3);
    assert!(used > 20, "pages, and tables");
    assert_eq!(run(&mut machine, Strategy::PageMigration) as usize, used);
    assert_eq!(in_section(&machine, 3), 0);
    (0..10).for_each(|page| machine.read(2, more + page * PAGE).unwrap());
    read_all(&mut machine, first, 40);
    machine.read_task_page(2);
}

#[test]
#[cfg_attr(miri, ignore)]
fn under_pressure_scattered_pages_and_tables_migrate_by_themselves() {
    let mut machine = Machine::new(8);
    // Each section has a task of its own, with tables, between pages that are released.
    let mut released = Vec::new();
    for section in 0..4u64 {
        let number = section as u16 + 1;
        machine.start(number, Conservative, PAGE_SIZE).unwrap();
        let first = machine.reserve(number, 20).unwrap();
        (0..20).for_each(|page| machine.write(number, first + page * PAGE, page + 1).unwrap());
        released.extend(claim_below(&mut machine, (section as u32 + 1) * SECTION_FRAMES));
    }
    machine.start(9, Conservative, PAGE_SIZE).unwrap();
    let many = machine.reserve(9, 2048).unwrap();
    machine.kernel(|manager| manager.set_pool_limit(4 * SECTION_FRAMES + 40));
    give_back(&mut machine, released);
    let before = machine.manager.frames.longest_free_run();
    let mut migrated = 0;
    for page in 0..1500 {
        machine.write(9, many + page * PAGE, 1).unwrap();
        migrated = machine.manager.pressure_handler.strategies[Strategy::PageMigration as usize].pages_moved;
        if migrated > 0 {
            break;
        }
    }
    assert!(before < SECTION_FRAMES && migrated > 20, "{migrated} migrated; the longest free run was {before}");
    assert!(!events(&machine, EventKind::TableMoved).is_empty());
    assert!(machine.manager.pressure_handler.strategies[Strategy::PageMigration as usize].average_won > 0);
    audit(&machine);
}

#[test]
fn a_page_that_cannot_be_moved_stays() {
    let (mut machine, first) = with_written_pages(3);
    let manager = &mut machine.manager;
    let lazy = (0..1000).find(|&frame| manager.frames.info[frame].usage == FrameUse::LazyPage).unwrap() as u32;
    let table = (2..1000).find(|&frame| manager.frames.info[frame].usage == FrameUse::Table).unwrap() as u32;
    let before = manager.frames.allocation_count;
    // The zero page, the kernel's own table, a free frame; a frame in use, the same frame, one that does not exist.
    for (from, to) in [(0, 900), (1, 900), (901, 900), (lazy, table), (lazy, lazy), (lazy, u32::MAX)] {
        assert!(!manager.move_frame(from, to), "{from} to {to}");
    }
    assert_eq!(manager.frames.allocation_count, before);
    read_all(&mut machine, first, 3);
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
#[cfg_attr(miri, ignore)]
fn page_migration_moves_pages_only_into_other_sections() {
    let (mut machine, first) = with_written_pages(40);
    for page in 0..8u64 {
        let section = if page < 3 { 1 } else { 2 };
        scatter(&mut machine, first + page * PAGE, section * SECTION_FRAMES + page as u32 * 3);
    }
    let claimed = claim_below(&mut machine, SECTION_FRAMES);
    machine.kernel(|manager| manager.run_strategy(Strategy::PageMigration));
    assert_eq!(machine.manager.pressure_handler.strategies[Strategy::PageMigration as usize].pages_moved, 3);
    assert_eq!((in_section(&machine, 1), in_section(&machine, 2)), (0, 8));
    give_back(&mut machine, claimed);
    audit(&machine);
    read_all(&mut machine, first, 40);
}

#[test]
#[cfg_attr(miri, ignore)]
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
#[cfg_attr(miri, ignore)]
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
#[cfg_attr(miri, ignore)]
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
#[cfg_attr(miri, ignore)]
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
#[cfg_attr(miri, ignore)]
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
