//! Fault status codes of aborts. Arm Architecture Reference Manual, "ISS encoding for an exception from a Data Abort".

use core::fmt::{self, Display, Formatter};

/// A fault status code (DFSC or IFSC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub u64);

impl Fault {
    /// The kind of fault, and the level of the table walk, if there is one.
    pub fn parts(self) -> (&'static str, Option<i8>) {
        let level = Some((self.0 & 0b11) as i8);
        match self.0 {
            0b00_0000..=0b00_0011 => ("address size fault", level),
            0b00_0100..=0b00_0111 => ("translation fault", level),
            0b00_1000..=0b00_1011 => ("access flag fault", level),
            0b00_1100..=0b00_1111 => ("permission fault", level),
            0b01_0000 => ("synchronous external abort", None),
            0b01_0001 => ("synchronous tag check fault", None),
            0b01_0011 => ("external abort on table walk", Some(-1)),
            0b01_0100..=0b01_0111 => ("external abort on table walk", level),
            0b01_1000 => ("parity or ECC error", None),
            0b01_1011 => ("parity or ECC error on table walk", Some(-1)),
            0b01_1100..=0b01_1111 => ("parity or ECC error on table walk", level),
            0b10_0001 => ("alignment fault", None),
            0b10_0011 => ("granule protection fault on table walk", Some(-1)),
            0b10_0100..=0b10_0111 => ("granule protection fault on table walk", level),
            0b10_1000 => ("granule protection fault", None),
            0b10_1001 => ("address size fault", Some(-1)),
            0b10_1011 => ("translation fault", Some(-1)),
            0b11_0000 => ("TLB conflict abort", None),
            0b11_0001 => ("unsupported atomic hardware update fault", None),
            0b11_0100 | 0b11_0101 => ("implementation defined fault", None),
            _ => ("reserved fault status", None),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (name, level) = self.parts();
        formatter.write_str(name)?;
        level.map_or(Ok(()), |level| write!(formatter, ", level {level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_with_their_level() {
        let cases = [
            (0x00, "address size fault, level 0"),
            (0x07, "translation fault, level 3"),
            (0x09, "access flag fault, level 1"),
            (0x0e, "permission fault, level 2"),
            (0x10, "synchronous external abort"),
            (0x13, "external abort on table walk, level -1"),
            (0x15, "external abort on table walk, level 1"),
            (0x1f, "parity or ECC error on table walk, level 3"),
            (0x21, "alignment fault"),
            (0x2b, "translation fault, level -1"),
            (0x30, "TLB conflict abort"),
            (0x3f, "reserved fault status"),
        ];
        for (status, text) in cases {
            assert_eq!(Fault(status).to_string(), text, "{status:#x}");
        }
    }

    #[test]
    fn levels_are_those_of_a_walk() {
        for status in 0..64 {
            let (name, level) = Fault(status).parts();
            assert!(!name.is_empty() && level.is_none_or(|level| (-1..=3).contains(&level)), "{status:#x}");
        }
    }
}
