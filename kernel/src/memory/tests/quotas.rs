//! Quotas of tasks, and who ends when the pool has no frame left.

use super::audit::audit;
use super::machine::{Machine, PAGE};
use crate::events::EventKind;
use crate::memory::dynamic::Exhausted;
use crate::memory::faults::Access;
use crate::memory::growth::GrowthPolicy::{Aggressive, Conservative};
use crate::memory::layout::{MAX_LAZY_PAGES, MAX_LAZY_RANGES, PAGE_SIZE};
use crate::memory::lazy::record_of;
use crate::memory::quotas::{DEFAULT_MAX_LAZY_PAGES, DEFAULT_MAX_RANGES, Quota, Victim, default_max_frames};
use crate::tasks::EndReason;

/// A machine whose tasks, from 1 on, have each written so many pages; then no frame is available.
fn with_full_pool(pages: &[u32]) -> (Machine, Vec<u64>) {
    let mut machine = Machine::new(8);
    let mut ranges = Vec::new();
    for (place, &pages) in pages.iter().enumerate() {
        let number = place as u16 + 1;
        machine.start(number, Conservative, 16 * PAGE_SIZE).expect("the pool is empty");
        let first = machine.reserve(number, 300).unwrap();
        (0..pages as u64).for_each(|page| machine.write(number, first + page * PAGE, page + 1).unwrap());
        ranges.push(first);
    }
    machine.manager.frames.drain_cache();
    let used = machine.manager.frames.used_frames();
    machine.kernel(|manager| manager.set_pool_limit(used));
    assert_eq!(machine.manager.frames.available_frames(), 0);
    (machine, ranges)
}

fn events(machine: &Machine, kind: EventKind) -> Vec<(u64, u64)> {
    let entries = machine.manager.events.entries.iter().filter(|event| event.kind == kind);
    entries.map(|event| (event.first, event.second)).collect()
}

fn owned(machine: &Machine, task: u16) -> u32 {
    machine.manager.frames.info.iter().filter(|info| info.is_used() && info.owner == task).count() as u32
}

#[test]
#[cfg_attr(miri, ignore)]
fn in_need_the_task_that_owns_the_most_frames_ends() {
    let (mut machine, ranges) = with_full_pool(&[30, 200, 40]);
    let victim = Victim { task: 2, frames: owned(&machine, 2) };
    machine.write(1, ranges[0] + 100 * PAGE, 7).expect("task 2 makes room");
    assert_eq!(machine.victims, [victim]);
    assert_eq!(machine.tasks.keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(events(&machine, EventKind::VictimChosen), [(2, victim.frames as u64)]);
    assert_eq!(events(&machine, EventKind::OutOfMemory), [(ranges[0] + 100 * PAGE, 0)]);
    audit(&machine);
    (0..30).for_each(|page| machine.read(1, ranges[0] + page * PAGE).unwrap());
    (0..40).for_each(|page| machine.read(3, ranges[2] + page * PAGE).unwrap());
}

#[test]
#[cfg_attr(miri, ignore)]
fn in_need_the_task_that_needs_a_frame_ends_if_it_owns_the_most() {
    for pages in [[200, 30], [50, 50]] {
        let (mut machine, ranges) = with_full_pool(&pages);
        let frames = owned(&machine, 1) as u64;
        assert_eq!(machine.write(1, ranges[0] + 250 * PAGE, 7), Err(EndReason::OutOfMemory));
        assert_eq!((machine.victims.len(), events(&machine, EventKind::VictimChosen)), (0, vec![(1, frames)]));
        machine.end(1);
        audit(&machine);
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn in_need_frames_beyond_the_limit_do_not_count() {
    let (mut machine, ranges) = with_full_pool(&[60, 90]);
    machine.kernel(|manager| manager.set_pool_limit(u32::MAX));
    // Most pages of task 2 lie beyond the limit of later: they would make no room.
    for page in 0..80 {
        let physical = machine.manager.lazy_allocator.pages[record_of(ranges[1]).unwrap() + page].physical_address;
        let from = machine.manager.frames.number(physical).unwrap();
        assert!(machine.kernel(|manager| manager.move_frame(from, 5000 + page as u32)));
    }
    machine.start(3, Conservative, PAGE_SIZE).unwrap();
    let more = machine.reserve(3, 100).unwrap();
    machine.write(3, more, 1).unwrap();
    let within = machine.manager.frames.used_frames() - 80;
    machine.manager.frames.set_limit(within);
    machine.kernel(|manager| manager.set_pool_limit(within));
    assert_eq!(machine.manager.frames.available_frames(), 0);
    machine.write(3, more + PAGE, 1).unwrap();
    assert_eq!(machine.victims.iter().map(|victim| victim.task).collect::<Vec<_>>(), [1]);
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_stack_grows_by_more_than_it_needs_only_while_frames_are_free() {
    let (mut machine, _) = with_full_pool(&[100, 20]);
    machine.kernel(|manager| manager.set_pool_limit(u32::MAX));
    machine.start(3, Aggressive, 32 * PAGE_SIZE).unwrap();
    machine.manager.frames.drain_cache();
    let used = machine.manager.frames.used_frames();
    machine.kernel(|manager| manager.set_pool_limit(used + 1));
    // The policy wants four pages, of which one is needed.
    machine.push(3, PAGE + 16, false, 1).unwrap();
    assert_eq!((machine.victims.len(), machine.manager.stack_manager.stacks[2].current_size), (0, 2 * PAGE_SIZE));
    machine.push(3, PAGE, false, 1).unwrap();
    assert_eq!(machine.victims[0].task, 1);
    assert_eq!(machine.manager.stack_manager.stacks[2].current_size, 6 * PAGE_SIZE);
    audit(&machine);
}

#[test]
fn a_task_gets_no_more_ranges_than_its_quota() {
    let mut machine = Machine::new(8);
    (1..=2).for_each(|task| machine.start(task, Conservative, PAGE_SIZE).unwrap());
    let reserved = (0..MAX_LAZY_RANGES).filter(|_| machine.reserve(1, 1).is_some()).count();
    assert_eq!(reserved as u32, DEFAULT_MAX_RANGES);
    assert_eq!(machine.kernel(|manager| manager.reserve(1, 1)), Err(Exhausted::Quota));
    assert_eq!(events(&machine, EventKind::RangeQuota)[0], (1, DEFAULT_MAX_RANGES as u64));
    machine.reserve(2, 1).expect("another task still gets a range");
    machine.give_up(1, 0, true);
    machine.reserve(1, 1).expect("a released range counts no more");
    assert_eq!(machine.manager.lazy_allocator.quotas[1], Quota { used: DEFAULT_MAX_RANGES, max: DEFAULT_MAX_RANGES });
    audit(&machine);
}

#[test]
fn a_task_gets_no_more_lazy_pages_than_its_quota() {
    let mut machine = Machine::new(8);
    (1..=2).for_each(|task| machine.start(task, Conservative, PAGE_SIZE).unwrap());
    let all = MAX_LAZY_PAGES as u32;
    assert_eq!(machine.kernel(|manager| manager.reserve(1, all)), Err(Exhausted::Quota));
    assert_eq!(events(&machine, EventKind::LazyPageQuota), [(all as u64, DEFAULT_MAX_LAZY_PAGES as u64)]);
    machine.reserve(1, DEFAULT_MAX_LAZY_PAGES - 1).unwrap();
    machine.reserve(1, 1).unwrap();
    assert_eq!(machine.kernel(|manager| manager.reserve(1, 1)), Err(Exhausted::Quota));
    machine.reserve(2, all - DEFAULT_MAX_LAZY_PAGES).expect("another task still gets pages");
    assert_eq!(machine.kernel(|manager| manager.reserve(2, 1)), Err(Exhausted::LazyPages));
    machine.give_up(1, 0, true);
    machine.reserve(1, DEFAULT_MAX_LAZY_PAGES - 1).expect("released pages count no more");
    assert_eq!(machine.kernel(|manager| manager.reserve(1, u32::MAX)), Err(Exhausted::Quota));
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_task_that_needs_more_frames_than_its_quota_ends_and_no_other() {
    let (mut machine, ranges) = with_full_pool(&[30, 200]);
    machine.kernel(|manager| manager.set_pool_limit(u32::MAX));
    let used = owned(&machine, 1);
    assert_eq!(machine.manager.frames.quotas[1].used, used);
    machine.manager.frames.quotas[1].max = used + 3;
    (30..33).for_each(|page| machine.write(1, ranges[0] + page * PAGE, 7).unwrap());
    // A page of zeros makes room for another.
    machine.write(1, ranges[0], 0).unwrap();
    machine.write(1, ranges[0] + 33 * PAGE, 7).unwrap();
    assert_eq!(machine.write(1, ranges[0] + 34 * PAGE, 7), Err(EndReason::QuotaReached));
    assert_eq!(events(&machine, EventKind::FrameQuota), [(1, used as u64 + 3)]);
    assert_eq!((machine.victims.len(), events(&machine, EventKind::OutOfMemory).len()), (0, 0));
    machine.end(1);
    assert_eq!(machine.manager.frames.quotas[1].used, 0);
    machine.start(1, Conservative, PAGE_SIZE).unwrap();
    let limit = machine.manager.frames.limit_frames;
    assert_eq!(machine.manager.frames.quotas[1].max, default_max_frames(limit), "a new task has its own quota");
    audit(&machine);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_task_ends_at_its_quota_also_if_a_table_is_what_it_may_not_have() {
    for missing in 1..=3 {
        let (mut machine, ranges) = with_full_pool(&[30, 200, 40]);
        machine.kernel(|manager| manager.set_pool_limit(u32::MAX));
        let used = owned(&machine, 1);
        // A page far away needs a frame and a table of level 3.
        let far = machine.reserve(1, 2000).unwrap() + 1999 * PAGE;
        assert!(far >> 21 != ranges[0] >> 21);
        machine.manager.frames.quotas[1].max = used + missing - 1;
        let result = machine.write(1, far, 7);
        assert_eq!(result, if missing < 3 { Err(EndReason::QuotaReached) } else { Ok(()) }, "{missing}");
        assert_eq!((machine.victims.len(), events(&machine, EventKind::OutOfMemory).len()), (0, 0), "{missing}");
        audit(&machine);
    }
}

/// Task `number` stores to the words before and after `boundary`, between two pages, in one instruction.
fn store_across(machine: &mut Machine, number: u16, boundary: u64) -> Result<(), EndReason> {
    for _ in 0..4 {
        machine.access(number, boundary - 8, Access::Write)?;
        machine.access(number, boundary, Access::Write)?;
        let lazy = &machine.manager.lazy_allocator;
        let page = record_of(boundary).unwrap();
        if lazy.pages[page - 1].is_allocated && lazy.pages[page].is_allocated {
            return Ok(());
        }
    }
    panic!("each page gets the frame of the other");
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_store_to_two_pages_gets_both_or_a_task_ends() {
    for (pages, end) in [([200, 30], Err(EndReason::OutOfMemory)), ([30, 200], Ok(()))] {
        for first in [0, 1] {
            let (mut machine, ranges) = with_full_pool(&pages);
            let boundary = ranges[0] + 251 * PAGE;
            let limit = machine.manager.frames.limit_frames;
            machine.kernel(|manager| manager.set_pool_limit(limit + 1));
            // With one frame free, a page may have it already, and contain zeros.
            machine.write(1, boundary - first * PAGE, 0).unwrap();
            assert_eq!(store_across(&mut machine, 1, boundary), end);
            assert_eq!(machine.victims.len(), end.is_ok() as usize);
            audit(&machine);
        }
    }
}
