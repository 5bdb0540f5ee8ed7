//! The programs that tasks run, and what each is for.

use core::arch::global_asm;
use tinyos::memory::growth::GrowthPolicy;

global_asm!(include_str!("programs.s"));

/// A program, and what it is started with unless told otherwise.
#[derive(Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    pub about: &'static str,
    /// Its address, where tasks see it.
    pub entry: unsafe extern "C" fn() -> !,
    pub arguments: [u64; 3],
    pub policy: GrowthPolicy,
    /// `max_size` of its stack, in bytes.
    pub stack_limit: usize,
}

macro_rules! programs {
    ($($symbol:ident $name:literal $arguments:expr, $policy:ident, $limit:literal KiB, $about:literal;)*) => {
        unsafe extern "C" { $(fn $symbol() -> !;)* }

        /// All programs.
        pub static PROGRAMS: &[Program] = &[$(Program {
            name: $name,
            about: $about,
            entry: $symbol,
            arguments: $arguments,
            policy: GrowthPolicy::$policy,
            stack_limit: $limit * 1024,
        },)*];
    };
}

programs! {
    program_worker "worker" [100, 40, 3], Conservative, 256 KiB, "descends its stack and comes back, again and again";
    program_lazy "lazy" [96, 40, 0], Conservative, 64 KiB, "reads and writes some of its lazy pages, and checks them";
    program_hog "hog" [1024, 1, 0], Conservative, 64 KiB, "writes lazy pages, one after the other";
    program_checker "checker" [0, 100, 0], Conservative, 64 KiB, "sees whether its memory is its own after each switch";
    program_faults "faults" [100_000, 0, 0], Conservative, 64 KiB, "takes lazy page faults and discards the pages";
    program_reserver "reserver" [512, 100, 0], Conservative, 64 KiB, "reserves lazy pages and writes the first";
    program_measure_switch "measure-switch" [1000, 0, 0], Conservative, 64 KiB, "yields, and measures it";
    program_measure_read "measure-read" [257, 0, 0], Conservative, 64 KiB, "measures first reads of lazy pages";
    program_measure_write "measure-write" [257, 0, 0], Conservative, 64 KiB, "measures first writes of lazy pages";
    program_measure_growth "measure-growth" [128, 0, 0], Conservative, 1024 KiB, "measures growths of its stack by a page";
    program_runaway "runaway" [0, 0, 0], Aggressive, 128 KiB, "recurses without end";
    program_wild "wild" [0, 0, 0], Conservative, 64 KiB, "reads an address that is nobody's";
    program_kernel_write "kernel-write" [0, 0, 0], Conservative, 64 KiB, "writes to the kernel's image";
    program_undefined "undefined" [0, 0, 0], Conservative, 64 KiB, "executes an undefined instruction";
    program_guard "guard" [0x10000, 0, 0], Conservative, 64 KiB, "pushes into the guard page of its stack";
    program_below "below" [0, 0, 0], Conservative, 64 KiB, "reads far below its stack pointer";
}

/// The program called `name`.
pub fn find(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}
