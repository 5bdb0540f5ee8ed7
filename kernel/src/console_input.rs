//! Input of the serial console: a ring that the UART's interrupt fills and the shell empties.

use crate::sequence_lock::SequenceLock;

/// The input of the console; see [`crate::debugger`].
#[unsafe(no_mangle)]
#[used]
pub static CONSOLE_INPUT: SequenceLock<ConsoleInput> = SequenceLock::new(ConsoleInput::new());

/// Bytes that the ring holds: 90 ms at 115,200 baud.
pub const CAPACITY: usize = 1024;

/// `UARTDR`, besides the byte in bits 7:0: framing, parity or break error of this byte; bytes were lost before it.
const BYTE_ERRORS: u32 = 0b111 << 8;
const OVERRUN: u32 = 1 << 11;

#[repr(C)]
pub struct ConsoleInput {
    /// Bytes received without an error since boot.
    pub received_bytes: u64,
    /// Times that the UART's FIFO was full when another byte arrived, which was then lost.
    pub overrun_count: u64,
    /// Bytes with a framing or parity error, and breaks. They are not passed on.
    pub line_error_count: u64,
    /// Bytes that the shell has taken.
    pub taken_bytes: u64,
    /// Byte `n` since boot is at `n` modulo the capacity.
    bytes: [u8; CAPACITY],
}

impl ConsoleInput {
    pub const fn new() -> Self {
        Self { received_bytes: 0, overrun_count: 0, line_error_count: 0, taken_bytes: 0, bytes: [0; CAPACITY] }
    }

    /// Puts a word of the UART's data register into the ring, which must have room.
    ///
    /// The overrun flag says that bytes were lost before this one; the byte itself is valid.
    #[inline(never)]
    pub fn receive(&mut self, data: u32) {
        debug_assert!(!self.is_full());
        self.overrun_count += (data & OVERRUN != 0) as u64;
        if data & BYTE_ERRORS != 0 {
            self.line_error_count += 1;
            return;
        }
        self.bytes[self.received_bytes as usize % CAPACITY] = data as u8;
        self.received_bytes += 1;
    }

    /// Takes the oldest byte.
    pub fn take(&mut self) -> Option<u8> {
        if self.waiting_bytes() == 0 {
            return None;
        }
        let byte = self.bytes[self.taken_bytes as usize % CAPACITY];
        self.taken_bytes += 1;
        Some(byte)
    }

    /// Bytes that the shell has not taken yet.
    pub fn waiting_bytes(&self) -> u64 {
        self.received_bytes - self.taken_bytes
    }

    pub fn is_full(&self) -> bool {
        self.waiting_bytes() == CAPACITY as u64
    }
}

impl Default for ConsoleInput {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(input: &mut ConsoleInput) -> Vec<u8> {
        core::iter::from_fn(|| input.take()).collect()
    }

    #[test]
    fn bytes_come_out_as_they_went_in_also_around_the_end() {
        let mut input = ConsoleInput::new();
        let mut sent = 0u32;
        for round in 0..7 {
            let first = sent;
            while !input.is_full() && sent < first + 300 * round {
                input.receive(sent & 0xff);
                sent += 1;
            }
            let expected: Vec<_> = (first..sent).map(|byte| byte as u8).collect();
            assert_eq!(input.waiting_bytes(), expected.len() as u64);
            assert_eq!(taken(&mut input), expected);
        }
        assert!(sent > 3 * CAPACITY as u32);
        assert_eq!((input.received_bytes, input.taken_bytes), (sent as u64, sent as u64));
    }

    #[test]
    fn the_ring_holds_its_capacity() {
        let mut input = ConsoleInput::new();
        (0..CAPACITY).for_each(|_| input.receive(b'x' as u32));
        assert!(input.is_full());
        input.take();
        assert!(!input.is_full());
    }

    #[test]
    fn an_overrun_is_counted_and_its_byte_is_kept() {
        let mut input = ConsoleInput::new();
        input.receive(b'a' as u32);
        input.receive(1 << 11 | b'b' as u32);
        assert_eq!((input.overrun_count, input.line_error_count), (1, 0));
        assert_eq!(taken(&mut input), b"ab");
    }

    #[test]
    fn a_byte_with_an_error_is_counted_and_dropped() {
        let mut input = ConsoleInput::new();
        for error in [1 << 8, 1 << 9, 1 << 10, 1 << 11 | 1 << 8] {
            input.receive(error | b'a' as u32);
        }
        assert_eq!((input.overrun_count, input.line_error_count), (1, 4));
        assert_eq!(taken(&mut input), b"");
    }
}
