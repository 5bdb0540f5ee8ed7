//! What runs before the prompt, so that there is something to look at: tasks under each growth policy that have grown,
//! a stack that has shrunk, lazy pages in every state, every pressure level visited, hundreds of switches.

use crate::println;
use crate::programs::{self, Program};
use crate::scheduler::{self, Start, read_memory_manager};
use crate::shell::verdict::Verdict;
use crate::shell::{context_test, pool};
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::pressure::PressureLevel;

/// Milliseconds that each part of the workload may take.
const STEP_TIMEOUT_MS: u64 = 2_000;

/// Frames that the pool has beyond those in use while the pressure levels are visited.
const FREE_FRAMES: u32 = 512;

/// Tasks that stay: program, arguments, policy.
const RESIDENTS: [(&str, [u64; 3], GrowthPolicy); 6] = [
    ("worker", [120, 40, u64::MAX], GrowthPolicy::Conservative),
    ("worker", [160, 50, u64::MAX], GrowthPolicy::Aggressive),
    ("worker", [240, 60, u64::MAX], GrowthPolicy::Predictive),
    // Deep once, then never again: what pressure takes from it stays away.
    ("worker", [300, 70, 1], GrowthPolicy::Conservative),
    ("lazy", [96, 40, 0], GrowthPolicy::Conservative),
    ("lazy", [240, 60, 0], GrowthPolicy::Conservative),
];

/// Runs the workload; leaves its residents alive. Says so when a part of it did not come about.
pub fn run() {
    for (name, arguments, policy) in RESIDENTS {
        start(name, arguments, policy);
    }
    wait_for("every resident has reported", || {
        (1..=RESIDENTS.len() as u16).all(|id| scheduler::task(id).report[0] > 0)
    });
    visit_pressure();
    let verdict = context_test::run(4, 60, &mut |_, _| {}).verdict();
    if verdict != Verdict::Passed {
        println!("workload: context switching test: {verdict}");
    }
    wait_for("the lowest pressure level is back", || level() == PressureLevel::Low);
}

/// Shrinks the pool so that a task which writes page after page goes through every level, and ends it when it has.
fn visit_pressure() {
    let frames = read_memory_manager(|manager| manager.frames.used_frames());
    pool::set_limit(frames + FREE_FRAMES);
    // More than there is room for: what the strategies win back is written as well.
    if let Some(hog) = start("hog", [2 * FREE_FRAMES as u64, 0, 0], GrowthPolicy::Conservative) {
        wait_for("the pressure is critical", || level() == PressureLevel::Critical || !scheduler::task(hog).is_alive());
        scheduler::kill(hog);
    }
    pool::set_limit(u32::MAX);
    let visited = read_memory_manager(|manager| manager.pressure_handler.level_events.iter().all(|&events| events > 0));
    if !visited {
        println!("workload: not every pressure level was visited");
    }
}

/// The level of memory pressure now.
pub fn level() -> PressureLevel {
    read_memory_manager(|manager| manager.pressure_handler.level)
}

fn start(name: &str, arguments: [u64; 3], policy: GrowthPolicy) -> Option<u16> {
    let program: &Program = programs::find(name)?;
    let started = scheduler::spawn(Start { program, arguments, policy });
    if started.is_err() {
        println!("workload: no room for {name}");
    }
    started.ok()
}

/// Lets tasks run until `condition` holds; says so when it does not in time.
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    if !wait_until(STEP_TIMEOUT_MS, condition) {
        println!("workload: timed out waiting until {what}");
    }
}

/// Lets tasks run until `condition` holds, at most for `milliseconds`; whether it came to hold.
pub fn wait_until(milliseconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let end = tinyos::hardware::now() + milliseconds * crate::interrupts::frequency() / 1000;
    while !condition() {
        if tinyos::hardware::now() >= end {
            return false;
        }
        scheduler::shell_sleep(1);
    }
    true
}
