//! The binary interface to debuggers: what a debugger may rely on.
//!
//! # Statics
//!
//! | symbol | type |
//! | --- | --- |
//! | `DYNAMIC_MEMORY_MANAGER` | `SequenceLock<DynamicMemoryManager>`: stacks, lazy pages, pressure, address spaces, frames, events |
//! | `SCHEDULER` | `SequenceLock<Scheduler>`: the tasks, their saved registers, which one runs |
//! | `FAILURE_RECORD` | [`FailureRecord`]: what stopped the kernel, if something did |
//! | `DEBUGGER_INTERFACE` | [`DebuggerInterface`]: version, build and requests |
//!
//! They exist under these names in every build. All types reached from them are `repr(C)`, enums `repr(u8)` or
//! `repr(u16)` with their values written out, and the layout is in the DWARF of the ELF file.
//!
//! # Reading while the kernel runs
//!
//! A [`crate::sequence_lock::SequenceLock`] is `{ sequence: u64, value }`. `sequence` is odd while the value is being
//! changed. A snapshot is whole when `sequence` was even and the same before and after it was read; one of both managers
//! when that holds for both counters around both reads. What the manager's records say of translation tables is changed
//! together with these, so it covers them as well. A kernel that fails in the middle of a change leaves its counter odd:
//! `FAILURE_RECORD` is filled then.
//!
//! The exception vectors save the registers of the running task into its `Task.context`, and calls leave their results
//! there, with no counter: of task `SCHEDULER.current`, a whole snapshot has no registers. Those of all others, and all
//! else, it has.
//!
//! At a stop, an odd counter means that the kernel was stopped in the middle of a change: the value may not agree with
//! itself then, nor with the translation tables.
//!
//! # What holds when no change is under way
//!
//! - `free + cached + retired + used frames == total_frames`; a frame is used exactly if its `usage` says so, and what
//!   its `owner` and `index` name maps it.
//! - A lazy page with `is_allocated` is mapped read-write to its `physical_address`; one with `is_zero_page` read-only
//!   to `zero_frame`; any other is mapped nowhere. Its descriptor's access flag may be clear.
//! - A stack has exactly `current_size` bytes mapped below its `base_address`, and its guard page is not mapped.
//! - Apart from `zero_frame` and the programs' text, no frame is mapped twice by TTBR0 tables.
//! - TTBR0 holds the table and ASID of space `context_switcher.current`.
//!
//! # Registers of a task
//!
//! While task `SCHEDULER.current` runs at EL0 they are in the CPU of core 0; at any other time, and for any other task,
//! in its `Task.context`. Those of the shell (task 0) lie on its own stack, at `SCHEDULER.shell_context`.
//!
//! # The time
//!
//! All times are counts of the generic timer, `timer_frequency` a second. Who cannot read the timer's registers has the
//! count at the latest tick in `SCHEDULER.tick_time`: the time now is not before that and the newest event, and at most a
//! tick after it while the kernel takes interrupts.
//!
//! # As it happens
//!
//! Wherever the kernel records an event, and switches address spaces, the ELF file has a [probe](crate::probes): a place
//! for a debugger's breakpoint, by kind, with the registers that hold the event's figures there.
//!
//! # Requests
//!
//! A debugger that writes a [`Request`] number to `DEBUGGER_INTERFACE.request` and lets the machine run has the shell's
//! idle loop carry it out, from the next timer tick on: `request` is then 0 again and `active` the number. At the end
//! `active` is 0, `served` one more, and `result` a [`RequestResult`]. Writing [`Request::Cancel`] meanwhile ends a
//! stress test early; it is not counted in `served` then.
//!
//! The kernel calls [`debugger_request_changed`] whenever `active` has changed, some times a second while `progress`
//! does, and at the end: a debugger that waits sets a breakpoint at its first instruction. It is called by core 0 at
//! EL1, with nothing being changed. A kernel that fails calls it as well, from any state, once `FAILURE_RECORD` is
//! filled.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Raised when something that stands in this module's text changes.
pub const INTERFACE_VERSION: u32 = 3;

/// What a debugger can ask the running kernel for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    None = 0,
    /// The context switching test (`*c`).
    ContextTest = 1,
    /// The stress test (`*t`).
    StressTest = 2,
    /// Ends a stress test early.
    Cancel = 3,
}

impl Request {
    pub fn from_number(number: u32) -> Option<Request> {
        [Request::None, Request::ContextTest, Request::StressTest, Request::Cancel]
            .into_iter()
            .find(|request| *request as u32 == number)
    }
}

/// What came of a request.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestResult {
    Success = 0,
    /// The test found something wrong.
    Failure = 1,
    /// The number is no [`Request`].
    Unknown = 2,
    /// It was ended early, and nothing was wrong until then.
    Cancelled = 3,
    /// Not all tasks of the test could be started: there are no frames for them, or too many tasks already.
    NoRoom = 4,
}

#[repr(C)]
pub struct DebuggerInterface {
    /// `b"TinyOSdb"`.
    pub magic: [u8; 8],
    pub version: u32,
    /// A [`Request`] number, set back to 0 when it is taken up.
    pub request: AtomicU32,
    /// Requests carried out.
    pub served: AtomicU32,
    /// Of the last one: a [`RequestResult`].
    pub result: AtomicU32,
    /// Steps of the request under way that are done, and that there are.
    pub progress: AtomicU32,
    pub progress_total: AtomicU32,
    /// 1 from the end of the boot workload.
    pub is_ready: AtomicU32,
    /// Number of the [`Request`] that is being carried out; 0 for none.
    pub active: AtomicU32,
    /// Generic timer count at that moment.
    pub ready_time: AtomicU64,
    /// Counts of the generic timer in a second (`CNTFRQ_EL0`), from before `is_ready` on.
    pub timer_frequency: AtomicU64,
}

#[unsafe(no_mangle)]
#[used]
pub static DEBUGGER_INTERFACE: DebuggerInterface = DebuggerInterface {
    magic: *b"TinyOSdb",
    version: INTERFACE_VERSION,
    request: AtomicU32::new(0),
    served: AtomicU32::new(0),
    result: AtomicU32::new(0),
    progress: AtomicU32::new(0),
    progress_total: AtomicU32::new(0),
    is_ready: AtomicU32::new(0),
    active: AtomicU32::new(0),
    ready_time: AtomicU64::new(0),
    timer_frequency: AtomicU64::new(0),
};

/// Does nothing: a place for a debugger's breakpoint. See the module's text.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn debugger_request_changed() {
    // SAFETY: no instruction at all; but without it, the calls would be found useless and left out.
    unsafe { core::arch::asm!("", options(nostack)) };
}

/// Left behind by an unexpected exception or a panic.
#[repr(C)]
pub struct FailureRecord {
    /// `b"FAILURE\0"` once there is one.
    pub magic: [u8; 8],
    /// 1: unexpected exception; 2: panic.
    pub kind: u32,
    pub core: u32,
    /// Entry of the vector table (0 to 15) for an exception.
    pub vector: u64,
    /// `ESR_EL1`, `FAR_EL1`, `ELR_EL1`, `SPSR_EL1` and the stack pointer at the exception.
    pub syndrome: u64,
    pub fault_address: u64,
    pub link_address: u64,
    pub saved_state: u64,
    pub stack_pointer: u64,
    pub task: u64,
    /// Generic timer count.
    pub timestamp: u64,
    /// X0 to X30 at the exception.
    pub registers: [u64; 31],
    /// What was printed first: UTF-8, filled up with 0.
    pub message: [u8; 192],
}

impl FailureRecord {
    pub const EMPTY: FailureRecord = FailureRecord {
        magic: [0; 8],
        kind: 0,
        core: 0,
        vector: 0,
        syndrome: 0,
        fault_address: 0,
        link_address: 0,
        saved_state: 0,
        stack_pointer: 0,
        task: 0,
        timestamp: 0,
        registers: [0; 31],
        message: [0; 192],
    };
}
