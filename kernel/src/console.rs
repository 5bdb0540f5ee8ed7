//! The serial console: the first PL011. Output is polled; input raises an interrupt.

use arm_pl011_uart::{DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer};
use core::fmt::{self, Write};
use core::ptr::NonNull;
use tinyos::memory::layout::DEVICE_OFFSET;
use tinyos::sequence_lock::SequenceLock;

const UART_BASE: u64 = 0xfe20_1000;
/// The firmware's default clock of the PL011 (`init_uart_clock` in `config.txt`).
const UART_CLOCK_HZ: u32 = 48_000_000;
const BAUD_RATE: u32 = 115_200;

static UART: SequenceLock<Option<Uart<'static>>> = SequenceLock::new(None);

/// Sets up the UART and enables its input interrupt.
pub fn initialize() {
    let registers = (UART_BASE + DEVICE_OFFSET) as *mut PL011Registers;
    let Some(registers) = NonNull::new(registers) else { return };
    // SAFETY: these are the UART's registers, mapped as device memory; nothing else uses them.
    let mut uart = Uart::new(unsafe { UniqueMmioPointer::new(registers) });
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    // `enable` fails only for a baud rate that the clock cannot produce; this one it can.
    let _ = uart.enable(line, BAUD_RATE, UART_CLOCK_HZ);
    uart.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
    *UART.write() = Some(uart);
}

/// The next byte of input, if there is one. Only the shell reads input.
pub fn read() -> Option<u8> {
    crate::scheduler::without_interrupts(|| UART.write().as_mut()?.read_word().ok().flatten())
}

/// Whether there is input.
pub fn has_input() -> bool {
    UART.write().as_ref().is_some_and(|uart| !uart.is_rx_fifo_empty())
}

/// Acknowledges the UART's interrupt; the shell reads the input later.
pub fn acknowledge() {
    if let Some(uart) = UART.write().as_mut() {
        uart.clear_interrupts(Interrupts::all());
    }
}

/// Releases the console's lock for the failure message, even if its owner was writing.
///
/// # Safety
///
/// From now on, no part of the kernel runs but the failure handler.
pub unsafe fn force_release() {
    // SAFETY: the caller promises that the owner does not run again. A UART that is sending a byte accepts the next.
    unsafe { UART.force_release() };
}

fn write_byte(byte: u8) {
    crate::scheduler::without_interrupts(|| {
        if let Some(uart) = UART.write().as_mut() {
            while uart.is_tx_fifo_full() {
                core::hint::spin_loop();
            }
            uart.write_word(byte);
        }
    });
}

/// Writes text to the console.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                write_byte(b'\r');
            }
            write_byte(byte);
        }
        Ok(())
    }
}

/// Prints to the console, which never fails.
pub fn print(arguments: fmt::Arguments) {
    let _ = Console.write_fmt(arguments);
}

#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

#[macro_export]
macro_rules! println {
    () => { $crate::console::print(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($argument)*))) };
}
