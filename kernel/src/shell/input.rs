//! The line editor.

use crate::{console, print, println};

const CAPACITY: usize = 120;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
const CANCEL: u8 = 0x03;
const ERASE_LINE: u8 = 0x15;

pub struct Line {
    bytes: [u8; CAPACITY],
    length: usize,
    /// Whether the last byte was a carriage return: a line feed after it is ignored.
    after_return: bool,
}

impl Line {
    pub fn new() -> Self {
        Line { bytes: [0; CAPACITY], length: 0, after_return: false }
    }

    pub fn text(&self) -> &str {
        // The line has only printable ASCII.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Reads the input so far. Returns the line when it is complete.
    pub fn read(&mut self) -> Option<&str> {
        while let Some(byte) = console::read() {
            let follows_return = core::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\r' | b'\n' => {
                    println!();
                    return Some(self.text());
                }
                BACKSPACE | DELETE if self.length > 0 => {
                    self.length -= 1;
                    print!("\x08 \x08");
                }
                CANCEL | ERASE_LINE => {
                    for _ in 0..core::mem::take(&mut self.length) {
                        print!("\x08 \x08");
                    }
                }
                b' '..=b'~' if self.length < CAPACITY => {
                    self.bytes[self.length] = byte;
                    self.length += 1;
                    print!("{}", byte as char);
                }
                _ => {}
            }
        }
        None
    }
}
