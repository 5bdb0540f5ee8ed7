//! What a task is to a debugger: its record, its saved registers, and why it ended.

use crate::memory::layout::MAX_TASKS;

/// Registers of a task as the exception vectors save them. `vectors.s` knows the offsets.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// X0 to X30.
    pub x: [u64; 31],
    /// `SP_EL0`.
    pub sp: u64,
    /// `ELR_EL1`: where it goes on.
    pub pc: u64,
    /// `SPSR_EL1`.
    pub pstate: u64,
}

impl Context {
    pub const ZERO: Context = Context { x: [0; 31], sp: 0, pc: 0, pstate: 0 };
}

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// The slot was never used.
    Unused = 0,
    Ready = 1,
    /// Until `wake_time`.
    Sleeping = 2,
    /// Until the shell lets it go on.
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
    /// It pushed its stack beyond `max_size`, or into the guard.
    StackOverflow = 2,
    /// It accessed an address that is not its own.
    WildAccess = 3,
    /// It accessed a kernel address.
    KernelAccess = 4,
    /// No frame could be had for it.
    OutOfMemory = 5,
    /// It executed an instruction that is undefined, or trapped.
    UndefinedInstruction = 6,
    /// Another exception.
    UnexpectedException = 7,
    /// It was told to by the shell.
    Killed = 8,
}

/// A task. Entry `n` of the table is task `n`; entry 0 is the kernel's own, the shell.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub context: Context,
    /// Number of the task.
    pub id: u16,
    pub state: TaskState,
    pub end_reason: EndReason,
    /// Id of its [`crate::memory::stacks::DynamicStack`]; 0 for none.
    pub stack: u32,
    /// What its program is called: ASCII, filled up with 0.
    pub name: [u8; 16],
    /// Generic timer count at which a sleeping task is ready again.
    pub wake_time: u64,
    /// Times that it was switched to.
    pub switch_count: u64,
    /// Generic timer count when it was started, and when it ended.
    pub start_time: u64,
    pub end_time: u64,
    /// `ESR_EL1` and `FAR_EL1` of the exception that ended it.
    pub end_syndrome: u64,
    pub end_address: u64,
    /// What it last reported by the `report` call.
    pub report: [u64; 2],
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
        start_time: 0,
        end_time: 0,
        end_syndrome: 0,
        end_address: 0,
        report: [0; 2],
    };

    /// Its name as text.
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
    /// The shell has told the tasks to hold still.
    pub is_held: bool,
    /// Ticks of the timer since boot.
    pub tick_count: u64,
    /// Bit `n` of the pair: task `n` is ready.
    pub ready: [u64; MAX_TASKS / 64 + 1],
    pub tasks: [Task; MAX_TASKS + 1],
}
