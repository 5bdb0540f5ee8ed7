//! The boot workload, which runs before the prompt, so that a debugger has something to show: tasks under each growth
//! policy whose stacks have grown, a stack that has shrunk, lazy pages in every state, every pressure level, and
//! hundreds of switches.

use crate::println;
use crate::programs::{self, Program};
use crate::scheduler::{self, Start, read_memory_manager};
use crate::shell::verdict::Verdict;
use crate::shell::{context_test, pool};
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::pressure::PressureLevel;

/// The most milliseconds that each step of the workload may take.
const STEP_TIMEOUT_MS: u64 = 2_000;

/// Free frames in the pool before it is filled to pass through all pressure levels.
const FREE_FRAMES: u32 = 512;

/// The tasks that stay: program, arguments, policy.
const RESIDENTS: [(&str, [u64; 3], GrowthPolicy); 6] = [
    ("worker", [120, 40, u64::MAX], GrowthPolicy::Conservative),
    ("worker", [160, 50, u64::MAX], GrowthPolicy::Aggressive),
    ("worker", [240, 60, u64::MAX], GrowthPolicy::Predictive),
    // Deep only once: what pressure takes from this stack stays free.
    ("worker", [300, 70, 1], GrowthPolicy::Conservative),
    ("lazy", [96, 40, 0], GrowthPolicy::Conservative),
    ("lazy", [240, 60, 0], GrowthPolicy::Conservative),
];

/// Runs the workload, and leaves its resident tasks alive. Prints a line for each step that failed.
pub fn run() {
    for (name, arguments, policy) in RESIDENTS {
        start(name, arguments, policy);
    }
    wait_for("every resident task has reported", || {
        (1..=RESIDENTS.len() as u16).all(|id| scheduler::task(id).report[0] > 0)
    });
    enter_all_pressure_levels();
    let verdict = context_test::run(4, 60, &mut |_, _| {}).verdict();
    if verdict != Verdict::Passed {
        println!("workload: context switching test: {verdict}");
    }
    wait_for("the pressure is Low again", || level() == PressureLevel::Low);
}

/// Shrinks the pool, and lets a task write pages until every pressure level has been entered.
fn enter_all_pressure_levels() {
    let frames = read_memory_manager(|manager| manager.frames.used_frames());
    pool::set_limit(frames + FREE_FRAMES);
    // More pages than free frames: the task also uses the frames that the strategies free.
    if let Some(hog) = start("hog", [2 * FREE_FRAMES as u64, 0, 0], GrowthPolicy::Conservative) {
        wait_for("the pressure is Critical", || level() == PressureLevel::Critical || !scheduler::task(hog).is_alive());
        scheduler::kill(hog);
    }
    pool::set_limit(u32::MAX);
    let all_entered =
        read_memory_manager(|manager| manager.pressure_handler.level_events.iter().all(|&events| events > 0));
    if !all_entered {
        println!("workload: not every pressure level was entered");
    }
}

/// The current pressure level.
pub fn level() -> PressureLevel {
    read_memory_manager(|manager| manager.pressure_handler.level)
}

fn start(name: &str, arguments: [u64; 3], policy: GrowthPolicy) -> Option<u16> {
    let program: &Program = programs::find(name)?;
    let started = scheduler::spawn(Start { program, arguments, policy });
    if started.is_err() {
        println!("workload: cannot start {name}");
    }
    started.ok()
}

/// Lets tasks run until `condition` is true; prints a line if it times out.
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    if !wait_until(STEP_TIMEOUT_MS, condition) {
        println!("workload: timed out waiting until {what}");
    }
}

/// Lets tasks run until `condition` is true, for at most `milliseconds`. Returns whether it became true.
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
