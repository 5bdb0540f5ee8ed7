//! The boot workload, which runs before the prompt, so that a debugger has something to show: tasks under each growth
//! policy whose stacks have grown, a stack that has shrunk, lazy pages in every state, every pressure level,
//! pages that have migrated, and hundreds of switches.

use crate::println;
use crate::programs::{self, Program};
use crate::scheduler::{self, Start, read_memory_manager};
use crate::shell::verdict::Verdict;
use crate::shell::{context_test, pool};
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::pressure::{PressureLevel, Strategy};
use tinyos::memory::strategies::SECTION_FRAMES;

/// Free frames in the pool before it is filled to pass through all pressure levels: three sections of 2 MiB.
const FREE_FRAMES: u32 = 3 * SECTION_FRAMES;

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
///
/// Each step waits for something that its tasks do, or for their end, and never for a time: a slow host, on which the
/// timer runs faster than the tasks, takes longer for the same result.
pub fn run() {
    let residents = RESIDENTS.map(|(name, arguments, policy)| start(name, arguments, policy));
    residents.into_iter().flatten().for_each(wait_for_report);
    enter_all_pressure_levels();
    let verdict = context_test::run(4, 60, &mut |_, _| {}).verdict();
    if verdict != Verdict::Passed {
        println!("workload: context switching test: {verdict}");
    }
}

/// Shrinks the pool, and lets a task write pages until every pressure level has been entered. Before, another task has
/// left pages all over the shrunk pool, so that Page Migration has something to do.
fn enter_all_pressure_levels() {
    let frames = read_memory_manager(|manager| manager.frames.used_frames());
    // Some frames are for its tables and its stack.
    let scatter = start("scatter", [(FREE_FRAMES - FREE_FRAMES / 8) as u64, 64, 0], GrowthPolicy::Conservative);
    scatter.into_iter().for_each(wait_for_report);
    pool::set_limit(frames + FREE_FRAMES);
    // More pages than there are free frames; it pauses after each 64, and is ended before there is none.
    let hog = start("hog", [2 * FREE_FRAMES as u64, 0, 0], GrowthPolicy::Conservative);
    if let Some(hog) = hog {
        wait_until_done(|| all_levels_entered() || !scheduler::task(hog).is_alive());
    }
    hog.into_iter().chain(scatter).for_each(|id| _ = scheduler::kill(id));
    pool::set_limit(u32::MAX);
    if !all_levels_entered() {
        println!("workload: not every pressure level was entered");
    }
    let moved = read_memory_manager(|manager| {
        manager.pressure_handler.strategies[Strategy::PageMigration as usize].pages_moved
    });
    if moved == 0 {
        println!("workload: no page migrated");
    }
    if pool::level() != PressureLevel::Low {
        println!("workload: the pressure is not Low again");
    }
}

/// Whether every level above Low was entered. A level may be left again before anyone looks.
fn all_levels_entered() -> bool {
    read_memory_manager(|manager| manager.pressure_handler.level_events[1..].iter().all(|&events| events > 0))
}

fn start(name: &str, arguments: [u64; 3], policy: GrowthPolicy) -> Option<u16> {
    let program: &Program = programs::find(name)?;
    let started = scheduler::spawn(Start { program, arguments, policy });
    if started.is_err() {
        println!("workload: cannot start {name}");
    }
    started.ok()
}

/// Lets tasks run until task `id` has reported; prints a line if it ends without.
fn wait_for_report(id: u16) {
    wait_until_done(|| scheduler::task(id).report[0] > 0 || !scheduler::task(id).is_alive());
    let task = scheduler::task(id);
    if !task.is_alive() || task.report[0] == 0 {
        println!("workload: task {id} ({}) ended early", task.name());
    }
}

/// Lets tasks run until `condition` is true.
fn wait_until_done(condition: impl Fn() -> bool) {
    while !condition() {
        scheduler::shell_sleep(1);
    }
}
