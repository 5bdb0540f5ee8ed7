//! `faults N`: takes N lazy page faults, and checks that no frame was lost.

use super::Words;
use super::snapshot::Snapshot;
use super::verdict::Verdict;
use crate::println;
use crate::programs;
use crate::scheduler::{self, Start, wait_until};
use tinyos::memory::dynamic::Exhausted;
use tinyos::tasks::EndReason;

const MAX_FAULTS: u64 = 100_000_000;
/// The most milliseconds for a thousand faults: an emulator on a busy machine is slow.
const TIMEOUT_MS_PER_THOUSAND_FAULTS: u64 = 200;

pub fn command(mut words: Words) -> Result<(), &'static str> {
    let count = super::number(&mut words)?;
    if !(1..=MAX_FAULTS).contains(&count) {
        return Err("the number of faults must be from 1 to 100000000");
    }
    let program = programs::find("faults").ok_or("no such program")?;
    let before = Snapshot::take();
    let start = Start { arguments: [count, 0, 0], ..Start::of(program) };
    let id = scheduler::spawn(start).map_err(Exhausted::reason)?;
    let milliseconds = count / 1000 * TIMEOUT_MS_PER_THOUSAND_FAULTS + 2_000;
    wait_until(milliseconds, || !scheduler::task(id).is_alive());
    let task = scheduler::task(id);
    scheduler::kill(id);
    let after = Snapshot::take();
    let verdict = match task.end_reason {
        _ if !after.frames.is_sound() => Verdict::Failed,
        EndReason::None => Verdict::OutOfTime { unfinished: 1, tasks: 1, milliseconds },
        EndReason::Exited if task.report[0] >= count => Verdict::Passed,
        _ => Verdict::Failed,
    };
    println!("fault test: {verdict}");
    println!("faults_taken: {}", task.report[0]);
    println!("faults_counted: {}", after.increase_since(&before, |stats| stats.total_lazy_page_faults));
    println!("frames_used: {} before, {} after", before.frames.used, after.frames.used);
    println!("frames_lost: {}", after.frames.lost());
    Ok(())
}
