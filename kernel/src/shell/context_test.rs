//! The context switching test: tasks use the same addresses but different pages. They count in their memory, yield, and
//! check that the counts are still theirs.

use super::verdict::Verdict;
use crate::println;
use crate::programs;
use crate::scheduler::{self, Start, read_memory_manager, wait_until};
use tinyos::memory::dynamic::Exhausted;
use tinyos::memory::layout::MAX_TASKS;
use tinyos::memory::switcher::Invalidations;
use tinyos::tasks::EndReason;

const TIMEOUT_MS: u64 = 10_000;

#[derive(Clone, Copy, Default)]
struct Counters {
    switches: u64,
    fast: u64,
    rollovers: u64,
    invalidations: Invalidations,
}

/// The outcome of a test.
#[derive(Default)]
pub struct Outcome {
    started: u32,
    wanted: u32,
    /// Correct rounds of all tasks.
    rounds: u64,
    /// Tasks that found wrong memory, or ended before they had finished all rounds.
    failed: u32,
    /// Tasks that were still running when the time was up.
    unfinished: u32,
    /// Why some tasks could not be started.
    exhausted: Option<Exhausted>,
    before: Counters,
    after: Counters,
}

impl Outcome {
    pub fn verdict(&self) -> Verdict {
        match self.exhausted {
            _ if self.failed > 0 => Verdict::Failed,
            Some(exhausted) => Verdict::NoRoom(exhausted),
            None if self.unfinished > 0 => {
                Verdict::OutOfTime { unfinished: self.unfinished, tasks: self.started, milliseconds: TIMEOUT_MS }
            }
            None if self.started == self.wanted => Verdict::Passed,
            None => Verdict::Failed,
        }
    }

    pub fn describe(&self) {
        println!("context switching test: {}", self.verdict());
        println!("test_tasks: {} of {}", self.started, self.wanted);
        println!("test_rounds: {}", self.rounds);
        println!("test_failures: {}", self.failed);
        println!("test_unfinished: {}", self.unfinished);
        println!("test_switches: {}", self.after.switches - self.before.switches);
        println!("test_switches_without_invalidation: {}", self.after.fast - self.before.fast);
        println!("test_asid_rollovers: {}", self.after.rollovers - self.before.rollovers);
        let (before, after) = (self.before.invalidations, self.after.invalidations);
        println!(
            "test_invalidations: {} by address, {} by ASID, {} of everything",
            after.by_address - before.by_address,
            after.by_asid - before.by_asid,
            after.everything - before.everything
        );
    }
}

/// Runs the test with `tasks` tasks of `rounds` rounds each. Calls `progress` with the numbers of ended and all tasks.
pub fn run(tasks: u32, rounds: u64, progress: &mut dyn FnMut(u32, u32)) -> Outcome {
    let mut outcome = Outcome { wanted: tasks, before: counters(), ..Outcome::default() };
    let Some(program) = programs::find("checker") else { return outcome };
    let mut ids = [0u16; MAX_TASKS];
    for place in ids.iter_mut().take(tasks as usize) {
        match scheduler::spawn(Start { arguments: [0, rounds, 0], ..Start::of(program) }) {
            Ok(id) => *place = id,
            Err(exhausted) => {
                outcome.exhausted = Some(exhausted);
                break;
            }
        }
        outcome.started += 1;
    }
    let ids = &ids[..outcome.started as usize];
    wait_until(TIMEOUT_MS, || {
        let ended = ids.iter().filter(|&&id| !scheduler::task(id).is_alive()).count() as u32;
        progress(ended, tasks);
        ended == ids.len() as u32
    });
    for &id in ids {
        let task = scheduler::task(id);
        let passed = task.end_reason == EndReason::Exited && task.report == [rounds, 0];
        outcome.rounds += task.report[0];
        outcome.unfinished += task.is_alive() as u32;
        outcome.failed += (!passed && !task.is_alive()) as u32;
        scheduler::kill(id);
    }
    outcome.after = counters();
    outcome
}

fn counters() -> Counters {
    read_memory_manager(|manager| {
        let switcher = &manager.context_switcher;
        Counters {
            switches: switcher.switch_count,
            fast: switcher.fast_switch_count,
            rollovers: switcher.asids.rollover_count,
            invalidations: switcher.invalidations,
        }
    })
}
