//! Marks for debuggers: where in the code something happens, and in which registers its figures are there.
//!
//! A mark is no instruction. It is an entry of the section `.debugger_marks`, which the ELF file has and memory has
//! not: a debugger that waits for something sets breakpoints at the marks of its kind, with a condition on the
//! registers that they name. The code around each is compiled by itself, so that there may be several of a kind.
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 8 | virtual address of the instruction that follows |
//! | 8 | 8 | what happens there: the number of an [`EventKind`](crate::events::EventKind), or [`SWITCH`] |
//! | 16 | 8 | the general register that holds the first figure, as `x19`; filled up with 0 |
//! | 24 | 8 | the same for the second |
//!
//! At the mark of an event its entry is in the ring already, and `first` and `second` are the figures. The change that
//! it is part of is still under way: it is over when the manager's sequence counter is even again.

/// TTBR0 now holds another address space. Number of the space; value of TTBR0.
pub const SWITCH: u16 = 0x100;

/// Leaves a mark of a kind, which is a constant, with two figures of 64 bits.
#[cfg(target_os = "none")]
macro_rules! mark {
    ($kind:expr, $first:expr, $second:expr) => {
        // SAFETY: no instruction at all. It may be taken to read memory: so all that was stored before is there.
        unsafe {
            core::arch::asm!(
                "77:",
                ".pushsection .debugger_marks, \"\", %progbits",
                ".8byte 77b",
                ".8byte {kind}",
                "78: .ascii \"{first}\"",
                ".zero 8 - (. - 78b)",
                "79: .ascii \"{second}\"",
                ".zero 8 - (. - 79b)",
                ".popsection",
                kind = const $kind as u64,
                first = in(reg) $first,
                second = in(reg) $second,
                options(nostack, preserves_flags),
            )
        }
    };
}

/// There is no debugger of the kernel where it runs as a library.
#[cfg(not(target_os = "none"))]
macro_rules! mark {
    ($kind:expr, $first:expr, $second:expr) => {{
        let _: (u64, u64, u64) = ($kind as u64, $first, $second);
    }};
}

pub(crate) use mark;
