//! The `*` submenu: commands for dynamic memory.

use super::{Words, context_test, stress};
use crate::cpu::without_interrupts;
use crate::scheduler::SCHEDULER;
use crate::{print, println};
use core::fmt::{Result as FormatResult, Write};
use tinyos::memory::dynamic::{DYNAMIC_MEMORY_MANAGER, DynamicMemoryManager};
use tinyos::sequence_lock::SequenceLock;
use tinyos::tasks::Scheduler;
use tinyos::text::answer::{Answer, CAPACITY};
use tinyos::text::memory;

const CONTEXT_TEST_TASKS: u32 = 8;
const CONTEXT_TEST_ROUNDS: u64 = 200;

/// Runs a command by its letter or name.
pub fn run(name: &str, _words: Words) -> Result<(), &'static str> {
    match name {
        "s" | "stats" => show(|manager, _, out| memory::statistics(manager, out)),
        "d" | "stacks" => show(|manager, _, out| memory::stacks(manager, out)),
        "l" | "lazy" => show(|manager, _, out| memory::lazy_pages(manager, out)),
        "p" | "pressure" => show(|manager, _, out| memory::pressure(manager, out)),
        "r" | "report" => show(memory::report),
        "c" | "context" => {
            let outcome = context_test::run(CONTEXT_TEST_TASKS, CONTEXT_TEST_ROUNDS, &mut |_, _| {});
            outcome.describe();
            show(|manager, scheduler, out| memory::context(manager, scheduler, out));
        }
        "t" | "stress" => {
            stress::run(&mut |_, _| {}, &|| false).describe();
        }
        "h" | "help" | "?" => help(),
        _ => return Err("unknown command of the dynamic memory submenu; *h for help"),
    }
    Ok(())
}

pub fn help() {
    for (letter, about) in [
        ("*s", "dynamic memory statistics"),
        ("*d", "dynamic stacks"),
        ("*l", "lazy pages"),
        ("*p", "memory pressure: level, thresholds, strategies"),
        ("*c", "context switching test; address spaces"),
        ("*t", "stress test: to Critical pressure and back"),
        ("*r", "report of all of these"),
        ("*h", "this list; q leaves the submenu"),
    ] {
        println!("  {letter:<26} {about}");
    }
}

/// The answer that is being printed. Only the shell uses it.
static ANSWER: SequenceLock<Answer> = SequenceLock::new(Answer::new());

/// Prints `view` of the state of the kernel. It is rendered with interrupts masked, so that it is of one moment, and
/// printed without, because that takes 90 us for each byte at 115,200 baud.
pub fn show(view: impl FnOnce(&DynamicMemoryManager, &Scheduler, &mut dyn Write) -> FormatResult) {
    let mut answer = ANSWER.write();
    answer.clear();
    let rendered = without_interrupts(|| {
        DYNAMIC_MEMORY_MANAGER.read(|manager| SCHEDULER.read(|scheduler| view(manager, scheduler, &mut *answer)))
    });
    print!("{}", answer.text());
    if rendered.is_err() {
        println!("\nthe rest of the answer does not fit into {} KiB", CAPACITY / 1024);
    }
}
