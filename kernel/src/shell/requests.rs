//! What a debugger asks for by `DEBUGGER_INTERFACE.request`.

use super::{context_test, stress};
use crate::println;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use tinyos::debugger::{DEBUGGER_INTERFACE as INTERFACE, Request};

/// `result` of a number that is no request.
const UNKNOWN_REQUEST: u32 = 2;

/// Carries out the request, if there is one; whether there was.
pub fn serve() -> bool {
    let number = INTERFACE.request.load(Acquire);
    if number == 0 {
        return false;
    }
    INTERFACE.request.store(0, Relaxed);
    println!();
    let result = match Request::from_number(number) {
        Some(Request::ContextTest) => {
            let outcome = context_test::run(8, 200, &mut note);
            outcome.describe();
            !outcome.is_success() as u32
        }
        Some(Request::StressTest) => {
            let outcome = stress::run(&mut note, &is_cancelled);
            outcome.describe();
            !outcome.is_success() as u32
        }
        // There was nothing to cancel, or it ended just then.
        Some(Request::Cancel | Request::None) => 0,
        None => UNKNOWN_REQUEST,
    };
    if is_cancelled() {
        INTERFACE.request.store(0, Relaxed);
    }
    INTERFACE.result.store(result, Relaxed);
    INTERFACE.served.store(INTERFACE.served.load(Relaxed).wrapping_add(1), Release);
    true
}

/// Whether there is one: asked at each tick.
pub fn is_pending() -> bool {
    INTERFACE.request.load(Relaxed) != 0
}

fn note(done: u32, total: u32) {
    INTERFACE.progress_total.store(total, Relaxed);
    INTERFACE.progress.store(done, Relaxed);
}

fn is_cancelled() -> bool {
    INTERFACE.request.load(Relaxed) == Request::Cancel as u32
}
