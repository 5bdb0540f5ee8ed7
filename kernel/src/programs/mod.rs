//! The programs that tasks run.

pub mod calls;

use core::arch::global_asm;
use tinyos::memory::growth::GrowthPolicy;
use tinyos::memory::layout::{PAGE_SIZE, TASK_PAGE_BASE};

global_asm!(
    include_str!("programs.s"),
    include_str!("checks.s"),
    task_page = const TASK_PAGE_BASE,
    page = const PAGE_SIZE,
    call_yield = const calls::YIELD,
    call_exit = const calls::EXIT,
    call_sleep = const calls::SLEEP,
    call_reserve = const calls::RESERVE,
    call_release = const calls::RELEASE,
    call_discard = const calls::DISCARD,
    call_report = const calls::REPORT,
    call_trim = const calls::TRIM,
);

/// A program, with its default arguments and growth policy.
#[derive(Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    pub about: &'static str,
    /// Its address in the address space of a task.
    pub entry: unsafe extern "C" fn() -> !,
    pub arguments: [u64; 3],
    pub policy: GrowthPolicy,
    /// `max_size` of its stack, in bytes.
    pub stack_limit: usize,
    /// Its first argument is the number of its task.
    pub is_numbered: bool,
}

macro_rules! programs {
    ($($symbol:ident $name:literal $arguments:expr, $policy:ident, $limit:literal KiB, $about:literal $(, $numbered:ident)?;)*) => {
        unsafe extern "C" { $(fn $symbol() -> !;)* }

        /// All programs.
        pub static PROGRAMS: &[Program] = &[$(Program {
            name: $name,
            about: $about,
            entry: $symbol,
            arguments: $arguments,
            policy: GrowthPolicy::$policy,
            stack_limit: $limit * 1024,
            is_numbered: programs!(@is_numbered $($numbered)?),
        },)*];
    };
    (@is_numbered) => { false };
    (@is_numbered numbered) => { true };
}

programs! {
    program_worker "worker" [100, 40, 3], Conservative, 256 KiB, "descends its stack and returns, again and again";
    program_lazy "lazy" [96, 40, 0], Conservative, 64 KiB, "reads and writes some of its lazy pages, and checks them";
    program_hog "hog" [1024, 1, 0], Conservative, 64 KiB, "writes lazy pages, one after another";
    program_scatter "scatter" [1536, 64, 0], Conservative, 64 KiB, "keeps lazy pages that lie far apart in memory";
    program_checker "checker" [0, 100, 0], Conservative, 64 KiB, "checks after each switch that its memory is its own",
        numbered;
    program_spinner "spinner" [0, 0, 0], Conservative, 64 KiB, "spins forever and never gives up its turn";
    program_waiter "waiter" [100, 0, 0], Conservative, 64 KiB, "waits for interrupts and events (wfi, wfe)";
    program_faults "faults" [100_000, 0, 0], Conservative, 64 KiB, "takes lazy page faults and discards the pages";
    program_discarder "discarder" [1, 1000, 0], Conservative, 64 KiB, "discards its pages, and must read zeros then";
    program_trimmer "trimmer" [1000, 0, 0], Conservative, 64 KiB, "gives back its stack, and must read zeros then";
    program_diver "diver" [8, 20, 0], Conservative, 64 KiB, "checks its stack after it spun far down in it";
    program_canary "canary" [100_000, 0, 0], Conservative, 64 KiB, "checks that each register keeps its value";
    program_reserver "reserver" [512, 100, 0], Conservative, 64 KiB, "reserves lazy pages and writes the first";
    program_measure_switch "measure-switch" [1000, 0, 0], Conservative, 64 KiB, "measures yields";
    program_measure_read "measure-read" [257, 0, 0], Conservative, 64 KiB, "measures first reads of lazy pages";
    program_measure_write "measure-write" [257, 0, 0], Conservative, 64 KiB, "measures first writes of lazy pages";
    program_measure_growth "measure-growth" [128, 0, 0], Conservative, 1024 KiB, "measures stack growths by one page";
    program_nested "nested" [1_000_000, 0, 0], Conservative, 64 KiB, "calls three deep, faults there, and ends wildly";
    program_runaway "runaway" [0, 0, 0], Aggressive, 128 KiB, "recurses forever";
    program_wild "wild" [0, 0, 0], Conservative, 64 KiB, "reads an address that belongs to nobody";
    program_kernel_write "kernel-write" [0, 0, 0], Conservative, 64 KiB, "writes to the kernel's image";
    program_undefined "undefined" [0, 0, 0], Conservative, 64 KiB, "executes an undefined instruction";
    program_guard "guard" [0x10000, 0, 0], Conservative, 64 KiB, "pushes into the guard page of its stack";
    program_below "below" [0, 0, 0], Conservative, 64 KiB, "reads far below its stack pointer";
}

/// The program called `name`.
pub fn find(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}
