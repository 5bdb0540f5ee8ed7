//! The verdict of one of the kernel's tests.

use core::fmt;
use tinyos::debugger::RequestResult;
use tinyos::memory::dynamic::Exhausted;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// Ended early; there was no error until then.
    Cancelled,
    /// Some of its tasks could not be started.
    NoRoom(Exhausted),
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Verdict::Passed => out.write_str("passed"),
            Verdict::Failed => out.write_str("FAILED"),
            Verdict::Cancelled => out.write_str("cancelled; no error until then"),
            Verdict::NoRoom(exhausted) => write!(out, "no room for its tasks: {}", exhausted.reason()),
        }
    }
}

impl From<Verdict> for RequestResult {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => RequestResult::Success,
            Verdict::Failed => RequestResult::Failure,
            Verdict::Cancelled => RequestResult::Cancelled,
            Verdict::NoRoom(_) => RequestResult::NoRoom,
        }
    }
}
