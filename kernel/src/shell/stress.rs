//! The stress test: the pool is shrunk, tasks write pages until the pressure is critical, end, and the pool is given
//! back. No frame may be lost on the way, and no task may lose what it wrote.

use super::pool;
use crate::println;
use crate::programs;
use crate::scheduler::{self, Start, without_interrupts};
use crate::workload::wait_until;
use tinyos::memory::audit::Audit;
use tinyos::memory::dynamic::{DYNAMIC_MEMORY_MANAGER, DynamicMemoryStats};
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::pressure::PressureLevel;
use tinyos::tasks::EndReason;

/// Frames that the shrunk pool has beyond those in use, where there are as many.
const ROOM: u32 = 4096;
/// Tasks that write.
const HOGS: usize = 6;
/// Tables, stack and task page of each, at the most.
const FRAMES_PER_HOG: u32 = 24;
const PATIENCE: u64 = 20_000;
/// Steps that `progress` counts.
const STEPS: u32 = 100;

/// What a run of the test found.
pub struct Outcome {
    before: Audit,
    after: Audit,
    stats_before: DynamicMemoryStats,
    stats_after: DynamicMemoryStats,
    peak: PressureLevel,
    last: PressureLevel,
    pages_written: u64,
    failed_tasks: u32,
    was_cancelled: bool,
}

impl Outcome {
    pub fn is_success(&self) -> bool {
        let reached = self.was_cancelled || self.peak == PressureLevel::Critical;
        reached && self.last == PressureLevel::Low && self.failed_tasks == 0 && self.after.is_sound()
    }

    pub fn was_cancelled(&self) -> bool {
        self.was_cancelled
    }

    pub fn describe(&self) {
        let verdict = match (self.is_success(), self.was_cancelled) {
            (true, false) => "passed",
            (true, true) => "cancelled; no harm done",
            (false, _) => "FAILED",
        };
        println!("stress test: {verdict}");
        println!("stress_pages_written: {}", self.pages_written);
        println!("stress_failed_tasks: {}", self.failed_tasks);
        println!("stress_peak_pressure: {:?}", self.peak);
        println!("stress_last_pressure: {:?}", self.last);
        println!("stress_lazy_page_faults: {}", self.grew(|stats| stats.total_lazy_page_faults));
        println!("stress_stack_growths: {}", self.grew(|stats| stats.total_stack_growth_events));
        println!("stress_stack_shrinks: {}", self.grew(|stats| stats.total_stack_shrink_events));
        println!("stress_optimizations: {}", self.grew(|stats| stats.optimization_events));
        println!("stress_context_switches: {}", self.grew(|stats| stats.context_switch_count));
        println!("stress_frames_used: {} before, {} after", self.before.used, self.after.used);
        println!("stress_frames_lost: {}", self.after.lost());
    }

    fn grew(&self, counter: impl Fn(&DynamicMemoryStats) -> u32) -> u32 {
        counter(&self.stats_after).wrapping_sub(counter(&self.stats_before))
    }
}

/// Runs the test. `progress` is told how many of how many steps are done; `cancelled` is asked whether to stop.
pub fn run(progress: &mut dyn FnMut(u32, u32), cancelled: &dyn Fn() -> bool) -> Outcome {
    let (before, stats_before, _) = state();
    let limit_before = without_interrupts(|| DYNAMIC_MEMORY_MANAGER.look(|manager| manager.frames.limit_frames));
    let room = ROOM.min(limit_before.saturating_sub(before.used));
    pool::set_limit(before.used + room);
    // Enough to be critical, not to run out.
    let demand = (room - room / 32).saturating_sub(HOGS as u32 * FRAMES_PER_HOG) as u64;
    let hogs = start_hogs(demand.div_ceil(HOGS as u64));
    let mut peak = PressureLevel::Low;
    wait_until(PATIENCE, || {
        let written = pages_written(&hogs);
        peak = peak.max(state().2);
        progress((written * (STEPS as u64 - 1) / demand.max(1)).min(STEPS as u64 - 1) as u32, STEPS);
        written >= demand || hogs.iter().all(|&id| !is_alive(id)) || cancelled()
    });
    // A last turn of the tasks: each looks whether all that it wrote is still there.
    scheduler::shell_sleep(60);
    peak = peak.max(state().2);
    let pages_written = pages_written(&hogs);
    let failed_tasks = end_hogs(&hogs);
    pool::set_limit(limit_before);
    progress(STEPS, STEPS);
    let (after, stats_after, last) = state();
    let was_cancelled = cancelled();
    Outcome { before, after, stats_before, stats_after, peak, last, pages_written, failed_tasks, was_cancelled }
}

/// Starts the tasks, each to write `share` pages; 0 stands for one that could not be started.
fn start_hogs(share: u64) -> [u16; HOGS] {
    let policies = [GrowthPolicy::Conservative, GrowthPolicy::Aggressive, GrowthPolicy::Predictive];
    core::array::from_fn(|number| {
        let Some(program) = programs::find("hog") else { return 0 };
        let policy = policies[number % policies.len()];
        scheduler::spawn(Start { program, arguments: [share, 0, 0], policy }).unwrap_or(0)
    })
}

/// Ends the tasks; gives how many of them had failed.
fn end_hogs(hogs: &[u16]) -> u32 {
    let mut failed = 0;
    for &id in hogs {
        let has_failed = id == 0 || scheduler::task(id).end_reason != EndReason::None;
        failed += has_failed as u32;
        scheduler::kill(id);
    }
    failed
}

fn is_alive(id: u16) -> bool {
    id != 0 && scheduler::task(id).is_alive()
}

fn pages_written(hogs: &[u16]) -> u64 {
    hogs.iter().filter(|&&id| id != 0).map(|&id| scheduler::task(id).report[0]).filter(|&pages| pages < 1 << 32).sum()
}

fn state() -> (Audit, DynamicMemoryStats, PressureLevel) {
    without_interrupts(|| {
        DYNAMIC_MEMORY_MANAGER.look(|manager| (manager.audit(), manager.stats, manager.pressure_handler.level))
    })
}
