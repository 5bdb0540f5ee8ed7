//! The pins of the serial console (BCM2711 ARM Peripherals, chapter 5).

use tinyos::memory::layout::DEVICE_OFFSET;

const GPIO: u64 = 0xfe20_0000 + DEVICE_OFFSET;
/// `GPFSEL1`: the functions of pins 10 to 19, three bits each.
const FUNCTIONS: u64 = GPIO + 0x04;
/// `GPIO_PUP_PDN_CNTRL_REG0`: the pulls of pins 0 to 15, two bits each.
const PULLS: u64 = GPIO + 0xe4;
/// TXD0 and RXD0.
const UART_PINS: [u32; 2] = [14, 15];
/// ALT0, by which pins 14 and 15 belong to the first PL011.
const ALTERNATE_0: u32 = 0b100;

/// Gives pins 14 and 15 to the first PL011, without pulls. The firmware may have given that UART to Bluetooth.
pub fn connect_uart() {
    for pin in UART_PINS {
        // SAFETY: these are registers of the GPIO block, mapped as device memory; nothing else uses them.
        unsafe {
            set_field(PULLS, pin * 2, 2, 0);
            set_field(FUNCTIONS, (pin - 10) * 3, 3, ALTERNATE_0);
        }
    }
}

/// # Safety
///
/// A register that holds settings is at `register`, and nothing else uses it.
unsafe fn set_field(register: u64, shift: u32, width: u32, value: u32) {
    let register = register as *mut u32;
    let mask = ((1 << width) - 1) << shift;
    // SAFETY: the caller promises that it is mapped.
    unsafe { register.write_volatile(register.read_volatile() & !mask | value << shift) };
}
