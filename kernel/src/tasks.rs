//! Tasks as a debugger sees them: the record of a task, its saved registers, and why it ended.

use crate::memory::layout::MAX_TASKS;
use core::mem::offset_of;

/// Ticks of the scheduler in a second. A task runs for one tick at a time.
pub const TICKS_PER_SECOND: u64 = 250;

/// The most ticks that the shell waits while it is ready, however many tasks are: it gets at least one turn in four.
pub const SHELL_PATIENCE: u32 = 3;

/// Registers of a task as the exception vectors (`vectors.s`) save them.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// X0 to X30.
    pub x: [u64; 31],
    /// The stack pointer: `SP_EL0`, or `SP_EL1` in a context of the shell.
    pub sp: u64,
    /// `ELR_EL1`: where the task continues.
    pub pc: u64,
    /// `SPSR_EL1`.
    pub pstate: u64,
    /// `TPIDR_EL0`, which EL0 may write; the kernel does not use it. 0 in a context of the shell.
    pub thread_pointer: u64,
}

impl Context {
    pub const ZERO: Context = Context { x: [0; 31], sp: 0, pc: 0, pstate: 0, thread_pointer: 0 };
}

// What `vectors.s` assumes: it stores registers in pairs, X30 with SP_EL0 and ELR_EL1 with SPSR_EL1, keeps the stack
// pointer aligned, and pops a context by one instruction, whose offset is at most 504.
const _: () = {
    assert!(offset_of!(Context, x) == 0);
    assert!(offset_of!(Context, sp) == 31 * 8);
    assert!(offset_of!(Context, pstate) == offset_of!(Context, pc) + 8);
    assert!(align_of::<Context>() == 16 && size_of::<Context>() <= 504);
};

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// The slot was never used.
    Unused = 0,
    Ready = 1,
    /// Until `wake_time`.
    Sleeping = 2,
    /// Until the shell's command `go`.
    Stopped = 3,
    Ended = 4,
}

/// Why a task ended.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    None = 0,
    /// It called `exit`.
    Exited = 1,
    /// It pushed beyond its stack's `max_size` or into the guard page.
    StackOverflow = 2,
    /// It accessed an address that does not belong to it.
    WildAccess = 3,
    /// It accessed a kernel address.
    KernelAccess = 4,
    /// The pool had no frame for it.
    OutOfMemory = 5,
    /// It executed an undefined or trapped instruction.
    UndefinedInstruction = 6,
    /// Another exception.
    UnexpectedException = 7,
    /// The shell killed it.
    Killed = 8,
    /// It owned the most frames when the pool had none for another task.
    OwnedMost = 9,
    /// It needed more frames than its quota allows.
    QuotaReached = 10,
}

/// A task. Entry `n` of the table is task `n`; entry 0 is the kernel's own, the shell.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub context: Context,
    /// Number of the task: its place in the table.
    pub id: u16,
    pub state: TaskState,
    pub end_reason: EndReason,
    /// ID of its [`crate::memory::stacks::DynamicStack`]; 0 for none.
    pub stack: u32,
    /// Name of its program: ASCII, padded with 0.
    pub name: [u8; 16],
    /// Generic timer count at which a sleeping task is ready again.
    pub wake_time: u64,
    /// Number of switches to it.
    pub switch_count: u64,
    /// Generic timer counts for which it has run, without the turn that lasts now; the shell's include the idle time.
    pub run_time: u64,
    /// Generic timer counts when it was started and when it ended.
    pub start_time: u64,
    pub end_time: u64,
    /// `ESR_EL1` of the exception that ended it; 0 without one.
    pub end_syndrome: u64,
    /// Of an end by an abort, the address that was accessed (`FAR_EL1`); by another exception, that of the instruction;
    /// by [`EndReason::Exited`], the exit code.
    pub end_address: u64,
    /// The values of its last `report` call.
    pub report: [u64; 2],
    /// Of an end by [`EndReason::OwnedMost`]: the task that needed a frame, and how many the ended one owned.
    pub ended_for: u16,
    pub end_frames: u32,
}

impl Task {
    pub const UNUSED: Task = Task {
        context: Context::ZERO,
        id: 0,
        state: TaskState::Unused,
        end_reason: EndReason::None,
        stack: 0,
        name: [0; 16],
        wake_time: 0,
        switch_count: 0,
        run_time: 0,
        start_time: 0,
        end_time: 0,
        end_syndrome: 0,
        end_address: 0,
        report: [0; 2],
        ended_for: 0,
        end_frames: 0,
    };

    /// The name as text.
    pub fn name(&self) -> &str {
        let length = self.name.iter().position(|&byte| byte == 0).unwrap_or(self.name.len());
        core::str::from_utf8(&self.name[..length]).unwrap_or("?")
    }

    pub fn is_alive(&self) -> bool {
        !matches!(self.state, TaskState::Unused | TaskState::Ended)
    }
}

/// The table of tasks.
#[repr(C)]
pub struct Scheduler {
    /// The task whose registers are in the CPU; 0 while the shell runs.
    pub current: u16,
    /// The shell's command `hold` has stopped all tasks.
    pub is_held: bool,
    /// Ticks of the timer since boot.
    pub tick_count: u64,
    /// Address of the shell's registers while a task runs: a [`Context`] on the shell's stack.
    pub shell_context: u64,
    /// Bit `n` of each bit map stands for task `n`: ready; sleeping; ended, but not yet reported on the console.
    pub ready: [u64; TASK_WORDS],
    pub sleeping: [u64; TASK_WORDS],
    pub unannounced: [u64; TASK_WORDS],
    pub tasks: [Task; MAX_TASKS + 1],
    /// Generic timer count at the latest tick.
    pub tick_time: u64,
    /// The latest task that ran because it was its turn. The shell also runs out of turn; see [`SHELL_PATIENCE`].
    pub turn: u16,
    /// Ticks since the shell became ready or ran.
    pub shell_wait_ticks: u32,
    /// Generic timer count at which the turn of the running task began.
    pub turn_start: u64,
}

/// Words of a bit map of tasks.
pub const TASK_WORDS: usize = (MAX_TASKS + 1).div_ceil(64);

impl Scheduler {
    pub const fn new() -> Self {
        Self {
            current: 0,
            is_held: false,
            tick_count: 0,
            shell_context: 0,
            ready: [0; TASK_WORDS],
            sleeping: [0; TASK_WORDS],
            unannounced: [0; TASK_WORDS],
            tasks: [Task::UNUSED; MAX_TASKS + 1],
            tick_time: 0,
            turn: 0,
            shell_wait_ticks: 0,
            turn_start: 0,
        }
    }

    /// Counts the turn of the running task, which ends at generic timer count `now`.
    #[inline]
    pub fn end_turn(&mut self, now: u64) {
        self.tasks[self.current as usize].run_time += now.wrapping_sub(self.turn_start);
        self.turn_start = now;
    }

    /// Generic timer counts for which a task has run until `now`.
    pub fn run_time(&self, task: &Task, now: u64) -> u64 {
        let turn = if task.id == self.current { now.wrapping_sub(self.turn_start) } else { 0 };
        task.run_time + turn
    }

    /// Sets the state of a task, and updates the bit maps.
    #[inline]
    pub fn set_state(&mut self, task: u16, state: TaskState) {
        let (word, bit) = (task as usize / 64, 1u64 << (task % 64));
        self.tasks[task as usize].state = state;
        self.ready[word] &= !bit;
        self.sleeping[word] &= !bit;
        match state {
            TaskState::Ready => self.ready[word] |= bit,
            TaskState::Sleeping => self.sleeping[word] |= bit,
            _ => {}
        }
    }

    /// Chooses the task that runs next: the shell if it has waited for [`SHELL_PATIENCE`] ticks, else the task whose
    /// turn it is.
    #[inline]
    pub fn take_turn(&mut self) -> u16 {
        if self.shell_wait_ticks >= SHELL_PATIENCE && self.ready[0] & 1 != 0 {
            self.shell_wait_ticks = 0;
            return 0;
        }
        self.turn = self.next_ready();
        if self.turn == 0 {
            self.shell_wait_ticks = 0;
        }
        self.turn
    }

    /// Counts a tick during which the shell was ready and another task ran.
    pub fn count_shell_wait(&mut self) {
        if self.current != 0 && self.ready[0] & 1 != 0 {
            self.shell_wait_ticks += 1;
        }
    }

    /// The ready task whose turn it is (round robin); 0, the idling shell, when no task is ready.
    #[inline]
    pub fn next_ready(&self) -> u16 {
        let after = self.turn as usize + 1;
        let (first, shift) = (after / 64, after % 64);
        for step in 0..=TASK_WORDS {
            let word = (first + step) % TASK_WORDS;
            let mut bits = self.ready[word];
            if step == 0 {
                bits &= u64::MAX << shift;
            }
            if bits != 0 {
                return (word * 64) as u16 + bits.trailing_zeros() as u16;
            }
        }
        0
    }

    /// Makes the sleeping tasks ready whose `wake_time` has come, at generic timer count `now`.
    pub fn wake(&mut self, now: u64) {
        for word in 0..TASK_WORDS {
            let mut bits = self.sleeping[word];
            while bits != 0 {
                let task = (word * 64) as u16 + bits.trailing_zeros() as u16;
                bits &= bits - 1;
                if self.tasks[task as usize].wake_time <= now {
                    self.set_state(task, TaskState::Ready);
                }
            }
        }
    }

    /// A slot for a new task: one that was never used, or else the one whose task ended first.
    pub fn free_slot(&self) -> Option<u16> {
        let tasks = self.tasks.iter().enumerate().skip(1);
        let unused = tasks.clone().find(|(_, task)| task.state == TaskState::Unused);
        let ended = tasks.filter(|(_, task)| task.state == TaskState::Ended).min_by_key(|(_, task)| task.end_time);
        unused.or(ended).map(|(slot, _)| slot as u16)
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ready(tasks: &[u16]) -> Box<Scheduler> {
        let mut scheduler = Box::new(Scheduler::new());
        for &task in tasks {
            scheduler.set_state(task, TaskState::Ready);
        }
        scheduler
    }

    #[test]
    fn ready_tasks_take_turns() {
        let mut scheduler = with_ready(&[0, 3, 63, 64, 96]);
        let mut order = Vec::new();
        for _ in 0..7 {
            scheduler.current = scheduler.take_turn();
            order.push(scheduler.current);
        }
        assert_eq!(order, [3, 63, 64, 96, 0, 3, 63]);
    }

    /// The tasks that run from now on, one tick each.
    fn run(scheduler: &mut Scheduler, ticks: usize) -> Vec<u16> {
        let mut order = Vec::new();
        for _ in 0..ticks {
            scheduler.count_shell_wait();
            scheduler.current = scheduler.take_turn();
            order.push(scheduler.current);
        }
        order
    }

    #[test]
    fn a_busy_shell_gets_one_turn_in_four_and_the_tasks_keep_their_order() {
        let tasks: Vec<u16> = (0..=96).collect();
        let mut scheduler = with_ready(&tasks);
        let order = run(&mut scheduler, 128);
        assert_eq!(order[..9], [1, 2, 3, 0, 4, 5, 6, 0, 7]);
        assert_eq!(order.iter().filter(|&&task| task == 0).count(), 32);
        let others: Vec<u16> = order.into_iter().filter(|&task| task != 0).collect();
        assert_eq!(others, (1..=96).collect::<Vec<_>>());
    }

    #[test]
    fn a_shell_that_wakes_waits_for_three_ticks_at_most() {
        let mut scheduler = with_ready(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(run(&mut scheduler, 8), [1, 2, 3, 4, 5, 6, 1, 2]);
        scheduler.set_state(0, TaskState::Ready);
        assert_eq!(run(&mut scheduler, 3), [3, 4, 0]);
        scheduler.set_state(0, TaskState::Sleeping);
        assert_eq!(run(&mut scheduler, 6), [5, 6, 1, 2, 3, 4]);
    }

    #[test]
    fn turns_that_end_early_do_not_give_the_shell_more() {
        let mut scheduler = with_ready(&[0, 1, 2, 3, 4, 5]);
        let order: Vec<u16> = (0..5)
            .map(|_| {
                scheduler.current = scheduler.take_turn();
                scheduler.current
            })
            .collect();
        assert_eq!(order, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_only_ready_task_continues_and_without_one_the_shell_idles() {
        let mut scheduler = with_ready(&[70]);
        (scheduler.current, scheduler.turn) = (70, 70);
        assert_eq!(scheduler.next_ready(), 70);
        scheduler.set_state(70, TaskState::Ended);
        assert_eq!(scheduler.next_ready(), 0);
    }

    #[test]
    fn sleeping_tasks_wake_at_their_time() {
        let mut scheduler = with_ready(&[]);
        for task in [2, 90] {
            scheduler.tasks[task as usize].wake_time = task as u64 * 10;
            scheduler.set_state(task, TaskState::Sleeping);
        }
        scheduler.wake(20);
        assert_eq!(scheduler.next_ready(), 2);
        scheduler.set_state(2, TaskState::Ended);
        scheduler.wake(899);
        assert_eq!(scheduler.next_ready(), 0);
        scheduler.wake(900);
        assert_eq!(scheduler.next_ready(), 90);
    }

    #[test]
    fn slots_of_ended_tasks_are_reused_oldest_first() {
        let mut scheduler = with_ready(&[]);
        for task in 1..=MAX_TASKS as u16 {
            assert_eq!(scheduler.free_slot(), Some(task));
            scheduler.set_state(task, TaskState::Ready);
        }
        assert_eq!(scheduler.free_slot(), None);
        for (task, time) in [(9, 50), (4, 60)] {
            scheduler.set_state(task, TaskState::Ended);
            scheduler.tasks[task as usize].end_time = time;
        }
        assert_eq!(scheduler.free_slot(), Some(9));
    }
}
