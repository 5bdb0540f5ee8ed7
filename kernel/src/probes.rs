//! Probes: places in the code where a debugger sets a breakpoint, with the registers that hold the event's figures.
//!
//! A probe costs nothing: it is not an instruction but an entry of the section `.debugger_probes`, which is in the ELF
//! file and is not loaded. A debugger that waits for something sets breakpoints at the probes of its kind, with
//! conditions on the registers that they name. The compiler may inline the code of a probe into several places: there
//! may be several probes of a kind, each with its own registers.
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 8 | virtual address of the instruction that follows |
//! | 8 | 8 | the kind: the number of an [`EventKind`](crate::events::EventKind), or [`SWITCH`] |
//! | 16 | 8 | the general register that holds the first figure, as `x19`; padded with 0 |
//! | 24 | 8 | the same for the second |
//!
//! At the probe of an event, its entry is in the ring already, and `first` and `second` are the figures. The kernel is
//! still writing its state then: that write is over when the manager's sequence counter is even again.

/// The kind of a switch: TTBR0 now holds another address space. Number of the space; value of TTBR0.
pub const SWITCH: u16 = 0x100;

/// Adds a probe of a kind, which is a constant, with two figures of 64 bits.
#[cfg(target_os = "none")]
macro_rules! probe {
    ($kind:expr, $first:expr, $second:expr) => {
        // SAFETY: contains no instruction. The compiler assumes that it reads memory: so all stores before it are done.
        unsafe {
            core::arch::asm!(
                "77:",
                ".pushsection .debugger_probes, \"\", %progbits",
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

/// On the host, no debugger watches the kernel.
#[cfg(not(target_os = "none"))]
macro_rules! probe {
    ($kind:expr, $first:expr, $second:expr) => {{
        let _: (u64, u64, u64) = ($kind as u64, $first, $second);
    }};
}

pub(crate) use probe;
