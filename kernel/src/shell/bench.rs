//! `bench`: what the kernel's hot paths cost, in counts of the generic timer. Under QEMU's `-icount shift=4` a count is
//! 16 ns and so an instruction.

use super::Words;
use crate::println;
use crate::programs;
use crate::scheduler::{self, Start};
use crate::workload::wait_until;

/// Each is measured that many times, and the best taken: a tick of the timer in between only adds.
const RUNS: usize = 5;
const TIMEOUT_MS: u64 = 5_000;

/// What is measured: its name, the program, how many of it run side by side.
const MEASUREMENTS: [(&str, &str, usize); 4] = [
    ("context switch", "measure-switch", 2),
    ("lazy read fault", "measure-read", 1),
    ("lazy write fault", "measure-write", 1),
    ("stack growth", "measure-growth", 1),
];

pub fn command(_: Words) -> Result<(), &'static str> {
    let was_held = scheduler::is_held();
    scheduler::hold(true);
    println!("counts of the generic timer each; under -icount shift=4 a count is an instruction");
    for (name, program, tasks) in MEASUREMENTS {
        let best = (0..RUNS).filter_map(|_| measure(program, tasks)).min();
        match best {
            Some(tenths) => println!("{name}: {}.{}", tenths / 10, tenths % 10),
            None => println!("{name}: could not be measured"),
        }
    }
    if !was_held {
        scheduler::hold(false);
    }
    Ok(())
}

/// Tenths of counts that one operation took; None when a task did not finish.
fn measure(program: &str, tasks: usize) -> Option<u64> {
    let start = || scheduler::spawn(Start::of(programs::find(program)?)).ok();
    let ids: [Option<u16>; 2] = core::array::from_fn(|place| if place < tasks { start() } else { None });
    let has_ended = |id: &u16| !scheduler::task(*id).is_alive();
    let in_time = wait_until(TIMEOUT_MS, || ids.iter().flatten().all(has_ended));
    let [counts, operations] = scheduler::task(ids[0]?).report;
    ids.iter().flatten().for_each(|&id| {
        scheduler::kill(id);
    });
    (in_time && operations > 0).then(|| counts * 10 / (operations * tasks as u64))
}
