//! `bench`: the cost of the kernel's hot paths in counts of the generic timer. With QEMU's `-icount shift=4` a count is
//! 16 ns, which is one instruction.

use super::Words;
use crate::println;
use crate::programs;
use crate::scheduler::{self, Start, wait_until};

/// Runs of each measurement, of which the fastest counts: a timer tick can only add time.
const RUNS: usize = 5;
const TIMEOUT_MS: u64 = 5_000;

/// The measurements: name, program, number of tasks that run it at the same time.
const MEASUREMENTS: [(&str, &str, usize); 4] = [
    ("context switch", "measure-switch", 2),
    ("lazy read fault", "measure-read", 1),
    ("lazy write fault", "measure-write", 1),
    ("stack growth", "measure-growth", 1),
];

pub fn command(_: Words) -> Result<(), &'static str> {
    let was_held = scheduler::is_held();
    scheduler::hold(true);
    println!("counts of the generic timer for each; with -icount shift=4 a count is an instruction");
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

/// The time of one operation in tenths of counts; None if a task did not finish.
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
