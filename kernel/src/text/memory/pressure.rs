//! `*p`: the frame pool, the pressure level, and the gain of the strategies.

use crate::memory::dynamic::DynamicMemoryManager;
use crate::memory::frames::FrameAllocator;
use crate::memory::pressure::{MemoryPressureHandler, PressureLevel, Strategy};
use crate::text::units::{Frames, Gauge};
use core::fmt::{Result, Write};

macro_rules! level_columns {
    () => {
        "{:<8} {:>11} {:>9} {:>7}"
    };
}

macro_rules! strategy_columns {
    () => {
        "{:<18} {:>6} {:>8} {:>11} {:>10} {:>5} {:>7} {:>6} {}"
    };
}

/// Width of the pool's gauge.
const GAUGE_WIDTH: u32 = 40;

pub fn level_name(level: PressureLevel) -> &'static str {
    match level {
        PressureLevel::Low => "Low",
        PressureLevel::Medium => "Medium",
        PressureLevel::High => "High",
        PressureLevel::Critical => "Critical",
    }
}

pub fn strategy_name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::CacheOptimization => "Cache Optimization",
        Strategy::PressureRelief => "Pressure Relief",
        Strategy::PageMigration => "Page Migration",
        Strategy::Defragmentation => "Defragmentation",
    }
}

/// `*p`: the current level, the pool's frames, the thresholds of each level (in free frames), and the strategies.
pub fn pressure(manager: &DynamicMemoryManager, out: &mut dyn Write) -> Result {
    writeln!(out, "level: {}", level_name(manager.pressure_handler.level))?;
    pool(&manager.frames, out)?;
    levels(&manager.pressure_handler, out)?;
    strategies(&manager.pressure_handler, out)
}

fn pool(frames: &FrameAllocator, out: &mut dyn Write) -> Result {
    let count = |number: u32| Frames(number as u64);
    writeln!(out, "total_frames: {}", count(frames.total_frames))?;
    writeln!(out, "limit_frames: {}", count(frames.limit_frames))?;
    writeln!(out, "free_frames: {}", count(frames.free_frames))?;
    writeln!(out, "cached_frames: {}", count(frames.cached_frames))?;
    writeln!(out, "retired_frames: {}", count(frames.retired_frames))?;
    writeln!(out, "used_frames: {}", count(frames.used_frames()))?;
    writeln!(out, "longest_free_run: {}", count(frames.longest_free_run()))?;
    writeln!(out, "allocation_count: {}", frames.allocation_count)?;
    writeln!(out, "release_count: {}", frames.release_count)?;
    writeln!(out, "failure_count: {}", frames.failure_count)?;
    let (part, whole) = (frames.used_frames() as u64, frames.limit_frames as u64);
    writeln!(out, "used: {}", Gauge { part, whole, width: GAUGE_WIDTH })
}

/// A row for each level. Low has no threshold.
fn levels(handler: &MemoryPressureHandler, out: &mut dyn Write) -> Result {
    writeln!(out, level_columns!(), "level", "enter_below", "leave_at", "events")?;
    let events = |level: PressureLevel| handler.level_events[level as usize];
    writeln!(out, level_columns!(), level_name(PressureLevel::Low), "-", "-", events(PressureLevel::Low))?;
    for (&level, threshold) in PressureLevel::ALL[1..].iter().zip(&handler.thresholds) {
        let (enter, leave) = (threshold.enter_below, threshold.leave_at);
        writeln!(out, level_columns!(), level_name(level), enter, leave, events(level))?;
    }
    Ok(())
}

fn strategies(handler: &MemoryPressureHandler, out: &mut dyn Write) -> Result {
    let names = ["runs", "last_won", "average_won", "total_won", "skips", "backoff", "moved"];
    let [runs, last, average, total, skips, backoff, moved] = names;
    writeln!(out, strategy_columns!(), "strategy", runs, last, average, total, skips, backoff, moved, "unit")?;
    for record in &handler.strategies {
        writeln!(
            out,
            strategy_columns!(),
            strategy_name(record.strategy),
            record.run_count,
            record.last_won,
            record.average_won / 16,
            record.total_won,
            record.skip_count,
            record.backoff_left,
            record.pages_moved,
            record.strategy.unit()
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::frames::{FrameInfo, FrameUse};
    use crate::memory::layout::POOL_FRAMES;
    use crate::text::fixtures;

    fn show(manager: &DynamicMemoryManager) -> String {
        let mut text = String::new();
        pressure(manager, &mut text).unwrap();
        fixtures::lines(&text);
        text
    }

    #[test]
    fn the_pool_is_accounted_for() {
        let mut manager = fixtures::manager();
        let held: Vec<_> = (0..10).map(|_| manager.frames.allocate(FrameInfo::new(FrameUse::Stack, 1, 0))).collect();
        for frame in &held[..3] {
            manager.frames.release(frame.unwrap());
        }
        let text = show(&manager);
        let frames = |name| fixtures::value(&text, name).split(' ').next().unwrap().parse::<usize>().unwrap();
        assert_eq!((frames("used_frames"), frames("cached_frames"), frames("retired_frames")), (7, 3, 0));
        assert_eq!(frames("total_frames"), POOL_FRAMES);
        assert_eq!(frames("free_frames") + 10, POOL_FRAMES);
        assert_eq!(frames("longest_free_run"), frames("free_frames"));
        assert_eq!(fixtures::value(&text, "allocation_count"), "10");
        assert_eq!(fixtures::value(&text, "release_count"), "3");
        assert!(fixtures::value(&text, "used").starts_with("[#-"));
    }

    #[test]
    fn levels_show_their_own_thresholds_and_events() {
        let mut manager = fixtures::manager();
        let handler = &mut manager.pressure_handler;
        handler.set_limit(1000);
        handler.update(240, 5);
        handler.update(990, 6);
        let text = show(&manager);
        assert_eq!(fixtures::value(&text, "level"), "Low");
        let rows: Vec<_> = text.lines().skip_while(|line| !line.starts_with("level ")).skip(1).take(4).collect();
        let cells: Vec<_> = rows.iter().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(cells, ["Low - - 1", "Medium 500 550 0", "High 250 300 1", "Critical 100 150 0"]);
    }

    #[test]
    fn strategies_show_what_they_won_and_in_what() {
        let mut manager = fixtures::manager();
        let handler = &mut manager.pressure_handler;
        handler.record_run(Strategy::PageMigration, 4_000_000_000, 9);
        handler.record_run(Strategy::PageMigration, 0, 10);
        handler.strategies[2].pages_moved = 7;
        handler.strategies[3].skip_count = 8;
        let text = show(&manager);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("Page Migration"), "Page Migration 2 0 201326591 4000000000 0 1 7 frames in one run");
        assert_eq!(row("Defragmentation"), "Defragmentation 0 0 0 0 8 0 0 frames in one run");
        assert_eq!(row("Cache Optimization"), "Cache Optimization 0 0 0 0 0 0 0 frames");
    }
}
