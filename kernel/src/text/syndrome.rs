//! `ESR_EL1` as text. Arm Architecture Reference Manual, "ESR_EL1, Exception Syndrome Register (EL1)".

use super::fault::Fault;
use super::place::Place;
use crate::tasks::EndReason;
use core::fmt::{self, Display, Formatter, Write};

/// Fault status of a synchronous external abort not on a table walk: the only one for which the FnV bit is defined.
const EXTERNAL_ABORT: u64 = 0b01_0000;

/// An exception syndrome: the value of `ESR_EL1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syndrome(pub u64);

impl Syndrome {
    /// Exception class, ESR_EL1.EC.
    pub fn class(self) -> u64 {
        self.0 >> 26 & 0x3f
    }

    /// Instruction-specific syndrome, ESR_EL1.ISS.
    pub fn specific(self) -> u64 {
        self.0 & 0x1ff_ffff
    }

    /// ESR_EL1.IL: whether the trapped instruction has 32 bits. Also set if there is no such instruction.
    pub fn is_32_bit(self) -> bool {
        self.0 & 1 << 25 != 0
    }

    pub fn is_instruction_abort(self) -> bool {
        matches!(self.class(), 0x20 | 0x21)
    }

    pub fn is_data_abort(self) -> bool {
        matches!(self.class(), 0x24 | 0x25)
    }

    pub fn is_abort(self) -> bool {
        self.is_instruction_abort() || self.is_data_abort()
    }

    /// Whether `FAR_EL1` holds the faulting address.
    pub fn has_fault_address(self) -> bool {
        if self.is_abort() {
            let not_valid = self.0 & 1 << 10 != 0;
            return !(not_valid && self.status() == EXTERNAL_ABORT);
        }
        // PC alignment faults and watchpoints.
        matches!(self.class(), 0x22 | 0x34 | 0x35)
    }

    /// The access that an abort is about; None for other exceptions.
    pub fn access(self) -> Option<&'static str> {
        if self.is_instruction_abort() {
            return Some("instruction fetch");
        }
        let is_watchpoint = matches!(self.class(), 0x34 | 0x35);
        if !self.is_data_abort() && !is_watchpoint {
            return None;
        }
        let (is_maintenance, is_write) = (self.0 & 1 << 8 != 0, self.0 & 1 << 6 != 0);
        Some(match (is_maintenance, is_write) {
            (true, _) => "cache maintenance or address translation",
            (false, true) => "write",
            (false, false) => "read",
        })
    }

    /// The fault status of an abort.
    pub fn fault(self) -> Option<Fault> {
        self.is_abort().then(|| Fault(self.status()))
    }

    /// DFSC or IFSC, which are the same bits.
    fn status(self) -> u64 {
        self.0 & 0x3f
    }

    /// The name of the exception class.
    pub fn class_name(self) -> &'static str {
        match self.class() {
            0x00 => "undefined instruction",
            0x01 => "trapped WFI or WFE",
            0x03..=0x06 | 0x08 | 0x0c | 0x11..=0x13 | 0x28 | 0x38 => "AArch32 exception",
            0x07 => "access to floating point or Advanced SIMD",
            0x09 => "trapped pointer authentication",
            0x0a => "trapped LD64B or ST64B",
            0x0d => "branch target exception",
            0x0e => "illegal execution state",
            0x15 => "SVC",
            0x18 => "trapped MSR, MRS or system instruction",
            0x19 => "access to SVE",
            0x1c => "pointer authentication failure",
            0x1d => "access to SME",
            0x20 => "instruction abort from EL0",
            0x21 => "instruction abort from EL1",
            0x22 => "PC alignment fault",
            0x24 => "data abort from EL0",
            0x25 => "data abort from EL1",
            0x26 => "SP alignment fault",
            0x27 => "memory operation exception",
            0x2c => "floating point exception",
            0x2d => "guarded control stack exception",
            0x2f => "SError",
            0x30 => "breakpoint from EL0",
            0x31 => "breakpoint from EL1",
            0x32 => "software step from EL0",
            0x33 => "software step from EL1",
            0x34 => "watchpoint from EL0",
            0x35 => "watchpoint from EL1",
            0x3c => "BRK",
            _ => "reserved exception class",
        }
    }
}

/// One line: `data abort from EL0: write, translation fault, level 3`.
impl Display for Syndrome {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.class_name())?;
        match self.class() {
            0x15 | 0x3c => write!(formatter, " #{}", self.0 & 0xffff)?,
            0x18 => write!(formatter, ": {}", SystemAccess(self.specific()))?,
            _ => {}
        }
        if let Some(access) = self.access() {
            write!(formatter, ": {access}")?;
        }
        if let Some(fault) = self.fault() {
            write!(formatter, ", {fault}")?;
        }
        Ok(())
    }
}

/// The ISS of a trapped MSR, MRS or system instruction: `read of S3_0_C1_C0_0 into X5`.
struct SystemAccess(u64);

impl Display for SystemAccess {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let field = |shift: u32, mask: u64| self.0 >> shift & mask;
        let (op0, op1, op2) = (field(20, 0b11), field(14, 0b111), field(17, 0b111));
        let (crn, crm, register) = (field(10, 0xf), field(1, 0xf), field(5, 0x1f));
        let (direction, relation) = if self.0 & 1 == 1 { ("read", "into") } else { ("write", "from") };
        write!(formatter, "{direction} of S{op0}_{op1}_C{crn}_C{crm}_{op2} {relation} ")?;
        if register == 31 { formatter.write_str("XZR") } else { write!(formatter, "X{register}") }
    }
}

/// Writes an exception for the failure message: `ESR_EL1`, `FAR_EL1` and `ELR_EL1`, each with its meaning.
pub fn describe_exception(out: &mut dyn Write, esr: u64, far: u64, elr: u64) -> fmt::Result {
    let syndrome = Syndrome(esr);
    let length = if syndrome.is_32_bit() { 32 } else { 16 };
    writeln!(out, "ESR_EL1: {esr:#018x} {syndrome}")?;
    writeln!(
        out,
        "  EC {:#04x}, IL {} ({length}-bit instruction), ISS {:#x}",
        syndrome.class(),
        syndrome.is_32_bit() as u8,
        syndrome.specific()
    )?;
    if syndrome.has_fault_address() {
        writeln!(out, "FAR_EL1: {far:#018x} {}", Place(far))?;
    } else {
        writeln!(out, "FAR_EL1: {far:#018x} not valid for this exception")?;
    }
    writeln!(out, "ELR_EL1: {elr:#018x} {}", Place(elr))
}

/// The reason for the end of a task.
pub fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::None => "not ended",
        EndReason::Exited => "exited",
        EndReason::StackOverflow => "stack overflow: a push beyond the maximum or into the guard page",
        EndReason::WildAccess => "wild access: an address that does not belong to the task",
        EndReason::KernelAccess => "kernel access: an address of the kernel",
        EndReason::OutOfMemory => "out of memory: no free frame",
        EndReason::UndefinedInstruction => "undefined or trapped instruction",
        EndReason::UnexpectedException => "unexpected exception",
        EndReason::Killed => "killed by the shell",
        EndReason::OwnedMost => "out of memory: it owned the most frames",
        EndReason::QuotaReached => "quota reached: it may own no more frames",
    }
}

/// Whether the reason is an exception, so that the task's `end_syndrome` is valid.
pub fn is_by_exception(reason: EndReason) -> bool {
    !matches!(reason, EndReason::None | EndReason::Exited | EndReason::Killed | EndReason::OwnedMost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(esr: u64) -> String {
        Syndrome(esr).to_string()
    }

    /// Syndromes from real cores and from QEMU.
    #[test]
    fn syndromes_are_named() {
        let cases = [
            (0x9200_0047, "data abort from EL0: write, translation fault, level 3"),
            (0x9200_0007, "data abort from EL0: read, translation fault, level 3"),
            (0x9200_004f, "data abort from EL0: write, permission fault, level 3"),
            (0x9200_000b, "data abort from EL0: read, access flag fault, level 3"),
            (0x9600_0044, "data abort from EL1: write, translation fault, level 0"),
            (0x9600_0061, "data abort from EL1: write, alignment fault"),
            (0x9600_0010, "data abort from EL1: read, synchronous external abort"),
            (0x9200_0147, "data abort from EL0: cache maintenance or address translation, translation fault, level 3"),
            (0x8200_000e, "instruction abort from EL0: instruction fetch, permission fault, level 2"),
            (0x8600_0004, "instruction abort from EL1: instruction fetch, translation fault, level 0"),
            (0x5600_0003, "SVC #3"),
            (0xf200_03e8, "BRK #1000"),
            (0x0200_0000, "undefined instruction"),
            (0x1fe0_0000, "access to floating point or Advanced SIMD"),
            (0x8a00_0000, "PC alignment fault"),
            (0x9a00_0000, "SP alignment fault"),
            (0xbe00_0000, "SError"),
            (0xfc00_0000, "reserved exception class"),
        ];
        for (esr, text) in cases {
            assert_eq!(show(esr), text, "{esr:#x}");
        }
    }

    #[test]
    fn a_trapped_system_register_is_named_by_its_encoding() {
        // `msr ttbr0_el1, x3` (S3_0_C2_C0_0) and `mrs xzr, ctr_el0` (S3_3_C0_C0_1).
        let encode = |op0: u64, op1: u64, crn: u64, crm: u64, op2: u64, register: u64, read: u64| {
            0x6200_0000 | op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | register << 5 | crm << 1 | read
        };
        let text = "trapped MSR, MRS or system instruction: write of S3_0_C2_C0_0 from X3";
        assert_eq!(show(encode(3, 0, 2, 0, 0, 3, 0)), text);
        let text = "trapped MSR, MRS or system instruction: read of S3_3_C0_C0_1 into XZR";
        assert_eq!(show(encode(3, 3, 0, 0, 1, 31, 1)), text);
    }

    #[test]
    fn the_fault_address_is_valid_only_where_the_manual_says_so() {
        assert!(Syndrome(0x9200_0047).has_fault_address());
        assert!(Syndrome(0x8a00_0000).has_fault_address());
        assert!(Syndrome(0x9600_0010).has_fault_address());
        assert!(!Syndrome(0x9600_0410).has_fault_address(), "FnV");
        assert!(Syndrome(0x9600_0407).has_fault_address(), "FnV counts for external aborts only");
        assert!(!Syndrome(0x5600_0003).has_fault_address());
        assert!(!Syndrome(0x9a00_0000).has_fault_address());
    }

    #[test]
    fn every_syndrome_has_a_text() {
        for esr in (0..1 << 32).step_by(0x1_0003) {
            assert!(!show(esr).is_empty());
        }
    }

    #[test]
    fn an_exception_is_described_register_by_register() {
        let mut text = String::new();
        describe_exception(&mut text, 0x9600_0047, 0xffff_0000_0800_0000, 0xffff_8000_0008_1234).unwrap();
        assert_eq!(
            crate::text::fixtures::lines(&text),
            [
                "ESR_EL1: 0x0000000096000047 data abort from EL1: write, translation fault, level 3",
                "  EC 0x25, IL 1 (32-bit instruction), ISS 0x47",
                "FAR_EL1: 0xffff000008000000 kernel, linear map of RAM",
                "ELR_EL1: 0xffff800000081234 kernel, image",
            ]
        );
        let mut text = String::new();
        describe_exception(&mut text, 0x5400_0000, 0x123, 0x40_0004).unwrap();
        assert!(text.contains("\n  EC 0x15, IL 0 (16-bit instruction), ISS 0x0\n"), "{text}");
        assert!(text.contains("\nFAR_EL1: 0x0000000000000123 not valid for this exception\n"), "{text}");
        assert!(text.ends_with("\nELR_EL1: 0x0000000000400004 program text\n"), "{text}");
    }

    #[test]
    fn every_end_has_its_own_text() {
        let reasons = [
            EndReason::None,
            EndReason::Exited,
            EndReason::StackOverflow,
            EndReason::WildAccess,
            EndReason::KernelAccess,
            EndReason::OutOfMemory,
            EndReason::UndefinedInstruction,
            EndReason::UnexpectedException,
            EndReason::Killed,
        ];
        let texts: std::collections::HashSet<_> = reasons.into_iter().map(end_reason).collect();
        assert_eq!(texts.len(), reasons.len());
    }
}
