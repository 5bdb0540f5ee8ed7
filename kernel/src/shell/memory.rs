//! The `*` submenu: dynamic memory.

use super::{Words, context_test, stress};
use crate::console::Console;
use crate::println;
use crate::scheduler::{SCHEDULER, without_interrupts};
use core::fmt::{Result as FormatResult, Write};
use tinyos::memory::dynamic::{DYNAMIC_MEMORY_MANAGER, DynamicMemoryManager};
use tinyos::tasks::Scheduler;
use tinyos::text::memory;

const CONTEXT_TEST_TASKS: u32 = 8;
const CONTEXT_TEST_ROUNDS: u64 = 200;

/// Carries out the command of a letter or its name.
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
        ("*d", "every dynamic stack"),
        ("*l", "lazy pages"),
        ("*p", "memory pressure: level, thresholds, strategies"),
        ("*c", "test context switching; address spaces"),
        ("*t", "stress test: to critical pressure and back"),
        ("*r", "report of everything"),
        ("*h", "these lines; q leaves the submenu"),
    ] {
        println!("  {letter:<26} {about}");
    }
}

/// Writes to the console what `view` makes of a state that stands still meanwhile.
pub fn show(view: impl FnOnce(&DynamicMemoryManager, &Scheduler, &mut dyn Write) -> FormatResult) {
    without_interrupts(|| {
        DYNAMIC_MEMORY_MANAGER
            .read(|manager| SCHEDULER.read(|scheduler| view(manager, scheduler, &mut Console)))
            // The console takes all that is written to it.
            .unwrap_or_default()
    });
}
