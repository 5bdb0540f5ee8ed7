//! The A64 instructions that concern translation, by their encoding (DDI 0487, C4 and C5).

/// What an instruction is to a reader of the recording.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A TLB invalidation; the operand is its register's value, 0 if it has none.
    TlbInvalidate = 2,
    DataBarrier = 3,
    InstructionBarrier = 4,
    /// A write to a system register that controls translation.
    SystemWrite = 5,
    ExceptionReturn = 6,
    /// `DC ZVA`: zeroes a block of memory.
    ZeroBlock = 8,
}

/// An instruction that is recorded: what it is, its code, and the number of its operand's register (31: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub operation: Operation,
    pub code: u32,
    pub register: u8,
}

/// The registers that control translation at EL1, by the fields `op0 op1 CRn CRm op2` as they stand in the code.
const TTBR0: u32 = system(3, 0, 2, 0, 0);
const TTBR1: u32 = system(3, 0, 2, 0, 1);
const TCR: u32 = system(3, 0, 2, 0, 2);
const SCTLR: u32 = system(3, 0, 1, 0, 0);
const MAIR: u32 = system(3, 0, 10, 2, 0);
const VBAR: u32 = system(3, 0, 12, 0, 0);
const CONTROLS: [u32; 6] = [TTBR0, TTBR1, TCR, SCTLR, MAIR, VBAR];

/// Which register a `SystemWrite` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Ttbr0,
    Ttbr1,
    Tcr,
    Vbar,
    Other,
}

/// `op0 op1 CRn CRm op2` of a system instruction at their places in its code.
const fn system(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
}

const SYSTEM_FIELDS: u32 = 0x1f_ffe0;
const FIELDS_OF_TLBI: u32 = 0x18_f000;

/// What `code` is, if it is recorded.
pub fn recorded(code: u32) -> Option<Recorded> {
    let register = (code & 0x1f) as u8;
    let found = |operation, register| Some(Recorded { operation, code, register });
    // ERET, ERETAA, ERETAB.
    if code == 0xd69f_03e0 || code & !0x400 == 0xd69f_0bff {
        return found(Operation::ExceptionReturn, 31);
    }
    // System instructions: MSR and SYS have L clear.
    if code & 0xffe0_0000 != 0xd500_0000 {
        return None;
    }
    let fields = code & SYSTEM_FIELDS;
    match code & 0xffff_f0ff {
        0xd503_309f => return found(Operation::DataBarrier, 31),
        0xd503_30df => return found(Operation::InstructionBarrier, 31),
        _ => {}
    }
    if fields & FIELDS_OF_TLBI == system(1, 0, 8, 0, 0) || fields & FIELDS_OF_TLBI == system(1, 0, 9, 0, 0) {
        return found(Operation::TlbInvalidate, register);
    }
    if fields == system(1, 3, 7, 4, 1) {
        return found(Operation::ZeroBlock, register);
    }
    if CONTROLS.contains(&fields) {
        return found(Operation::SystemWrite, register);
    }
    None
}

/// Which register a `SystemWrite` with this code writes.
pub fn control(code: u32) -> Control {
    match code & SYSTEM_FIELDS {
        TTBR0 => Control::Ttbr0,
        TTBR1 => Control::Ttbr1,
        TCR => Control::Tcr,
        VBAR => Control::Vbar,
        _ => Control::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_by_their_code() {
        for (code, operation, register) in [
            (0xd508_831f, Operation::TlbInvalidate, 31), // tlbi vmalle1is
            (0xd508_8720, Operation::TlbInvalidate, 0),  // tlbi vae1, x0
            (0xd508_8345, Operation::TlbInvalidate, 5),  // tlbi aside1is, x5
            (0xd503_3b9f, Operation::DataBarrier, 31),   // dsb ish
            (0xd503_3f9f, Operation::DataBarrier, 31),   // dsb sy
            (0xd503_3fdf, Operation::InstructionBarrier, 31),
            (0xd518_2000, Operation::SystemWrite, 0), // msr ttbr0_el1, x0
            (0xd518_2023, Operation::SystemWrite, 3), // msr ttbr1_el1, x3
            (0xd518_1001, Operation::SystemWrite, 1), // msr sctlr_el1, x1
            (0xd518_c002, Operation::SystemWrite, 2), // msr vbar_el1, x2
            (0xd69f_03e0, Operation::ExceptionReturn, 31),
            (0xd69f_0bff, Operation::ExceptionReturn, 31), // eretaa
            (0xd50b_7429, Operation::ZeroBlock, 9),        // dc zva, x9
        ] {
            assert_eq!(recorded(code), Some(Recorded { operation, code, register }), "{code:#x}");
        }
    }

    #[test]
    fn other_instructions_are_not_recorded() {
        // mrs x0, ttbr0_el1; dmb ish; nop; ret; dc civac; msr daifset; msr tpidr_el1; str x0, [x1]; eor.
        for code in [
            0xd538_2000,
            0xd503_3bbf,
            0xd503_201f,
            0xd65f_03c0,
            0xd50b_7e20,
            0xd503_42df,
            0xd518_d080,
            0xf900_0020,
            0xca00_0000,
        ] {
            assert_eq!(recorded(code), None, "{code:#x}");
        }
    }

    #[test]
    fn a_system_write_names_its_register() {
        for (code, expected) in [
            (0xd518_2000, Control::Ttbr0),
            (0xd518_2023, Control::Ttbr1),
            (0xd518_2041, Control::Tcr),
            (0xd518_c002, Control::Vbar),
            (0xd518_1001, Control::Other),
        ] {
            assert_eq!(control(code), expected);
        }
    }
}
