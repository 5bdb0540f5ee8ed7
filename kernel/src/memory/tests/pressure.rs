//! Pressure levels with their hysteresis, and the choice of strategies.

use super::support::cases;
use crate::memory::pressure::PressureLevel::{Critical, High, Low, Medium};
use crate::memory::pressure::Strategy::{CacheOptimization, Defragmentation, PageMigration, PressureRelief};
use crate::memory::pressure::{
    BACKOFF_LIMIT, MemoryPressureHandler, Need, PressureLevel, Strategy as Answer, THRESHOLD_PERCENT, allowed, level_of,
};
use proptest::prelude::*;

fn with_limit(limit: u32) -> MemoryPressureHandler {
    let mut handler = MemoryPressureHandler::new();
    handler.set_limit(limit);
    handler.update(limit, 0);
    handler
}

fn at_level(level: PressureLevel) -> MemoryPressureHandler {
    let mut handler = with_limit(1000);
    handler.update([1000, 400, 200, 50][level as usize], 1);
    assert_eq!(handler.level, level);
    handler
}

/// The level by its definition: the highest that `free` enters, or the current one if `free` does not leave it.
fn naive_level(current: PressureLevel, free: u32, limit: u32) -> PressureLevel {
    let per_cent = |share: u32| (limit as u64 * share as u64 / 100) as u32;
    let holds = |level: &PressureLevel| {
        let (enter, leave) = THRESHOLD_PERCENT[*level as usize - 1];
        free < per_cent(enter) || (current >= *level && free < per_cent(leave))
    };
    [Critical, High, Medium].into_iter().find(holds).unwrap_or(Low)
}

fn limit() -> impl Strategy<Value = u32> {
    prop_oneof![0..200u32, 200..40_000u32, Just(u32::MAX)]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn the_level_is_what_its_definition_says(
        limit in limit(), shares in prop::collection::vec(0..=1000u64, 1..50),
    ) {
        let mut handler = with_limit(limit);
        let mut entered = [0u32; 4];
        for (time, share) in shares.into_iter().enumerate() {
            let free = (limit as u64 * share / 1000) as u32;
            let (before, time) = (handler.level, time as u64 + 7);
            let expected = naive_level(before, free, limit);
            let former = handler.update(free, time);
            prop_assert_eq!(handler.level, expected);
            prop_assert_eq!(former, (before != expected).then_some(before));
            if before != expected {
                entered[expected as usize] += 1;
                prop_assert_eq!(handler.last_change_time, time);
            }
            prop_assert_eq!(handler.level_events, entered);
            prop_assert_eq!(handler.free_frames, free);
        }
    }

    /// The kernel calls `keeps_level` on each allocation, and `update` only if it returns false: both must agree.
    #[test]
    fn calm_is_exactly_when_an_update_would_change_nothing(
        first in limit(), second in limit(), shares in prop::collection::vec(0..=1000u64, 1..30), at in 0..30usize,
    ) {
        let mut handler = with_limit(first);
        for (place, share) in shares.into_iter().enumerate() {
            if place == at {
                handler.set_limit(second);
            }
            let free = (handler.limit_frames as u64 * share / 1000) as u32;
            let borders = handler.thresholds.map(|threshold| [threshold.enter_below, threshold.leave_at]).concat();
            for free in borders.iter().flat_map(|&border| [border.saturating_sub(1), border]) {
                if free < u32::MAX {
                    let changes = level_of(handler.level, free, &handler.thresholds) != handler.level;
                    prop_assert_eq!(handler.keeps_level(free), !changes, "{} free at {:?}", free, handler.level);
                }
            }
            if free < u32::MAX {
                let calm = handler.keeps_level(free);
                prop_assert_eq!(handler.update(free, 9).is_none(), calm);
                prop_assert!(handler.keeps_level(free), "the level changes again after an update");
            }
        }
    }

    #[test]
    fn it_does_not_flip_while_free_moves_inside_a_band(
        limit in 20..40_000u32, border in 0..3usize, from_above in any::<bool>(),
        walk in prop::collection::vec(any::<u32>(), 1..40),
    ) {
        let mut handler = with_limit(limit);
        let band = handler.thresholds[border];
        handler.update(if from_above { band.leave_at } else { band.enter_below.saturating_sub(1) }, 1);
        let level = handler.level;
        prop_assert_eq!(level as usize, border + !from_above as usize);
        for step in walk {
            let width = (band.leave_at - band.enter_below).max(1);
            let free = band.enter_below + step % width;
            if free < band.leave_at {
                prop_assert_eq!(handler.update(free, 2), None, "{} free, {:?}", free, band);
            }
        }
        prop_assert_eq!(handler.level, level);
    }
}

#[test]
fn levels_begin_and_end_at_their_thresholds() {
    let mut handler = with_limit(1000);
    let way = [
        (500, Low),
        (499, Medium),
        (549, Medium),
        (550, Low),
        (499, Medium),
        (250, Medium),
        (249, High),
        (299, High),
        (300, Medium),
        (100, High),
        (99, Critical),
        (149, Critical),
        (150, High),
        (0, Critical),
        (1000, Low),
        (5, Critical),
    ];
    for (free, expected) in way {
        handler.update(free, 1);
        assert_eq!(handler.level, expected, "with {free} free");
    }
    assert_eq!(handler.level_events, [2, 3, 3, 3]);
}

#[test]
fn a_new_limit_changes_the_thresholds() {
    let mut handler = with_limit(1000);
    assert!(handler.keeps_level(600) && !handler.keeps_level(499));
    handler.set_limit(2000);
    assert!(!handler.keeps_level(600));
    assert_eq!(handler.update(600, 5), Some(Low));
    assert_eq!((handler.level, handler.limit_frames), (Medium, 2000));
}

#[test]
fn higher_levels_allow_more_strategies() {
    assert_eq!(allowed(Low), []);
    assert_eq!(allowed(Medium), [CacheOptimization, PageMigration]);
    for level in [High, Critical] {
        assert_eq!(allowed(level), [CacheOptimization, PressureRelief, PageMigration, Defragmentation]);
    }
    for (place, level) in PressureLevel::ALL.into_iter().enumerate() {
        assert_eq!(level as usize, place);
        assert_eq!(chosen(&mut at_level(level)).len(), allowed(level).len());
    }
    let mut handler = MemoryPressureHandler::new();
    handler.initialize(1000);
    for (place, strategy) in Answer::ALL.into_iter().enumerate() {
        assert_eq!(strategy as usize, place);
        assert_eq!(handler.strategies[place].strategy, strategy);
    }
}

/// What is chosen for each need, one after the other.
fn chosen(handler: &mut MemoryPressureHandler) -> Vec<Answer> {
    Need::ALL.into_iter().flat_map(|need| handler.choose(need).collect::<Vec<_>>()).collect()
}

#[test]
fn each_strategy_is_for_one_need_and_counts_in_its_unit() {
    let of = |need| Answer::ALL.into_iter().filter(|strategy| strategy.need() == need).collect::<Vec<_>>();
    assert_eq!(of(Need::Frames), Answer::FREE_FRAMES);
    assert_eq!(of(Need::Run), [PageMigration, Defragmentation]);
    assert!(Answer::ALL.into_iter().all(|strategy| strategy.unit() == strategy.need().unit()));
    assert_ne!(Need::Frames.unit(), Need::Run.unit());
}

#[test]
fn strategies_run_in_the_order_of_their_gain_new_ones_first() {
    let mut handler = at_level(Critical);
    assert_eq!(chosen(&mut handler), Answer::ALL);
    handler.record_run(CacheOptimization, 10, 1);
    // Pages moved are not frames won: the strategies for the other need are not compared with these.
    handler.record_run(PageMigration, 20, 1);
    assert_eq!(chosen(&mut handler), [PressureRelief, CacheOptimization, Defragmentation, PageMigration]);
    handler.record_run(PressureRelief, 30, 1);
    handler.record_run(Defragmentation, 20, 2);
    // Equal ones stay in the order of cost.
    assert_eq!(chosen(&mut handler), [PressureRelief, CacheOptimization, PageMigration, Defragmentation]);
    handler.record_run(CacheOptimization, 110, 2);
    assert_eq!(chosen(&mut handler)[..2], [CacheOptimization, PressureRelief]);
    let record = handler.strategies[CacheOptimization as usize];
    assert_eq!((record.run_count, record.last_won, record.total_won, record.last_run_time), (2, 110, 120, 2));
}

#[test]
fn the_expected_gain_is_an_average_in_which_newer_runs_weigh_more() {
    let mut handler = at_level(Critical);
    handler.record_run(CacheOptimization, 100, 1);
    handler.record_run(PressureRelief, 60, 1);
    // One bad run does not make a good strategy the worse one, several do.
    let mut averages = vec![handler.strategies[0].average_won];
    for _ in 0..3 {
        handler.record_run(CacheOptimization, 20, 2);
        averages.push(handler.strategies[0].average_won);
    }
    assert_eq!(averages, [100 * 16, 80 * 16, 65 * 16, 53 * 16 + 12], "a quarter of the way to 20 each time");
    assert_eq!(chosen(&mut handler)[..2], [PressureRelief, CacheOptimization]);
    handler.record_run(CacheOptimization, u32::MAX, 3);
    (0..200).for_each(|_| handler.record_run(CacheOptimization, 0, 4));
    assert_eq!(handler.strategies[0].average_won, 0);
}

/// Number of calls of `choose` that skip `strategy`.
fn passed_over(handler: &mut MemoryPressureHandler, strategy: Answer) -> u32 {
    (0..).find(|_| handler.choose(strategy.need()).any(|chosen| chosen == strategy)).unwrap()
}

#[test]
fn a_strategy_without_gain_is_skipped_longer_each_time() {
    let mut handler = at_level(High);
    let mut skipped = 0;
    for expected in [1, 2, 4, 8, BACKOFF_LIMIT as u32] {
        handler.record_run(PressureRelief, 0, 1);
        assert_eq!(passed_over(&mut handler, PressureRelief), expected);
        skipped += expected;
    }
    assert_eq!(handler.strategies[PressureRelief as usize].skip_count, skipped);
    handler.record_run(PressureRelief, 1, 2);
    assert_eq!(passed_over(&mut handler, PressureRelief), 0);
    handler.record_run(PressureRelief, 0, 3);
    assert_eq!(passed_over(&mut handler, PressureRelief), 1, "a gain resets the backoff");
}

#[test]
fn a_level_that_forbids_a_strategy_does_not_reduce_its_backoff() {
    let mut handler = at_level(High);
    handler.record_run(Defragmentation, 0, 1);
    handler.update(400, 2);
    for _ in 0..5 {
        assert!(chosen(&mut handler).iter().all(|strategy| allowed(Medium).contains(strategy)));
    }
    let record = handler.strategies[Defragmentation as usize];
    assert_eq!((record.backoff_left, record.skip_count), (1, 0));
}

fn strategy() -> impl Strategy<Value = Answer> {
    (0..4usize).prop_map(|number| Answer::ALL[number])
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_choice_agrees_with_a_sort(
        level in 0..4usize, runs in prop::collection::vec((strategy(), 0..4u32), 0..40),
    ) {
        let mut handler = at_level(PressureLevel::ALL[level]);
        for (strategy, won) in runs {
            let mut expected: Vec<Answer> = allowed(handler.level)
                .iter()
                .copied()
                .filter(|&strategy| handler.strategies[strategy as usize].backoff_left == 0)
                .collect();
            let records = handler.strategies;
            expected.sort_by_key(|&strategy| {
                let record = records[strategy as usize];
                let gain = if record.run_count == 0 { u32::MAX } else { record.average_won };
                (strategy.need() as u8, std::cmp::Reverse(gain))
            });
            prop_assert_eq!(chosen(&mut handler), expected);
            handler.record_run(strategy, won, 5);
        }
    }
}
