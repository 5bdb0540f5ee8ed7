//! The binary interface to debuggers: what a debugger may rely on.
//!
//! # Statics
//!
//! | symbol | type |
//! | --- | --- |
//! | `DYNAMIC_MEMORY_MANAGER` | `SequenceLock<DynamicMemoryManager>`: stacks, lazy pages, pressure, spaces, frames |
//! | `SCHEDULER` | `SequenceLock<Scheduler>`: the tasks, their saved registers, the running task |
//! | `CONSOLE_INPUT` | `SequenceLock<ConsoleInput>`: what the serial console has received and lost |
//! | `FAILURE_RECORD` | [`FailureRecord`]: what stopped the kernel, if anything did |
//! | `DEBUGGER_INTERFACE` | [`DebuggerInterface`]: version, time base and requests |
//! | `DEBUGGER_MEMORY_MAP` | array of [`MemoryRange`]: what lies where in virtual memory |
//! | `DEBUGGER_REGISTERS` | [`TranslationRegisters`]: system registers, for a dump of memory that lacks them |
//! | `DEBUGGER_STRATEGY_UNITS` | array of [`StrategyUnit`]: the unit in which each strategy counts its gain |
//!
//! They have these names in every build. All types reached from them are `repr(C)`. Enums are `repr(u8)` or `repr(u16)`
//! with explicit values. The layout is in the DWARF of the ELF file. Constants of the kernel that a debugger needs are
//! exported here, so that a debugger does not keep copies of them.
//!
//! # Reading while the kernel runs
//!
//! A [`SequenceLock`](crate::sequence_lock::SequenceLock) is `{ sequence: u64, readers: u32, value }`, with the offsets
//! that DWARF says. `sequence` is odd while the kernel writes the value; `readers` does not concern a debugger. A snapshot is consistent when `sequence` was even, and was the same before and after the
//! value was read. A snapshot of both the manager and the scheduler is consistent when that holds for both counters
//! around both reads. The kernel writes the translation tables while it holds the manager's lock, so the manager's
//! counter covers them as well. A kernel that fails during a write leaves the counter odd; `FAILURE_RECORD` is filled
//! then.
//!
//! One thing is not covered by a counter: the exception vectors save the registers of the running task into its
//! `Task.context`, and system calls store their results there. A consistent snapshot therefore has the registers of all
//! tasks except task `SCHEDULER.current`.
//!
//! At a stop, an odd counter means that the kernel was stopped during a write: the value may contradict itself or the
//! translation tables.
//!
//! # Invariants outside a write
//!
//! - `free + cached + retired + used frames == total_frames`. A frame is used if and only if its `usage` says so, and
//!   the page that its `owner` and `index` name is mapped to it.
//! - `used` of `frames.quotas[n]` is the number of used frames whose `owner` is task `n`; that of
//!   `lazy_allocator.quotas[n]` is the number of its lazy ranges, of `lazy_allocator.page_quotas[n]` of its lazy pages.
//!   `max` is what the kernel lets the task have; while a page moves, the task has one frame more.
//! - A lazy page with `is_allocated` is mapped read-write to its `physical_address`; one with `is_zero_page` is mapped
//!   read-only to `zero_frame`; any other is not mapped. The access flag of its descriptor may be clear.
//! - A stack has exactly `current_size` bytes mapped below its `base_address`, and its guard page is not mapped.
//! - Apart from `zero_frame` and the text of the programs, TTBR0 tables map no frame twice.
//! - TTBR0 holds the table and ASID of space `context_switcher.current`.
//! - The ranges of `DEBUGGER_MEMORY_MAP` do not overlap. They are final before TTBR1 has the kernel's own tables: only
//!   then is it known where RAM is. Entries of the kind `Unused` have no range. Linear map, image and devices are at a constant distance from
//!   physical memory. The linear map and the devices are mapped completely; in all other ranges single pages are.
//!
//! # Registers of a task
//!
//! While task `SCHEDULER.current` runs at EL0, its registers are in the CPU of core 0. At any other time, and for any
//! other task, they are in its `Task.context`: X0 to X30, the stack pointer, PC, PSTATE and `TPIDR_EL0`, all that a task
//! has, as floating point traps. The registers of the shell (task 0) are on its own stack, at
//! `SCHEDULER.shell_context`.
//!
//! # Call frame information
//!
//! `.debug_frame` of the ELF file describes every instruction of the vectors and of the programs, and all functions
//! in Rust but the compiler's own `memcpy` and the like, which are leaves. A vector's frame is a signal frame
//! (augmentation `S`): its canonical frame address is the context's, its return address column is 32, the PC. Frames
//! end where the return address is undefined: in the boot code, in the first function of a program, and in a vector
//! until the interrupted PC and stack pointer are in general-purpose registers. A debugger that reads `ELR_EL1` and
//! `SP_EL0` can go on from there.
//!
//! # Time
//!
//! All times are counts of the generic timer, which makes `timer_frequency` counts a second. The scheduler's tick
//! happens `ticks_per_second` times a second. A debugger that cannot read the timer's registers finds the count at the
//! latest tick in `SCHEDULER.tick_time`: the time now is not before that tick nor before the newest event, and at most
//! one tick later while the kernel takes interrupts.
//!
//! # Probes
//!
//! Wherever the kernel records an event or switches the address space, the ELF file has a [probe](crate::probes): an
//! address for a debugger's breakpoint, with the kind of event and the registers that hold its figures.
//!
//! # Requests
//!
//! A debugger writes a [`Request`] number to `DEBUGGER_INTERFACE.request` and lets the machine run. From the next timer
//! tick on, the shell's idle loop carries it out: it sets `request` to 0 and `active` to the number. At the end it sets
//! `active` to 0, adds one to `served`, and sets `result` to a [`RequestResult`]. Writing [`Request::Cancel`] during a
//! stress test ends the test early; the cancellation is not counted in `served`.
//!
//! The kernel calls [`debugger_request_changed`] whenever `active` has changed, a few times a second while `progress`
//! does, and at the end. A debugger that waits sets a breakpoint at its first instruction. Core 0 makes the call at
//! EL1, with no lock held. A kernel that fails makes it as well, from any state, after it has filled `FAILURE_RECORD`.

use crate::board::ram::RamRanges;
use crate::memory::layout::LEAST_RAM;
use crate::memory::map::{MEMORY_RANGES, MemoryRange, memory_map};
use crate::memory::pressure::Strategy;
use crate::tasks::TICKS_PER_SECOND;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Raised when this module's description changes.
pub const INTERFACE_VERSION: u32 = 7;

/// What a debugger can request from the running kernel.
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

/// The outcome of a request.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestResult {
    Success = 0,
    /// The test found an error.
    Failure = 1,
    /// The number is not a [`Request`].
    Unknown = 2,
    /// It was ended early; there was no error until then.
    Cancelled = 3,
    /// Some tasks of the test could not be started: too few free frames, or too many tasks.
    NoRoom = 4,
    /// Some tasks of the test did not finish in time, as other tasks used the CPU; there was no error until then.
    OutOfTime = 5,
}

#[repr(C)]
pub struct DebuggerInterface {
    /// `b"TinyOSdb"`.
    pub magic: [u8; 8],
    pub version: u32,
    /// A [`Request`] number; set back to 0 when the kernel starts it.
    pub request: AtomicU32,
    /// Number of requests carried out.
    pub served: AtomicU32,
    /// The [`RequestResult`] of the last one.
    pub result: AtomicU32,
    /// Steps of the current request: those done, and all.
    pub progress: AtomicU32,
    pub progress_total: AtomicU32,
    /// 1 from the end of the boot workload.
    pub is_ready: AtomicU32,
    /// Number of the [`Request`] that is being carried out; 0 for none.
    pub active: AtomicU32,
    /// Generic timer count when `is_ready` was set.
    pub ready_time: AtomicU64,
    /// Counts of the generic timer in a second (`CNTFRQ_EL0`). Set before `is_ready`.
    pub timer_frequency: AtomicU64,
    /// Ticks of the scheduler in a second.
    pub ticks_per_second: u32,
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
    ticks_per_second: TICKS_PER_SECOND as u32,
};

impl DebuggerInterface {
    /// Whether there is a request that the kernel has not begun, or a cancellation.
    pub fn has_request(&self) -> bool {
        self.request.load(Ordering::Relaxed) != 0
    }
}

/// The memory map; see [`crate::memory::map`].
#[unsafe(no_mangle)]
#[used]
pub static DEBUGGER_MEMORY_MAP: MemoryMap = MemoryMap(UnsafeCell::new(memory_map(&RamRanges::one(LEAST_RAM))));

#[repr(transparent)]
pub struct MemoryMap(UnsafeCell<[MemoryRange; MEMORY_RANGES]>);

// SAFETY: only `set_ram` accesses it, as its caller promises.
unsafe impl Sync for MemoryMap {}

impl MemoryMap {
    /// Makes this the map of a machine with this RAM.
    ///
    /// # Safety
    ///
    /// Called once, while only one core runs the kernel.
    pub unsafe fn set_ram(&self, ram: &RamRanges) {
        // SAFETY: the caller promises that there is no other access.
        unsafe { self.0.get().write_volatile(memory_map(ram)) }
    }
}

/// System registers of address translation at EL1, the same on every core but for TTBR0. They do not change again.
#[repr(C)]
pub struct TranslationRegisters {
    /// 0 until the kernel has its own tables; it is stored last.
    pub ttbr1_el1: AtomicU64,
    pub tcr_el1: AtomicU64,
    pub mair_el1: AtomicU64,
    pub sctlr_el1: AtomicU64,
    /// `TTBR0_EL1` of the cores that run no tasks. That of core 0 is in `context_switcher`.
    pub idle_ttbr0_el1: AtomicU64,
}

#[unsafe(no_mangle)]
#[used]
pub static DEBUGGER_REGISTERS: TranslationRegisters = TranslationRegisters {
    ttbr1_el1: AtomicU64::new(0),
    tcr_el1: AtomicU64::new(0),
    mair_el1: AtomicU64::new(0),
    sctlr_el1: AtomicU64::new(0),
    idle_ttbr0_el1: AtomicU64::new(0),
};

/// The unit in which a strategy counts its gain.
#[repr(C)]
pub struct StrategyUnit {
    pub strategy: Strategy,
    /// ASCII, padded with 0.
    pub unit: [u8; 39],
}

impl StrategyUnit {
    const fn of(strategy: Strategy) -> Self {
        let text = strategy.unit().as_bytes();
        let mut unit = [0; 39];
        let (head, _) = unit.split_at_mut(text.len());
        head.copy_from_slice(text);
        StrategyUnit { strategy, unit }
    }
}

#[unsafe(no_mangle)]
#[used]
pub static DEBUGGER_STRATEGY_UNITS: [StrategyUnit; 4] = [
    StrategyUnit::of(Strategy::CacheOptimization),
    StrategyUnit::of(Strategy::PressureRelief),
    StrategyUnit::of(Strategy::PageMigration),
    StrategyUnit::of(Strategy::Defragmentation),
];

/// Does nothing; a debugger sets a breakpoint here. See "Requests" above.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn debugger_request_changed() {
    // SAFETY: contains no instruction. It keeps the compiler from removing the calls.
    unsafe { core::arch::asm!("", options(nostack)) };
}

/// Filled in by an unexpected exception or a panic.
#[repr(C)]
pub struct FailureRecord {
    /// `b"FAILURE\0"` once it is filled in.
    pub magic: [u8; 8],
    /// 1: unexpected exception; 2: panic.
    pub kind: u32,
    pub core: u32,
    /// For an exception: the entry of the vector table (0 to 15).
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
    /// The failure in one line: UTF-8, padded with 0.
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
