//! Names what an address belongs to, from the address alone.

use crate::memory::layout::{
    DEVICE_OFFSET, IMAGE_OFFSET, LINEAR_OFFSET, PAGE_SIZE, STACK_REGION_BASE, STACK_SLOT_SIZE, TASK_PAGE_BASE,
    USER_TEXT_BASE, USER_TEXT_END,
};
use crate::memory::lazy::record_of;
use crate::memory::stacks::slot_of;
use core::fmt::{self, Display, Formatter};

/// Addresses below this are taken for a null pointer with an offset.
const NULL_END: u64 = 0x1_0000;
/// End of the lower half and start of the upper half: 48 bits of input address.
const LOWER_END: u64 = 1 << 48;
const UPPER_BASE: u64 = 0xffff << 48;

/// A virtual address, displayed as what lies there: `stack 3, 24576 bytes below its end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u64);

impl Display for Place {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let address = self.0;
        if let Some(slot) = slot_of(address) {
            let end = STACK_REGION_BASE + (slot as u64 + 1) * STACK_SLOT_SIZE;
            return write!(formatter, "stack {}, {} bytes below its end", slot + 1, end - address);
        }
        if let Some(record) = record_of(address) {
            return write!(formatter, "lazy page {record}");
        }
        formatter.write_str(match address {
            0..NULL_END => "null",
            _ if (USER_TEXT_BASE..USER_TEXT_END).contains(&address) => "program text",
            _ if (TASK_PAGE_BASE..TASK_PAGE_BASE + PAGE_SIZE as u64).contains(&address) => "task page",
            NULL_END..LOWER_END => "user half",
            LOWER_END..UPPER_BASE => "neither half",
            _ if address >= DEVICE_OFFSET => "kernel, devices",
            _ if address >= IMAGE_OFFSET => "kernel, image",
            _ if address >= LINEAR_OFFSET => "kernel, linear map of RAM",
            _ => "kernel half",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::layout::{LAZY_REGION_BASE, LAZY_REGION_END, STACK_REGION_END};

    #[test]
    fn every_region_has_its_name() {
        let cases = [
            (0x10, "null"),
            (USER_TEXT_BASE + 0x123, "program text"),
            (USER_TEXT_BASE - 1, "user half"),
            (TASK_PAGE_BASE + 0xfff, "task page"),
            (TASK_PAGE_BASE + 0x1000, "user half"),
            (LAZY_REGION_BASE, "lazy page 0"),
            (LAZY_REGION_BASE + 0x2fff, "lazy page 2"),
            (LAZY_REGION_END, "user half"),
            (STACK_REGION_BASE + 3 * STACK_SLOT_SIZE - 16, "stack 3, 16 bytes below its end"),
            (STACK_REGION_BASE + 3 * STACK_SLOT_SIZE, "stack 4, 2097152 bytes below its end"),
            (STACK_REGION_END, "user half"),
            (LOWER_END, "neither half"),
            (UPPER_BASE - 1, "neither half"),
            (LINEAR_OFFSET + 0x800_0000, "kernel, linear map of RAM"),
            (IMAGE_OFFSET + 0x8_0000, "kernel, image"),
            (DEVICE_OFFSET + 0xfe20_1000, "kernel, devices"),
            (u64::MAX, "kernel, devices"),
        ];
        for (address, text) in cases {
            assert_eq!(Place(address).to_string(), text, "{address:#x}");
        }
    }
}
