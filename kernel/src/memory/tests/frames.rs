//! The frame allocator, compared with sets of frame numbers.

use super::support::{cases, in_heap};
use crate::memory::frames::{CACHE_FRAMES, FrameAllocator, FrameInfo, FrameUse};
use crate::memory::layout::{MAX_TASKS, PAGE_SIZE, POOL_BASE, POOL_FRAMES};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TOTAL: u32 = POOL_FRAMES as u32;
const STACK: FrameInfo = FrameInfo::new(FrameUse::Stack, 1, 7);

fn fresh() -> Box<FrameAllocator> {
    let mut frames = in_heap(FrameAllocator::new);
    frames.initialize();
    frames
}

/// An operation. Numbers choose among the frames that are in use at the time.
#[derive(Clone, Debug)]
enum Step {
    Allocate(u16),
    Claim(u32),
    Release(usize),
    ReleaseToPool(usize),
    DrainCache,
    SetLimit(u32),
}

/// Mostly limits of a few words of the bit map, so that the pool runs out and whole words fill up.
fn limit() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..400u32, 1 => 4000..4300u32, 1 => TOTAL - 3..TOTAL + 3]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0..=MAX_TASKS as u16).prop_map(Step::Allocate),
        15 => prop_oneof![9 => 0..420u32, 1 => TOTAL - 2..TOTAL + 2].prop_map(Step::Claim),
        20 => any::<usize>().prop_map(Step::Release),
        15 => any::<usize>().prop_map(Step::ReleaseToPool),
        2 => Just(Step::DrainCache),
        3 => limit().prop_map(Step::SetLimit),
    ]
}

/// A naive model of the pool.
struct Model {
    limit: u32,
    free: BTreeSet<u32>,
    /// The last one is allocated first.
    cached: Vec<u32>,
    used: BTreeMap<u32, FrameInfo>,
}

impl Model {
    fn new() -> Model {
        Model { limit: TOTAL, free: (0..TOTAL).collect(), cached: Vec::new(), used: BTreeMap::new() }
    }

    fn nth_used(&self, choice: usize) -> Option<u32> {
        self.used.keys().nth(choice % self.used.len().max(1)).copied()
    }

    fn allocate(&mut self, info: FrameInfo) -> Option<u32> {
        let frame = self.cached.pop().or_else(|| self.free.pop_first())?;
        self.used.insert(frame, info);
        Some(frame)
    }

    fn claim(&mut self, frame: u32, info: FrameInfo) -> bool {
        let held = self.cached.len();
        // The last frame takes the claimed frame's place in the cache.
        if let Some(place) = self.cached.iter().position(|&cached| cached == frame) {
            self.cached.swap(place, held - 1);
            self.cached.pop();
        } else if !self.free.remove(&frame) {
            return false;
        }
        self.used.insert(frame, info);
        true
    }

    fn release(&mut self, frame: u32, past_cache: bool) {
        self.used.remove(&frame);
        if !past_cache && frame < self.limit && self.cached.len() < CACHE_FRAMES {
            self.cached.push(frame);
        } else if frame < self.limit {
            self.free.insert(frame);
        }
    }

    fn set_limit(&mut self, limit: u32) {
        self.limit = limit.min(TOTAL);
        self.cached.clear();
        self.free = (0..self.limit).filter(|frame| !self.used.contains_key(frame)).collect();
    }

    fn longest_free_run(&self) -> u32 {
        let (mut longest, mut current, mut expected) = (0, 0, 0);
        for &frame in &self.free {
            current = if frame == expected { current + 1 } else { 1 };
            expected = frame + 1;
            longest = longest.max(current);
        }
        longest
    }
}

fn take(frames: &mut FrameAllocator, model: &mut Model, step: Step) {
    match step {
        Step::Allocate(owner) => {
            let info = FrameInfo::new(FrameUse::LazyPage, owner, owner as u32 * 3);
            let failures = frames.failure_count;
            let given = frames.allocate(info);
            assert!(given.is_none_or(|frame| !model.used.contains_key(&frame)), "frame {given:?} allocated twice");
            assert_eq!(given, model.allocate(info));
            assert_eq!(frames.failure_count, failures + given.is_none() as u32);
        }
        Step::Claim(frame) => assert_eq!(frames.claim(frame, STACK), model.claim(frame, STACK), "claim of {frame}"),
        Step::Release(choice) => {
            if let Some(frame) = model.nth_used(choice) {
                frames.release(frame);
                model.release(frame, false);
            }
        }
        Step::ReleaseToPool(choice) => {
            if let Some(frame) = model.nth_used(choice) {
                frames.release_to_pool(frame);
                model.release(frame, true);
            }
        }
        Step::DrainCache => {
            assert_eq!(frames.drain_cache() as usize, model.cached.len());
            model.free.extend(model.cached.drain(..));
        }
        Step::SetLimit(limit) => {
            frames.set_limit(limit);
            model.set_limit(limit);
        }
    }
}

/// Compares after each step, without checking each frame.
fn compare(frames: &FrameAllocator, model: &Model) {
    let [free, cached, used] = [model.free.len(), model.cached.len(), model.used.len()].map(|count| count as u32);
    assert_eq!((frames.free_frames, frames.cached_frames, frames.used_frames()), (free, cached, used));
    assert_eq!(frames.free_frames + frames.cached_frames + frames.retired_frames + used, frames.total_frames);
    assert_eq!(frames.available_frames(), free + cached);
    assert_eq!(frames.limit_frames, model.limit);
    assert_eq!(frames.lowest_free(), model.free.first().copied());
    assert_eq!(frames.longest_free_run(), model.longest_free_run());
    assert_eq!(frames.allocation_count - frames.release_count, used as u64);
}

/// Compares the reverse map and the bit map for every frame.
fn compare_each(frames: &FrameAllocator, model: &Model) {
    for frame in 0..TOTAL {
        let info = frames.info[frame as usize];
        let is_free = frames.free_map[frame as usize / 64] >> (frame % 64) & 1 == 1;
        assert_eq!(is_free, model.free.contains(&frame), "bit of frame {frame}");
        match model.used.get(&frame) {
            Some(known) => assert_eq!(info, *known, "frame {frame}"),
            None => {
                let usage = match () {
                    _ if is_free => FrameUse::Free,
                    _ if model.cached.contains(&frame) => FrameUse::Cached,
                    _ => FrameUse::Retired,
                };
                assert_eq!(info, FrameInfo::new(usage, 0, 0), "frame {frame}");
                assert_eq!(usage == FrameUse::Retired, frame >= model.limit);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn it_does_what_sets_of_frames_do(first_limit in 0..400u32, steps in prop::collection::vec(step(), 1..300)) {
        let (mut frames, mut model) = (fresh(), Model::new());
        take(&mut frames, &mut model, Step::SetLimit(first_limit));
        for step in steps {
            take(&mut frames, &mut model, step);
            compare(&frames, &model);
        }
        compare_each(&frames, &model);
    }

    #[test]
    fn the_longest_run_is_found_wherever_it_lies(holes in prop::collection::btree_set(0..TOTAL, 0..60)) {
        let mut frames = fresh();
        let mut borders = vec![-1i64];
        for &frame in &holes {
            assert!(frames.claim(frame, STACK));
            borders.push(frame as i64);
        }
        borders.push(TOTAL as i64);
        let longest = borders.windows(2).map(|pair| pair[1] - pair[0] - 1).max().unwrap();
        prop_assert_eq!(frames.longest_free_run() as i64, longest);
        let lowest = (0..TOTAL).find(|frame| !holes.contains(frame));
        prop_assert_eq!(frames.lowest_free(), lowest);
    }
}

#[test]
fn every_frame_is_allocated_once_the_lowest_first() {
    let mut frames = fresh();
    for expected in 0..TOTAL {
        assert_eq!(frames.allocate(STACK), Some(expected));
    }
    assert_eq!((frames.allocate(STACK), frames.lowest_free(), frames.longest_free_run()), (None, None, 0));
    assert_eq!((frames.failure_count, frames.used_frames()), (1, TOTAL));
    for frame in 0..TOTAL {
        frames.release(frame);
    }
    assert_eq!((frames.cached_frames as usize, frames.available_frames()), (CACHE_FRAMES, TOTAL));
    frames.drain_cache();
    assert_eq!((frames.free_frames, frames.longest_free_run()), (TOTAL, TOTAL));
}

#[test]
fn frames_beyond_the_limit_are_not_allocated_until_it_is_raised() {
    let mut frames = fresh();
    assert!(frames.claim(100, STACK));
    frames.set_limit(64);
    assert_eq!((frames.free_frames, frames.retired_frames, frames.used_frames()), (64, TOTAL - 65, 1));
    assert!(!frames.claim(64, STACK), "a retired frame was allocated");
    assert!(frames.claim(63, STACK));
    // A used frame beyond the limit stays in use until it is released, and is not cached then.
    frames.release(100);
    assert_eq!((frames.cached_frames, frames.info[100].usage), (0, FrameUse::Retired));
    frames.set_limit(u32::MAX);
    assert_eq!((frames.limit_frames, frames.retired_frames, frames.free_frames), (TOTAL, 0, TOTAL - 1));
}

#[test]
fn addresses_and_numbers_correspond() {
    let frames = fresh();
    let last = POOL_BASE + (POOL_FRAMES as u64 - 1) * PAGE_SIZE as u64;
    assert_eq!((frames.address(0).get(), frames.address(TOTAL - 1).get()), (POOL_BASE, last));
    assert_eq!((frames.number(POOL_BASE), frames.number(POOL_BASE + 4095)), (Some(0), Some(0)));
    assert_eq!((frames.number(POOL_BASE + 4096), frames.number(last + 4095)), (Some(1), Some(TOTAL - 1)));
    assert_eq!((frames.number(POOL_BASE - 1), frames.number(0), frames.number(last + 4096)), (None, None, None));
}

#[test]
fn only_pages_and_tables_of_tasks_can_be_moved() {
    let of = |usage| FrameInfo::new(usage, 1, 0);
    for usage in [FrameUse::LazyPage, FrameUse::Stack, FrameUse::Table] {
        assert!(of(usage).is_movable() && of(usage).is_used());
    }
    for fixed in [of(FrameUse::ZeroPage), FrameInfo::new(FrameUse::Table, 0, 0)] {
        assert!(!fixed.is_movable() && fixed.is_used());
    }
    for usage in [FrameUse::Free, FrameUse::Cached, FrameUse::Retired] {
        assert!(!of(usage).is_movable() && !of(usage).is_used());
    }
}

#[test]
#[should_panic(expected = "released twice")]
fn releasing_a_cached_frame_panics() {
    let mut frames = fresh();
    let frame = frames.allocate(STACK).unwrap();
    frames.release(frame);
    frames.release(frame);
}

#[test]
#[should_panic(expected = "released twice")]
fn releasing_a_free_frame_panics() {
    fresh().release_to_pool(5);
}
