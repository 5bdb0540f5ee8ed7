//! The firmware's mailbox, as far as it is asked for the rate of a clock: the property channel
//! (<https://github.com/raspberrypi/firmware/wiki/Mailbox-property-interface>).

use super::Reason;

/// Reads of a status register before the firmware counts as silent: about 0.1 s on the board, where it answers within
/// a millisecond. A number of reads, as the timer is not trusted yet.
pub const MAX_POLLS: u32 = 1_000_000;
/// The channel of property messages; the lowest four bits of what is written and read.
pub const PROPERTY_CHANNEL: u32 = 8;
/// The clock of the first PL011.
pub const UART_CLOCK: u32 = 2;

const GET_CLOCK_RATE: u32 = 0x0003_0002;
const SUCCESS: u32 = 0x8000_0000;
/// In the word of the length: this is an answer.
const IS_ANSWER: u32 = 1 << 31;

/// A property message. The firmware writes its answer over it.
pub type Message = [u32; 8];

/// The registers of the mailbox.
pub trait Registers {
    /// Whether the firmware takes no more messages now.
    fn is_full(&mut self) -> bool;
    /// Whether there is no answer to read.
    fn is_empty(&mut self) -> bool;
    fn write(&mut self, message: u32);
    fn read(&mut self) -> u32;
}

/// Sends a message and waits for its answer; `message` is an address for the firmware, with the channel in the lowest
/// bits. Answers to others' messages are dropped. Takes `MAX_POLLS` reads of a register at most.
pub fn exchange(registers: &mut impl Registers, message: u32) -> Result<(), Reason> {
    let mut polls = 0..MAX_POLLS;
    while registers.is_full() {
        polls.next().ok_or("the firmware's mailbox stays full")?;
    }
    registers.write(message);
    for _ in polls {
        if !registers.is_empty() && registers.read() == message {
            return Ok(());
        }
    }
    Err("the firmware does not answer")
}

/// The message that asks for the rate of a clock.
pub const fn clock_rate_request(clock: u32) -> Message {
    [size_of::<Message>() as u32, 0, GET_CLOCK_RATE, 8, 0, clock, 0, 0]
}

/// The rate in Hz in the answer to `clock_rate_request`.
pub fn clock_rate(answer: &Message, clock: u32) -> Result<u32, Reason> {
    match *answer {
        [_, SUCCESS, GET_CLOCK_RATE, _, length, same, rate, _] if length & IS_ANSWER != 0 && same == clock => {
            if rate == 0 { Err("the firmware says that the clock is off") } else { Ok(rate) }
        }
        _ => Err("the firmware does not know the clock"),
    }
}
