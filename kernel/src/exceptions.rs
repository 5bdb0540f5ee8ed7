//! Handlers that the exception vectors call: exceptions of tasks, and interrupts of tasks and of the shell.
//!
//! A task's registers are in its record, so inside the value of [`SCHEDULER`]. A reference to them would be a second one
//! beside that of the lock: they are accessed through a raw pointer, and only while the lock is not held.

use crate::interrupts::{self, Source};
use crate::programs::calls;
use crate::scheduler::{self, SCHEDULER, end_current, reschedule};
use crate::{console, cpu, println};
use aarch64_cpu::registers::ESR_EL1::EC::Value as Class;
use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable};
use tinyos::hardware;
use tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER;
use tinyos::memory::faults::{Access, Cause, Fault, Unresolved};
use tinyos::tasks::{Context, EndReason};

/// `ISS` of an abort: the access was a write; it was by a cache maintenance instruction (reported as a write).
const WRITE: u64 = 1 << 6;
const CACHE_MAINTENANCE: u64 = 1 << 8;

/// The registers of the running task, in its record.
#[derive(Clone, Copy)]
struct Registers(*mut Context);

impl Registers {
    /// # Safety
    ///
    /// `context` is that of the running task, as the vectors hand it over, and the value is used only in the handler that
    /// got it, without the scheduler's lock held.
    #[inline(always)]
    unsafe fn new(context: *mut Context) -> Self {
        Registers(context)
    }

    #[inline(always)]
    fn get(self, number: usize) -> u64 {
        // SAFETY: see `new`.
        unsafe { (*self.0).x[number] }
    }

    #[inline(always)]
    fn set_result(self, value: u64) {
        // SAFETY: see `new`.
        unsafe { (*self.0).x[0] = value }
    }

    #[inline(always)]
    fn stack_pointer(self) -> u64 {
        // SAFETY: see `new`.
        unsafe { (*self.0).sp }
    }

    #[inline(always)]
    fn program_counter(self) -> u64 {
        // SAFETY: see `new`.
        unsafe { (*self.0).pc }
    }

    #[inline(always)]
    fn skip_instruction(self) {
        // SAFETY: see `new`.
        unsafe { (*self.0).pc += 4 }
    }
}

/// Handles a synchronous exception of a task. Returns the registers to go on with.
///
/// # Safety
///
/// `context` is in the record of the running task, whose registers are saved there.
#[unsafe(no_mangle)]
unsafe extern "C" fn task_synchronous(context: *mut Context) -> *mut Context {
    // SAFETY: the caller is the vector. No function that gets this uses it with the scheduler locked.
    let registers = unsafe { Registers::new(context) };
    let register = ESR_EL1.extract();
    let syndrome = register.get();
    match register.read_as_enum(ESR_EL1::EC) {
        Some(Class::SVC64) => call(registers),
        Some(Class::TrappedWFIorWFE) => wait(registers),
        Some(class @ (Class::DataAbortLowerEL | Class::InstrAbortLowerEL)) => abort(registers, syndrome, class),
        Some(Class::Unknown | Class::TrappedFP | Class::TrappedMsrMrs) => {
            end_current(EndReason::UndefinedInstruction, syndrome, registers.program_counter())
        }
        _ => end_current(EndReason::UnexpectedException, syndrome, registers.program_counter()),
    }
}

/// Handles `wfi` or `wfe`, which trap (`SCTLR_EL1.nTWI` and `nTWE` are 0): the task gives up the rest of its turn.
/// Both instructions may end early for any reason, so the task then continues after the instruction.
fn wait(registers: Registers) -> *mut Context {
    registers.skip_instruction();
    reschedule(&mut SCHEDULER.write())
}

#[inline]
fn abort(registers: Registers, syndrome: u64, class: Class) -> *mut Context {
    let address = FAR_EL1.get();
    let access = match class {
        Class::InstrAbortLowerEL => Access::Execute,
        _ if syndrome & (WRITE | CACHE_MAINTENANCE) == WRITE => Access::Write,
        _ => Access::Read,
    };
    let cause = match syndrome >> 2 & 0xf {
        1 => Cause::Translation,
        2 => Cause::AccessFlag,
        3 => Cause::Permission,
        _ => Cause::Other,
    };
    let mut manager = DYNAMIC_MEMORY_MANAGER.write();
    // The space of the running task is in TTBR0.
    let task = manager.context_switcher.current;
    let fault = Fault { task, address, access, cause, stack_pointer: registers.stack_pointer() };
    let resolved = manager.handle_fault(fault);
    drop(manager);
    match resolved {
        Ok(()) => registers.0,
        Err(unresolved) => end_for_fault(registers, syndrome, fault, unresolved),
    }
}

/// Ends the task of a fault that could not be resolved; or other tasks, until it can be.
#[cold]
fn end_for_fault(registers: Registers, syndrome: u64, fault: Fault, mut unresolved: Unresolved) -> *mut Context {
    loop {
        match unresolved {
            Unresolved::End(reason) => return end_current(reason, syndrome, fault.address),
            Unresolved::EndOther(victim) => scheduler::end_for(victim, fault.task),
        }
        match DYNAMIC_MEMORY_MANAGER.write().handle_fault(fault) {
            Ok(()) => return registers.0,
            Err(again) => unresolved = again,
        }
    }
}

#[inline]
fn call(registers: Registers) -> *mut Context {
    let argument = registers.get(0);
    match registers.get(8) {
        calls::YIELD => {}
        calls::EXIT => return end_current(EndReason::Exited, 0, argument),
        calls::SLEEP => {
            let counts = argument.min(60_000) * cpu::frequency() / 1000;
            scheduler::sleep_current(&mut SCHEDULER.write(), hardware::now() + counts);
        }
        number => {
            registers.set_result(memory_call(registers, number));
            return registers.0;
        }
    }
    reschedule(&mut SCHEDULER.write())
}

fn memory_call(registers: Registers, number: u64) -> u64 {
    let arguments = [registers.get(0), registers.get(1)];
    let stack_pointer = registers.stack_pointer();
    let mut manager = DYNAMIC_MEMORY_MANAGER.write();
    let task = manager.context_switcher.current;
    manager.record_stack_pointer(task, stack_pointer);
    let [argument, _] = arguments;
    match number {
        calls::RESERVE => manager.reserve(task, u32::try_from(argument).unwrap_or(u32::MAX)).unwrap_or(0),
        calls::RELEASE => !manager.release(task, argument) as u64,
        calls::DISCARD => !manager.discard(task, argument) as u64,
        calls::REPORT => {
            SCHEDULER.write().tasks[task as usize].report = arguments;
            0
        }
        calls::TRIM => manager.trim_stack(task) as u64,
        _ => u64::MAX,
    }
}

/// Handles an interrupt of a task. Returns the registers to go on with.
#[unsafe(no_mangle)]
extern "C" fn task_interrupted() -> *mut Context {
    handle_interrupts();
    reschedule(&mut SCHEDULER.write())
}

/// Handles an interrupt of the shell. Returns the registers to go on with.
///
/// # Safety
///
/// The registers of the shell are saved at `context`, on its own stack: it goes on with them.
#[unsafe(no_mangle)]
unsafe extern "C" fn shell_interrupted(context: *mut Context) -> *mut Context {
    handle_interrupts();
    let mut scheduler = SCHEDULER.write();
    scheduler.shell_context = context as u64;
    reschedule(&mut scheduler)
}

/// Handles all pending interrupts. The caller then switches to a task that became ready.
fn handle_interrupts() {
    interrupts::handle(|source| match source {
        Source::Timer => scheduler::tick(),
        Source::Console => {
            console::receive();
            scheduler::wake_shell();
        }
        Source::Unexpected(number) => println!("interrupt {number} was not expected: disabled"),
    });
}
