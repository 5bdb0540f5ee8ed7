//! What a debugger asks for by `DEBUGGER_INTERFACE.request`.

use super::{context_test, stress};
use crate::println;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use tinyos::debugger::{DEBUGGER_INTERFACE as INTERFACE, Request, RequestResult, debugger_request_changed};

/// Carries out the request, if there is one; whether there was.
pub fn serve() -> bool {
    let number = INTERFACE.request.load(Acquire);
    if number == 0 {
        return false;
    }
    begin(number);
    let result = match Request::from_number(number) {
        Some(Request::ContextTest) => {
            let outcome = context_test::run(8, 200, &mut note);
            outcome.describe();
            judged(outcome.is_success(), false)
        }
        Some(Request::StressTest) => {
            let outcome = stress::run(&mut note, &is_cancelled);
            outcome.describe();
            judged(outcome.is_success(), outcome.was_cancelled())
        }
        // There was nothing to cancel, or it ended just then.
        Some(Request::Cancel | Request::None) => RequestResult::Success,
        None => RequestResult::Unknown,
    };
    end(result);
    true
}

/// Whether there is one: asked at each tick.
pub fn is_pending() -> bool {
    INTERFACE.request.load(Relaxed) != 0
}

fn begin(number: u32) {
    INTERFACE.progress.store(0, Relaxed);
    INTERFACE.progress_total.store(0, Relaxed);
    INTERFACE.active.store(number, Relaxed);
    INTERFACE.request.store(0, Release);
    println!();
    debugger_request_changed();
}

fn end(result: RequestResult) {
    if is_cancelled() {
        INTERFACE.request.store(0, Relaxed);
    }
    INTERFACE.result.store(result as u32, Relaxed);
    INTERFACE.served.store(INTERFACE.served.load(Relaxed).wrapping_add(1), Release);
    INTERFACE.active.store(0, Relaxed);
    debugger_request_changed();
}

fn judged(is_success: bool, was_cancelled: bool) -> RequestResult {
    match (is_success, was_cancelled) {
        (false, _) => RequestResult::Failure,
        (true, true) => RequestResult::Cancelled,
        (true, false) => RequestResult::Success,
    }
}

fn note(done: u32, total: u32) {
    let before = INTERFACE.progress.load(Relaxed);
    INTERFACE.progress_total.store(total, Relaxed);
    INTERFACE.progress.store(done, Relaxed);
    if done != before {
        debugger_request_changed();
    }
}

fn is_cancelled() -> bool {
    INTERFACE.request.load(Relaxed) == Request::Cancel as u32
}
