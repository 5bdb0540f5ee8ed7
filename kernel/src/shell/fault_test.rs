//! `faults N`: that many lazy page faults, and whether a frame was lost.

use super::Words;
use crate::println;
use crate::programs;
use crate::scheduler::{self, Start, without_interrupts};
use crate::workload::wait_until;
use tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER;
use tinyos::tasks::EndReason;

const MOST: u64 = 100_000_000;
/// Milliseconds for each thousand faults: an emulator on a busy machine is slow.
const PATIENCE_PER_THOUSAND: u64 = 200;

pub fn command(mut words: Words) -> Result<(), &'static str> {
    let count = super::number(&mut words)?;
    if !(1..=MOST).contains(&count) {
        return Err("from 1 to 100000000 faults");
    }
    let program = programs::find("faults").ok_or("no such program")?;
    let (before, faults_before) = state();
    let start = Start { arguments: [count, 0, 0], ..Start::of(program) };
    let id = scheduler::spawn(start).map_err(|_| "no room for another task")?;
    wait_until(count / 1000 * PATIENCE_PER_THOUSAND + 2_000, || !scheduler::task(id).is_alive());
    let task = scheduler::task(id);
    scheduler::kill(id);
    let (after, faults_after) = state();
    let is_right = task.end_reason == EndReason::Exited && task.report[0] >= count && after.is_sound();
    println!("fault test: {}", if is_right { "passed" } else { "FAILED" });
    println!("faults_taken: {}", task.report[0]);
    println!("faults_counted: {}", faults_after.wrapping_sub(faults_before));
    println!("frames_used: {} before, {} after", before.used, after.used);
    println!("frames_lost: {}", after.lost());
    Ok(())
}

fn state() -> (tinyos::memory::audit::Audit, u32) {
    without_interrupts(|| {
        DYNAMIC_MEMORY_MANAGER.look(|manager| (manager.audit(), manager.stats.total_lazy_page_faults))
    })
}
