//! Handlers that the exception vectors call: exceptions of tasks, and interrupts of tasks and of the shell.

use crate::interrupts;
use crate::programs::calls;
use crate::scheduler::{self, SCHEDULER, end_current, reschedule};
use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable};
use tinyos::hardware;
use tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER;
use tinyos::memory::faults::{Access, Cause, Fault};
use tinyos::tasks::{Context, EndReason};

/// `ESR_EL1.EC`.
const UNKNOWN: u64 = 0x00;
const FLOATING_POINT: u64 = 0x07;
const SUPERVISOR_CALL: u64 = 0x15;
const SYSTEM_REGISTER: u64 = 0x18;
const INSTRUCTION_ABORT: u64 = 0x20;
const DATA_ABORT: u64 = 0x24;

/// `ISS` of an abort: the access was a write; it was by a cache maintenance instruction (reported as a write).
const WRITE: u64 = 1 << 6;
const CACHE_MAINTENANCE: u64 = 1 << 8;

/// Handles a synchronous exception of a task. `context` is in the task's record. Returns the registers to go on with.
#[unsafe(no_mangle)]
extern "C" fn task_synchronous(context: &mut Context) -> *mut Context {
    let syndrome = ESR_EL1.get();
    match syndrome >> 26 & 0x3f {
        SUPERVISOR_CALL => call(context),
        class @ (DATA_ABORT | INSTRUCTION_ABORT) => abort(context, syndrome, class),
        UNKNOWN | FLOATING_POINT | SYSTEM_REGISTER => {
            end_current(EndReason::UndefinedInstruction, syndrome, context.pc)
        }
        _ => end_current(EndReason::UnexpectedException, syndrome, context.pc),
    }
}

#[inline]
fn abort(context: &mut Context, syndrome: u64, class: u64) -> *mut Context {
    let address = FAR_EL1.get();
    let access = match class {
        INSTRUCTION_ABORT => Access::Execute,
        _ if syndrome & (WRITE | CACHE_MAINTENANCE) == WRITE => Access::Write,
        _ => Access::Read,
    };
    let cause = match syndrome >> 2 & 0xf {
        1 => Cause::Translation,
        2 => Cause::AccessFlag,
        3 => Cause::Permission,
        _ => Cause::Other,
    };
    // `context` is in the table of tasks, which nothing else writes now.
    let task = current();
    let fault = Fault { task, address, access, cause, stack_pointer: context.sp };
    let resolved = DYNAMIC_MEMORY_MANAGER.write().handle_fault(fault);
    match resolved {
        Ok(()) => context,
        Err(reason) => end_current(reason, syndrome, address),
    }
}

fn current() -> u16 {
    SCHEDULER.read(|scheduler| scheduler.current)
}

#[inline]
fn call(context: &mut Context) -> *mut Context {
    let argument = context.x[0];
    match context.x[8] {
        calls::YIELD => {}
        calls::EXIT => return end_current(EndReason::Exited, 0, argument),
        calls::SLEEP => {
            let counts = argument.min(60_000) * interrupts::frequency() / 1000;
            scheduler::sleep_current(&mut SCHEDULER.write(), hardware::now() + counts);
        }
        number => {
            memory_call(context, number);
            return context;
        }
    }
    reschedule(&mut SCHEDULER.write())
}

fn memory_call(context: &mut Context, number: u64) {
    let task = current();
    let argument = context.x[0];
    let mut manager = DYNAMIC_MEMORY_MANAGER.write();
    manager.record_stack_pointer(task, context.sp);
    context.x[0] = match number {
        calls::RESERVE => manager.reserve(task, u32::try_from(argument).unwrap_or(u32::MAX)).unwrap_or(0),
        calls::RELEASE => !manager.release(task, argument) as u64,
        calls::DISCARD => !manager.discard(task, argument) as u64,
        calls::REPORT => {
            SCHEDULER.write().tasks[task as usize].report = [argument, context.x[1]];
            0
        }
        calls::TRIM => manager.trim_stack(task) as u64,
        _ => u64::MAX,
    };
}

/// Handles an interrupt of a task.
#[unsafe(no_mangle)]
extern "C" fn task_interrupted(_context: &mut Context) -> *mut Context {
    interrupts::handle();
    reschedule(&mut SCHEDULER.write())
}

/// Handles an interrupt of the shell, whose registers are on its own stack.
#[unsafe(no_mangle)]
extern "C" fn shell_interrupted(context: &mut Context) -> *mut Context {
    interrupts::handle();
    let mut scheduler = SCHEDULER.write();
    scheduler.shell_context = &raw mut *context as u64;
    reschedule(&mut scheduler)
}
