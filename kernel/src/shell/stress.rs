//! The stress test: shrinks the pool, lets tasks write pages until the pressure is Critical, ends the tasks, and
//! restores the pool. No frame may be lost, and no task may lose what it wrote.

use super::pool::{self, level};
use super::snapshot::Snapshot;
use super::verdict::Verdict;
use crate::println;
use crate::programs;
use crate::scheduler::{self, Start, read_memory_manager, wait_until};
use tinyos::memory::dynamic::{DynamicMemoryStats, Exhausted};
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::pressure::PressureLevel;
use tinyos::tasks::EndReason;

/// Free frames in the shrunk pool, if there are that many.
const FREE_FRAMES: u32 = 4096;
/// With fewer free frames, the tables and stacks of the tasks would need so many of them that the pressure would not
/// become Critical.
const MIN_FREE_FRAMES: u32 = 1024;
/// Number of tasks that write.
const HOGS: usize = 6;
/// The most frames for the tables, stack and task page of one task.
const FRAMES_PER_HOG: u32 = 24;
const TIMEOUT_MS: u64 = 20_000;
/// Steps that `progress` counts.
const STEPS: u32 = 100;

/// The outcome of a test.
pub struct Outcome {
    before: Snapshot,
    after: Snapshot,
    peak: PressureLevel,
    last: PressureLevel,
    started: usize,
    /// Why some tasks could not be started.
    exhausted: Option<Exhausted>,
    pages_written: u64,
    failed_tasks: usize,
    /// Tasks that had not written all their pages when the time was up.
    unfinished: u32,
    was_cancelled: bool,
}

impl Outcome {
    pub fn verdict(&self) -> Verdict {
        match self.exhausted {
            _ if self.failed_tasks > 0 || !self.after.frames.is_sound() => Verdict::Failed,
            Some(exhausted) => Verdict::NoRoom(exhausted),
            None if self.last != PressureLevel::Low => Verdict::Failed,
            None if self.was_cancelled => Verdict::Cancelled,
            None if self.unfinished > 0 => {
                Verdict::OutOfTime { unfinished: self.unfinished, tasks: HOGS as u32, milliseconds: TIMEOUT_MS }
            }
            None if self.peak == PressureLevel::Critical => Verdict::Passed,
            None => Verdict::Failed,
        }
    }

    pub fn describe(&self) {
        println!("stress test: {}", self.verdict());
        println!("stress_tasks: {} of {HOGS}", self.started);
        println!("stress_pages_written: {}", self.pages_written);
        println!("stress_failed_tasks: {}", self.failed_tasks);
        println!("stress_peak_pressure: {:?}", self.peak);
        println!("stress_last_pressure: {:?}", self.last);
        println!("stress_lazy_page_faults: {}", self.grew(|stats| stats.total_lazy_page_faults));
        println!("stress_stack_growths: {}", self.grew(|stats| stats.total_stack_growth_events));
        println!("stress_stack_shrinks: {}", self.grew(|stats| stats.total_stack_shrink_events));
        println!("stress_optimizations: {}", self.grew(|stats| stats.optimization_events));
        println!("stress_context_switches: {}", self.grew(|stats| stats.context_switch_count));
        println!("stress_frames_used: {} before, {} after", self.before.frames.used, self.after.frames.used);
        println!("stress_frames_lost: {}", self.after.frames.lost());
    }

    fn grew(&self, counter: impl Fn(&DynamicMemoryStats) -> u32) -> u32 {
        self.after.increase_since(&self.before, counter)
    }
}

/// Runs the test. Calls `progress` with the numbers of done and of all steps; stops when `cancelled` returns true.
pub fn run(progress: &mut dyn FnMut(u32, u32), cancelled: &dyn Fn() -> bool) -> Outcome {
    let before = Snapshot::take();
    let limit_before = read_memory_manager(|manager| manager.frames.limit_frames);
    let room = FREE_FRAMES.min(limit_before.saturating_sub(before.frames.used));
    pool::set_limit(before.frames.used + room);
    // Enough for Critical pressure, but not so much that frames run out.
    let demand = (room - room / 32).saturating_sub(HOGS as u32 * FRAMES_PER_HOG) as u64;
    let hogs = if room < MIN_FREE_FRAMES { Hogs::NO_ROOM } else { Hogs::start(demand.div_ceil(HOGS as u64)) };
    let (mut peak, mut unfinished) = (level(), 0);
    if hogs.exhausted.is_none() {
        let in_time = wait_until(TIMEOUT_MS, || {
            let written = hogs.pages_written();
            peak = peak.max(level());
            progress((written * (STEPS as u64 - 1) / demand.max(1)).min(STEPS as u64 - 1) as u32, STEPS);
            written >= demand || hogs.have_ended() || cancelled()
        });
        if !in_time {
            let share = demand.div_ceil(HOGS as u64);
            unfinished = hogs.ids().filter(|&id| scheduler::task(id).report[0] < share).count() as u32;
        }
        // The tasks run once more: each checks everything that it wrote.
        scheduler::shell_sleep(60);
        peak = peak.max(level());
    }
    let pages_written = hogs.pages_written();
    let failed_tasks = hogs.end();
    pool::set_limit(limit_before);
    progress(STEPS, STEPS);
    Outcome {
        before,
        after: Snapshot::take(),
        peak,
        last: level(),
        started: hogs.started,
        exhausted: hogs.exhausted,
        pages_written,
        failed_tasks,
        unfinished,
        was_cancelled: cancelled(),
    }
}

/// The tasks that write pages.
struct Hogs {
    ids: [u16; HOGS],
    started: usize,
    exhausted: Option<Exhausted>,
}

impl Hogs {
    const NO_ROOM: Hogs = Hogs { ids: [0; HOGS], started: 0, exhausted: Some(Exhausted::Frames) };

    /// Starts as many tasks as possible; each writes `share` pages.
    fn start(share: u64) -> Self {
        let policies = [GrowthPolicy::Conservative, GrowthPolicy::Aggressive, GrowthPolicy::Predictive];
        let mut hogs = Hogs { ids: [0; HOGS], started: 0, exhausted: None };
        let Some(program) = programs::find("hog") else { return hogs };
        for number in 0..HOGS {
            let policy = policies[number % policies.len()];
            match scheduler::spawn(Start { program, arguments: [share, 0, 0], policy }) {
                Ok(id) => hogs.ids[number] = id,
                Err(exhausted) => {
                    hogs.exhausted = Some(exhausted);
                    break;
                }
            }
            hogs.started += 1;
        }
        hogs
    }

    fn ids(&self) -> impl Iterator<Item = u16> {
        self.ids[..self.started].iter().copied()
    }

    fn have_ended(&self) -> bool {
        self.ids().all(|id| !scheduler::task(id).is_alive())
    }

    /// Number of pages that the tasks have reported. A task that failed reports a larger number, which is left out.
    fn pages_written(&self) -> u64 {
        self.ids().map(|id| scheduler::task(id).report[0]).filter(|&pages| pages < 1 << 32).sum()
    }

    /// Ends the tasks. Returns how many had ended already: a task ends only if it fails.
    fn end(&self) -> usize {
        let failed = self.ids().filter(|&id| scheduler::task(id).end_reason != EndReason::None).count();
        self.ids().for_each(|id| {
            scheduler::kill(id);
        });
        failed
    }
}
