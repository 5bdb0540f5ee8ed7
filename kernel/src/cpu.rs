//! The CPU: its interrupt mask, waiting for interrupts, and the frequency of its timer.
//!
//! Everything else in the kernel may use this module; it uses none of them. The `asm!` blocks do not say `nomem`, so that
//! the compiler moves no access to memory across a change of the mask.

use aarch64_cpu::registers::{CNTFRQ_EL0, Readable};
use core::arch::asm;

/// Counts of the generic timer in a second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// Runs `body` with interrupts masked.
pub fn without_interrupts<T>(body: impl FnOnce() -> T) -> T {
    let daif: u64;
    // SAFETY: saves the interrupt mask, which is restored below, and masks interrupts.
    unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) daif, options(nostack)) };
    let result = body();
    // SAFETY: restores the saved mask.
    unsafe { asm!("msr daif, {}", in(reg) daif, options(nostack)) };
    result
}

/// Unmasks interrupts at the end of boot. The exception vectors are installed, and the interrupt controller is set up.
pub fn unmask_interrupts() {
    // SAFETY: the vectors handle every interrupt; boot has masked them until now.
    unsafe { asm!("msr daifclr, #2", options(nostack)) }
}

/// Takes the interrupts that are pending, in a body of [`without_interrupts`].
pub fn take_interrupts() {
    // SAFETY: unmasks interrupts for one moment; `isb` makes sure that a pending one is taken in it.
    unsafe { asm!("msr daifclr, #2", "isb", "msr daifset, #2", options(nostack)) }
}

/// Waits for an interrupt. A masked one ends the wait as well.
pub fn wait_for_interrupt() {
    // SAFETY: only waits.
    unsafe { asm!("wfi", options(nostack)) }
}

/// Masks every exception that can be masked, for good: the kernel has failed.
pub fn mask_everything() {
    // SAFETY: masking is always allowed.
    unsafe { asm!("msr daifset, #0xf", options(nostack)) }
}
