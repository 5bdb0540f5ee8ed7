//! Kernel failures: an unexpected exception or a panic. Prints what happened, fills in a record for the debugger, and
//! halts.

use crate::console::{self, Console};
use crate::cpu;
use crate::println;
use crate::scheduler::SCHEDULER;
use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, MPIDR_EL1, Readable};
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::mem::offset_of;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use tinyos::debugger::{FailureRecord, debugger_request_changed};
use tinyos::hardware;
use tinyos::sequence_lock::SequenceLock;
use tinyos::tasks::{Context, Scheduler};
use tinyos::text::syndrome::describe_exception;

const EXCEPTION: u32 = 1;
const PANIC: u32 = 2;

#[repr(transparent)]
struct Record(UnsafeCell<FailureRecord>);

// SAFETY: only the core that fails first writes it, and nothing else runs after that.
unsafe impl Sync for Record {}

#[unsafe(no_mangle)]
#[used]
static FAILURE_RECORD: Record = Record(UnsafeCell::new(FailureRecord::EMPTY));

static HAS_FAILED: AtomicBool = AtomicBool::new(false);

const VECTORS: [&str; 4] = ["synchronous exception", "interrupt", "fast interrupt", "system error"];
const SOURCES: [&str; 4] = ["the kernel on SP_EL0", "the kernel", "a task", "a task in AArch32"];

/// Called by the vectors for an exception that the kernel does not expect. `context` is on the emergency stack.
#[unsafe(no_mangle)]
extern "C" fn fatal_exception(context: &Context, vector: u64) -> ! {
    let (syndrome, address) = (ESR_EL1.get(), FAR_EL1.get());
    fail(EXCEPTION, |record| {
        record.vector = vector;
        record.syndrome = syndrome;
        record.fault_address = address;
        record.link_address = context.pc;
        record.saved_state = context.pstate;
        record.stack_pointer = context.sp;
        record.registers = context.x;
        let (what, source) = (VECTORS[vector as usize % 4], SOURCES[vector as usize / 4 % 4]);
        let _ = write!(Message::of(record), "unexpected {what} of {source}");
    });
    let _ = describe_exception(&mut Console, syndrome, address, context.pc);
    println!(
        "SPSR_EL1: {:#x}  SP: {:#x}  X29: {:#x}  X30: {:#x}",
        context.pstate, context.sp, context.x[29], context.x[30]
    );
    halted()
}

#[panic_handler]
fn panic(information: &PanicInfo) -> ! {
    let (here, frame): (u64, u64);
    // SAFETY: only reads the program counter and the frame pointer.
    unsafe { core::arch::asm!("adr {}, .", "mov {}, x29", out(reg) here, out(reg) frame, options(nomem, nostack)) };
    fail(PANIC, |record| {
        record.link_address = here;
        record.stack_pointer = frame;
        let _ = write!(Message::of(record), "{information}");
    });
    halted()
}

/// Fills in the record and prints its message. A failure during a failure only halts.
fn fail(kind: u32, fill: impl FnOnce(&mut FailureRecord)) {
    // No other part of the kernel may run from now on.
    cpu::mask_everything();
    if HAS_FAILED.swap(true, Ordering::Relaxed) {
        halted();
    }
    // SAFETY: `HAS_FAILED` lets only one failure through, so there is no other reference.
    let record = unsafe { &mut *FAILURE_RECORD.0.get() };
    record.kind = kind;
    record.core = (MPIDR_EL1.get() & 3) as u32;
    record.timestamp = hardware::now();
    // SAFETY: nothing else runs from now on.
    record.task = unsafe { running_task() } as u64;
    fill(record);
    record.magic = *b"FAILURE\0";
    let length = record.message.iter().position(|&byte| byte == 0).unwrap_or(record.message.len());
    // SAFETY: `HAS_FAILED` lets only one failure through, and interrupts are masked.
    unsafe { console::force_release() };
    println!();
    println!("KERNEL FAILURE: {}", core::str::from_utf8(&record.message[..length]).unwrap_or("?"));
}

/// The running task. The scheduler may be locked for writing, so its number is read without the lock.
///
/// # Safety
///
/// Nothing else runs meanwhile.
unsafe fn running_task() -> u16 {
    const OFFSET: usize = SequenceLock::<Scheduler>::value_offset() + offset_of!(Scheduler, current);
    // SAFETY: the field is at this offset, and whoever was writing it has stopped.
    unsafe { (&raw const SCHEDULER).byte_add(OFFSET).cast::<u16>().read_volatile() }
}

/// A failed kernel stays here.
#[unsafe(no_mangle)]
extern "C" fn halted() -> ! {
    debugger_request_changed();
    loop {
        // SAFETY: waits; interrupts are masked, so only a debugger changes anything. Not in a function of its own: this one
        // is where a debugger finds the CPU.
        unsafe { core::arch::asm!("wfi", options(nomem, nostack)) };
    }
}

/// Writes the record's message, as much as fits.
struct Message<'a> {
    text: &'a mut [u8],
    length: usize,
}

impl<'a> Message<'a> {
    fn of(record: &'a mut FailureRecord) -> Self {
        Message { text: &mut record.message, length: 0 }
    }
}

impl Write for Message<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let mut buffer = [0; 4];
            let bytes = if character == '\n' { b" " } else { character.encode_utf8(&mut buffer).as_bytes() };
            let Some(place) = self.text.get_mut(self.length..self.length + bytes.len()) else { return Err(fmt::Error) };
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        }
        Ok(())
    }
}
