//! System calls of tasks: `svc #0` with the number in X8, arguments and results from X0 on.

/// Gives up the rest of the turn.
pub const YIELD: u64 = 0;
/// Ends the task. X0: exit code.
pub const EXIT: u64 = 1;
/// Sleeps. X0: milliseconds.
pub const SLEEP: u64 = 2;
/// Reserves lazy pages. X0: number of pages. Returns the address, or 0.
pub const RESERVE: u64 = 3;
/// Releases a range. X0: its address. Returns 0, or 1 if there is no such range.
pub const RELEASE: u64 = 4;
/// Discards the contents of a range. X0: its address. Returns 0, or 1 if there is no such range.
pub const DISCARD: u64 = 5;
/// Stores two values, X0 and X1, in the task's record.
pub const REPORT: u64 = 6;
/// Gives back the stack's pages below the stack pointer. Returns their number.
pub const TRIM: u64 = 7;
