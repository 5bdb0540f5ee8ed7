//! The PL011 of the Raspberry Pi 4, as QEMU has it: usable without being set up.

use core::fmt;

const DATA: *mut u32 = 0xfe20_1000 as *mut u32;
const FLAGS: *const u32 = 0xfe20_1018 as *const u32;
const EMPTY: u32 = 1 << 4;
const FULL: u32 = 1 << 5;

pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: these are the device's registers.
            unsafe {
                while FLAGS.read_volatile() & FULL != 0 {}
                DATA.write_volatile(u32::from(byte));
            }
        }
        Ok(())
    }
}

/// Waits for a byte of the serial line.
pub fn read() -> u8 {
    // SAFETY: these are the device's registers.
    unsafe {
        while FLAGS.read_volatile() & EMPTY != 0 {}
        DATA.read_volatile() as u8
    }
}

#[macro_export]
macro_rules! say {
    ($($arguments:tt)*) => {{
        use core::fmt::Write;
        let _ = writeln!($crate::console::Console, $($arguments)*);
    }};
}
