//! The serial console: the first PL011, polled for output, interrupting on input.

use arm_pl011_uart::{DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer};
use core::fmt::{self, Write};
use core::ptr::NonNull;
use tinyos::memory::layout::DEVICE_OFFSET;
use tinyos::sequence_lock::SequenceLock;

const UART_BASE: u64 = 0xfe20_1000;
/// The firmware's default for the PL011, and what `init_uart_clock` sets.
const UART_CLOCK_HZ: u32 = 48_000_000;
const BAUD_RATE: u32 = 115_200;

static UART: SequenceLock<Option<Uart<'static>>> = SequenceLock::new(None);

/// Takes the UART and lets it interrupt when something was typed.
pub fn initialize() {
    let registers = (UART_BASE + DEVICE_OFFSET) as *mut PL011Registers;
    let Some(registers) = NonNull::new(registers) else { return };
    // SAFETY: mapped as device memory from now on, and nothing else uses these registers.
    let mut uart = Uart::new(unsafe { UniqueMmioPointer::new(registers) });
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    // The baud rate fits this clock: `enable` fails only where it does not.
    let _ = uart.enable(line, BAUD_RATE, UART_CLOCK_HZ);
    uart.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
    *UART.write() = Some(uart);
}

/// What was typed next, if anything. Safe from the shell only: interrupts do not read.
pub fn read() -> Option<u8> {
    crate::scheduler::without_interrupts(|| UART.write().as_mut()?.read_word().ok().flatten())
}

/// Whether something was typed.
pub fn has_input() -> bool {
    UART.write().as_ref().is_some_and(|uart| !uart.is_rx_fifo_empty())
}

/// Silences the UART's interrupt until what was typed has been read.
pub fn acknowledge() {
    if let Some(uart) = UART.write().as_mut() {
        uart.clear_interrupts(Interrupts::all());
    }
}

/// Takes the console away from whoever was writing: what a failure has to say comes first.
///
/// # Safety
///
/// Nothing of the kernel but the failure runs from now on.
pub unsafe fn force_release() {
    // SAFETY: by the caller's promise; a UART in the middle of a byte takes the next one as well.
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

/// The console as a place to write text to.
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

/// Writes to the console. Nothing can be done about a console that fails, and it does not.
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
