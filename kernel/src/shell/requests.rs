//! Requests of a debugger, made by `DEBUGGER_INTERFACE.request`.

use super::{context_test, stress};
use crate::{cpu, println};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use tinyos::debugger::{DEBUGGER_INTERFACE as INTERFACE, Request, RequestResult, debugger_request_changed};
use tinyos::hardware;

/// The most announcements of progress in a second. Each stops the machine for a debugger that waits: at every step that
/// would take longer than the test, and a Ctrl-C that arrives while the machine is stopped is lost.
const ANNOUNCEMENTS_PER_SECOND: u64 = 4;
/// Generic timer count at the last announcement.
static ANNOUNCED: AtomicU64 = AtomicU64::new(0);

/// Carries out the request, if there is one. Returns whether there was.
pub fn serve() -> bool {
    let number = INTERFACE.request.load(Acquire);
    if number == 0 {
        return false;
    }
    begin(number);
    let result = match Request::from_number(number) {
        Some(Request::ContextTest) => {
            let outcome = context_test::run(8, 200, &mut report_progress);
            outcome.describe();
            outcome.verdict().into()
        }
        Some(Request::StressTest) => {
            let outcome = stress::run(&mut report_progress, &is_cancelled);
            outcome.describe();
            outcome.verdict().into()
        }
        // Nothing was running, or it has just ended.
        Some(Request::Cancel | Request::None) => RequestResult::Success,
        None => RequestResult::Unknown,
    };
    end(result);
    true
}

fn begin(number: u32) {
    INTERFACE.progress.store(0, Relaxed);
    INTERFACE.progress_total.store(0, Relaxed);
    INTERFACE.active.store(number, Relaxed);
    INTERFACE.request.store(0, Release);
    println!();
    announce();
}

fn end(result: RequestResult) {
    if is_cancelled() {
        INTERFACE.request.store(0, Relaxed);
    }
    INTERFACE.result.store(result as u32, Relaxed);
    INTERFACE.served.store(INTERFACE.served.load(Relaxed).wrapping_add(1), Release);
    INTERFACE.active.store(0, Relaxed);
    announce();
}

fn report_progress(done: u32, total: u32) {
    let before = INTERFACE.progress.load(Relaxed);
    INTERFACE.progress_total.store(total, Relaxed);
    INTERFACE.progress.store(done, Relaxed);
    let since = hardware::now() - ANNOUNCED.load(Relaxed);
    if done != before && since >= cpu::frequency() / ANNOUNCEMENTS_PER_SECOND {
        announce();
    }
}

fn announce() {
    debugger_request_changed();
    ANNOUNCED.store(hardware::now(), Relaxed);
}

fn is_cancelled() -> bool {
    INTERFACE.request.load(Relaxed) == Request::Cancel as u32
}
