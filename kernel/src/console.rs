//! The serial console: the first PL011. Output is polled; input raises an interrupt, which moves it to a ring.

use crate::cpu::without_interrupts;
use crate::firmware::{self, Clock};
use crate::pins;
use arm_pl011_uart::{DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer};
use core::fmt::{self, Write};
use core::ptr::NonNull;
use tinyos::console_input::CONSOLE_INPUT;
use tinyos::memory::layout::DEVICE_OFFSET;
use tinyos::sequence_lock::SequenceLock;

const UART_BASE: u64 = 0xfe20_1000;
const BAUD_RATE: u32 = 115_200;
/// The FIFO is half full; or it is not empty, and nothing has arrived for a while.
const RECEIVE_INTERRUPTS: Interrupts = Interrupts::RXI.union(Interrupts::RTI);

static UART: SequenceLock<Option<Uart<'static>>> = SequenceLock::new(None);

/// Sets up the UART on its pins, and enables its input interrupt. Returns the clock that it runs by.
pub fn initialize() -> Clock {
    pins::connect_uart();
    let clock = firmware::uart_clock();
    if start(clock.hz) {
        return clock;
    }
    start(firmware::DEFAULT_UART_CLOCK);
    Clock::default_because("the firmware's does not make the baud rate")
}

/// Starts the UART by a clock of `hz`. Returns false if that cannot make the baud rate.
fn start(hz: u32) -> bool {
    let registers = (UART_BASE + DEVICE_OFFSET) as *mut PL011Registers;
    let Some(registers) = NonNull::new(registers) else { return false };
    // SAFETY: these are the UART's registers, mapped as device memory; nothing else uses them.
    let mut uart = Uart::new(unsafe { UniqueMmioPointer::new(registers) });
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    if uart.enable(line, BAUD_RATE, hz).is_err() {
        return false;
    }
    uart.set_interrupt_masks(RECEIVE_INTERRUPTS);
    *UART.write() = Some(uart);
    true
}

/// The next byte of input, if there is one. Only the shell reads input.
pub fn read() -> Option<u8> {
    without_interrupts(|| {
        let (byte, was_full) = {
            let mut input = CONSOLE_INPUT.write();
            let was_full = input.is_full();
            (input.take(), was_full)
        };
        if was_full {
            receive();
        }
        byte
    })
}

/// Whether there is input. The caller has masked interrupts.
pub fn has_input() -> bool {
    CONSOLE_INPUT.read(|input| input.waiting_bytes() > 0)
}

/// Handles the UART's interrupt: moves the received bytes to the ring. While the ring is full, bytes stay in the UART
/// and its interrupts stay off, so that a sender that heeds flow control, such as QEMU, waits.
pub fn receive() {
    let mut uart = UART.write();
    let Some(uart) = uart.as_mut() else { return };
    uart.clear_interrupts(Interrupts::all());
    let mut input = CONSOLE_INPUT.write();
    while !uart.is_rx_fifo_empty() && !input.is_full() {
        // SAFETY: this is the UART's data register, mapped as device memory, and the lock of the UART is held. The
        // driver's own `read_word` drops the byte that carries the overrun flag.
        input.receive(unsafe { ((UART_BASE + DEVICE_OFFSET) as *const u32).read_volatile() });
    }
    uart.set_interrupt_masks(if input.is_full() { Interrupts::empty() } else { RECEIVE_INTERRUPTS });
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

/// Sends a byte. Waits for room in the FIFO without masking interrupts, so that no tick and no input is lost meanwhile.
#[inline(never)]
fn write_byte(byte: u8) {
    while !without_interrupts(|| try_to_write(byte)) {
        core::hint::spin_loop();
    }
}

/// Puts a byte into the UART's FIFO. Returns false if that is full.
fn try_to_write(byte: u8) -> bool {
    let mut uart = UART.write();
    let Some(uart) = uart.as_mut() else { return true };
    let has_room = !uart.is_tx_fifo_full();
    if has_room {
        uart.write_word(byte);
    }
    has_room
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
