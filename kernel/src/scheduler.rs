//! Tasks: starting, ending, and switching between them. The shell is task 0; it idles when no other task is ready.

use crate::cpu::{self, without_interrupts};
use crate::interrupts;
use crate::kernel_map;
use crate::programs::Program;
use tinyos::debugger::DEBUGGER_INTERFACE;
use tinyos::events::EventKind;
use tinyos::hardware;
use tinyos::memory::dynamic::{DYNAMIC_MEMORY_MANAGER, DynamicMemoryManager, Exhausted};
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::layout::MAX_TASKS;
use tinyos::memory::pressure::PressureLevel;
use tinyos::memory::quotas::Victim;
use tinyos::sequence_lock::SequenceLock;
use tinyos::tasks::{Context, EndReason, Scheduler, Task, TaskState};

/// Ticks between two runs of the ageing, and between two runs of the strategies while the pressure stays high.
const AGING_TICKS: u64 = 16;
const RELIEF_TICKS: u64 = 64;

#[unsafe(no_mangle)]
#[used]
pub static SCHEDULER: SequenceLock<Scheduler> = SequenceLock::new(Scheduler::new());

/// The program of a new task, with its arguments and growth policy.
pub struct Start<'a> {
    pub program: &'a Program,
    pub arguments: [u64; 3],
    pub policy: GrowthPolicy,
}

impl<'a> Start<'a> {
    /// The program with its default arguments and policy.
    pub fn of(program: &'a Program) -> Self {
        Start { program, arguments: program.arguments, policy: program.policy }
    }
}

/// Calls `body` with the memory manager, with interrupts masked. For the shell.
pub fn read_memory_manager<T>(body: impl FnOnce(&DynamicMemoryManager) -> T) -> T {
    without_interrupts(|| DYNAMIC_MEMORY_MANAGER.read(body))
}

/// Sets up the shell as task 0, which runs now.
pub fn initialize() {
    let mut scheduler = SCHEDULER.write();
    scheduler.tasks[0].name[..5].copy_from_slice(b"shell");
    scheduler.set_state(0, TaskState::Ready);
    scheduler.turn_start = hardware::now();
}

/// Starts a task, which is ready at once. Returns its number.
pub fn spawn(start: Start) -> Result<u16, Exhausted> {
    without_interrupts(|| {
        let mut scheduler = SCHEDULER.write();
        let id = scheduler.free_slot().ok_or(Exhausted::Tasks)?;
        let stack = make_space(id, &start)?;
        let mut task = Task { id, stack: stack as u32 + 1, start_time: hardware::now(), ..Task::UNUSED };
        let name = start.program.name.as_bytes();
        task.name[..name.len()].copy_from_slice(name);
        task.context.x[..3].copy_from_slice(&start.arguments);
        if start.program.is_numbered {
            task.context.x[0] = id as u64;
        }
        task.context.pc = start.program.entry as *const () as u64;
        task.context.sp = DYNAMIC_MEMORY_MANAGER.write().stack_manager.stacks[stack].base_address;
        scheduler.tasks[id as usize] = task;
        scheduler.set_state(id, TaskState::Ready);
        DYNAMIC_MEMORY_MANAGER.write().record(id, EventKind::TaskStarted, id as u64, task.stack as u64);
        Ok(id)
    })
}

/// Creates address space and stack of a new task. Returns the stack's slot. If one of them fails, frees both.
fn make_space(id: u16, start: &Start) -> Result<usize, Exhausted> {
    let mut manager = DYNAMIC_MEMORY_MANAGER.write();
    let (text, pages) = kernel_map::programs();
    let made = manager
        .create_space(id, text, pages)
        .and_then(|()| manager.create_stack(id, start.policy, start.program.stack_limit));
    if made.is_err() {
        manager.end_space(id);
    }
    made
}

/// Ends a task other than the running one. Returns whether it was alive.
pub fn kill(id: u16) -> bool {
    without_interrupts(|| {
        let mut scheduler = SCHEDULER.write();
        let is_alive = (1..=MAX_TASKS as u16).contains(&id) && scheduler.tasks[id as usize].is_alive();
        if is_alive {
            end(&mut scheduler, id, EndReason::Killed, 0, 0);
        }
        is_alive
    })
}

/// Ends a task that does not run, because it owns the most frames and task `needing` needs one.
pub fn end_for(victim: Victim, needing: u16) {
    let mut scheduler = SCHEDULER.write();
    end(&mut scheduler, victim.task, EndReason::OwnedMost, 0, 0);
    let task = &mut scheduler.tasks[victim.task as usize];
    (task.ended_for, task.end_frames) = (needing, victim.frames);
}

/// Ends a task and frees everything that it has.
fn end(scheduler: &mut Scheduler, id: u16, reason: EndReason, syndrome: u64, address: u64) {
    let mut manager = DYNAMIC_MEMORY_MANAGER.write();
    manager.record(id, EventKind::TaskEnded, id as u64, reason as u64);
    manager.end_space(id);
    let task = &mut scheduler.tasks[id as usize];
    task.end_reason = reason;
    task.end_syndrome = syndrome;
    task.end_address = address;
    task.end_time = hardware::now();
    scheduler.set_state(id, TaskState::Ended);
    if reason != EndReason::Killed && (reason != EndReason::Exited || address != 0) {
        scheduler.unannounced[id as usize / 64] |= 1 << (id % 64);
        // Wakes the shell, which reports it at once.
        scheduler.set_state(0, TaskState::Ready);
    }
}

/// Ends the running task for `reason`. Returns the registers to continue with.
pub fn end_current(reason: EndReason, syndrome: u64, address: u64) -> *mut Context {
    let mut scheduler = SCHEDULER.write();
    let id = scheduler.current;
    end(&mut scheduler, id, reason, syndrome, address);
    reschedule(&mut scheduler)
}

/// Switches to the next ready task, if that is a different one. Returns the registers to continue with.
#[inline]
pub fn reschedule(scheduler: &mut Scheduler) -> *mut Context {
    let (former, next) = (scheduler.current, scheduler.take_turn());
    if former != next {
        let mut manager = DYNAMIC_MEMORY_MANAGER.write();
        if former != 0 {
            manager.record_stack_pointer(former, scheduler.tasks[former as usize].context.sp);
        }
        manager.switch_to(next);
        scheduler.end_turn(hardware::now());
        scheduler.current = next;
        scheduler.tasks[next as usize].switch_count += 1;
    }
    if next == 0 { scheduler.shell_context as *mut Context } else { &raw mut scheduler.tasks[next as usize].context }
}

/// Puts the running task to sleep until generic timer count `until`.
pub fn sleep_current(scheduler: &mut Scheduler, until: u64) {
    let current = scheduler.current;
    scheduler.tasks[current as usize].wake_time = until;
    scheduler.set_state(current, TaskState::Sleeping);
}

/// Handles a timer tick: wakes sleeping tasks, ages lazy pages, and runs the strategies again if the pressure is high.
pub fn tick() {
    let mut scheduler = SCHEDULER.write();
    scheduler.tick_count += 1;
    scheduler.tick_time = hardware::now();
    if DEBUGGER_INTERFACE.has_request() {
        scheduler.set_state(0, TaskState::Ready);
    }
    scheduler.count_shell_wait();
    let now = scheduler.tick_time;
    scheduler.wake(now);
    if scheduler.is_held {
        return;
    }
    let ages = scheduler.tick_count.is_multiple_of(AGING_TICKS);
    if ages {
        let mut manager = DYNAMIC_MEMORY_MANAGER.write();
        let current = scheduler.current;
        if current != 0 {
            manager.record_stack_pointer(current, scheduler.tasks[current as usize].context.sp);
        }
        manager.age();
        if scheduler.tick_count.is_multiple_of(RELIEF_TICKS) && manager.pressure_handler.level >= PressureLevel::High {
            manager.relieve();
        }
    }
}

/// Wakes the shell, for there is input.
pub fn wake_shell() {
    SCHEDULER.write().set_state(0, TaskState::Ready);
}

/// Lets tasks run until `milliseconds` have passed or there is input. For the shell.
pub fn shell_sleep(milliseconds: u64) {
    let until = hardware::now() + milliseconds * cpu::frequency() / 1000;
    without_interrupts(|| shell_wait(until));
}

/// Lets tasks run until `condition` is true, for at most `milliseconds`. Returns whether it became true. For the shell.
pub fn wait_until(milliseconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let end = hardware::now() + milliseconds * cpu::frequency() / 1000;
    while !condition() {
        if hardware::now() >= end {
            return false;
        }
        shell_sleep(1);
    }
    true
}

/// Lets tasks run until something wakes the shell: input, a request of a debugger, a task that ended. Returns at once if
/// a task has ended already, or if `has_input`, which is called with interrupts masked. For the shell.
pub fn shell_wait_for_input(has_input: impl FnOnce() -> bool) {
    without_interrupts(|| {
        // Interrupts are masked now: what comes later wakes the shell. What came before is not to be slept through.
        let is_unannounced = || SCHEDULER.read(|scheduler| scheduler.unannounced.iter().any(|&bits| bits != 0));
        if !has_input() && !is_unannounced() {
            shell_wait(u64::MAX);
        }
    });
}

/// Lets tasks run until the shell wakes, at generic timer count `until` at the latest. Interrupts are masked.
fn shell_wait(until: u64) {
    sleep_current(&mut SCHEDULER.write(), until);
    while SCHEDULER.read(|scheduler| scheduler.tasks[0].state) == TaskState::Sleeping {
        if SCHEDULER.read(Scheduler::next_ready) != 0 {
            interrupts::interrupt_self();
        } else {
            cpu::wait_for_interrupt();
        }
        // The handler of the interrupt switches to another task.
        cpu::take_interrupts();
    }
}

/// Stops all tasks, or lets them continue.
pub fn hold(held: bool) {
    without_interrupts(|| {
        let mut scheduler = SCHEDULER.write();
        scheduler.is_held = held;
        for id in 1..=MAX_TASKS as u16 {
            let state = scheduler.tasks[id as usize].state;
            if held && scheduler.tasks[id as usize].is_alive() {
                scheduler.set_state(id, TaskState::Stopped);
            } else if !held && state == TaskState::Stopped {
                scheduler.set_state(id, TaskState::Ready);
            }
        }
    });
}

/// Whether all tasks are stopped.
pub fn is_held() -> bool {
    without_interrupts(|| SCHEDULER.read(|scheduler| scheduler.is_held))
}

/// A copy of a task's record. For the shell.
pub fn task(id: u16) -> Task {
    without_interrupts(|| SCHEDULER.read(|scheduler| scheduler.tasks[id as usize]))
}

/// Takes a task that ended by itself and was not reported yet.
pub fn take_unannounced() -> Option<Task> {
    without_interrupts(|| {
        let mut scheduler = SCHEDULER.write();
        let word = scheduler.unannounced.iter().position(|&bits| bits != 0)?;
        let bit = scheduler.unannounced[word].trailing_zeros();
        scheduler.unannounced[word] &= !(1 << bit);
        Some(scheduler.tasks[word * 64 + bit as usize])
    })
}
