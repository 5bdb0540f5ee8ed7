//! `console`: what the serial console has received and lost.

use crate::console_input::ConsoleInput;
use core::fmt::{Result, Write};

/// Writes the counters of the console's input.
pub fn console(input: &ConsoleInput, out: &mut dyn Write) -> Result {
    writeln!(out, "received_bytes: {}", input.received_bytes)?;
    writeln!(out, "waiting_bytes: {}", input.waiting_bytes())?;
    writeln!(out, "overrun_count: {}", input.overrun_count)?;
    writeln!(out, "line_error_count: {}", input.line_error_count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixtures;

    #[test]
    fn each_counter_has_a_line() {
        let mut input = ConsoleInput::new();
        for data in [b'a' as u32, b'b' as u32, 1 << 11 | b'c' as u32, 1 << 10] {
            input.receive(data);
        }
        input.take();
        let mut text = String::new();
        console(&input, &mut text).unwrap();
        let lines = ["received_bytes: 3", "waiting_bytes: 2", "overrun_count: 1", "line_error_count: 1"];
        assert_eq!(fixtures::lines(&text), lines);
    }
}
