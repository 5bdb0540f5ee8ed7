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
    /// Some of its tasks did not finish in time; there was no error until then.
    OutOfTime {
        unfinished: u32,
        tasks: u32,
        milliseconds: u64,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Verdict::Passed => out.write_str("passed"),
            Verdict::Failed => out.write_str("FAILED"),
            Verdict::Cancelled => out.write_str("cancelled; no error until then"),
            Verdict::NoRoom(exhausted) => write!(out, "no room for its tasks: {}", exhausted.reason()),
            Verdict::OutOfTime { unfinished, tasks, milliseconds } => {
                let seconds = milliseconds.div_ceil(1000);
                write!(out, "out of time: {unfinished} of {tasks} tasks did not finish in {seconds} s")
            }
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
            Verdict::OutOfTime { .. } => RequestResult::OutOfTime,
        }
    }
}
