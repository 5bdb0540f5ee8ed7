use crate::board::mailbox::*;
use std::collections::VecDeque;

const MESSAGE: u32 = 0xc010_0040 | PROPERTY_CHANNEL;

/// A firmware that is busy for some reads, and then puts words into the mailbox.
#[derive(Default)]
struct Firmware {
    full_for: u32,
    answers_after: u32,
    answers: VecDeque<u32>,
    written: Vec<u32>,
    reads: u32,
}

impl Registers for Firmware {
    fn is_full(&mut self) -> bool {
        self.reads += 1;
        self.reads <= self.full_for
    }

    fn is_empty(&mut self) -> bool {
        self.reads += 1;
        self.written.is_empty() || self.answers.is_empty() || self.reads <= self.answers_after
    }

    fn write(&mut self, message: u32) {
        self.written.push(message);
    }

    fn read(&mut self) -> u32 {
        self.answers.pop_front().expect("a read of an empty mailbox")
    }
}

#[test]
fn an_answer_is_waited_for_and_others_are_dropped() {
    let mut firmware = Firmware {
        full_for: 3,
        answers_after: 100,
        answers: [0x1234_0001, MESSAGE ^ 0x10, MESSAGE].into(),
        ..Firmware::default()
    };
    assert_eq!(exchange(&mut firmware, MESSAGE), Ok(()));
    assert_eq!(firmware.written, [MESSAGE]);
    assert!(firmware.answers.is_empty());
}

#[test]
fn a_silent_firmware_is_given_up() {
    let mut full = Firmware { full_for: u32::MAX, ..Firmware::default() };
    assert_eq!(exchange(&mut full, MESSAGE), Err("the firmware's mailbox stays full"));
    assert!(full.written.is_empty());
    let mut silent = Firmware { full_for: 7, ..Firmware::default() };
    assert_eq!(exchange(&mut silent, MESSAGE), Err("the firmware does not answer"));
    for firmware in [full, silent] {
        assert!(firmware.reads <= MAX_POLLS + 1);
    }
}

#[test]
fn a_firmware_that_never_stops_answering_others_is_given_up() {
    struct Endless(u32);
    impl Registers for Endless {
        fn is_full(&mut self) -> bool {
            false
        }
        fn is_empty(&mut self) -> bool {
            self.0 += 1;
            false
        }
        fn write(&mut self, _: u32) {}
        fn read(&mut self) -> u32 {
            0
        }
    }
    let mut endless = Endless(0);
    assert_eq!(exchange(&mut endless, MESSAGE), Err("the firmware does not answer"));
    assert!(endless.0 <= MAX_POLLS);
}

#[test]
fn rates_in_answers() {
    let request = clock_rate_request(UART_CLOCK);
    assert_eq!(request, [32, 0, 0x30002, 8, 0, 2, 0, 0]);
    let answer = [32, 0x8000_0000, 0x30002, 8, 0x8000_0008, 2, 48_000_000, 0];
    assert_eq!(clock_rate(&answer, UART_CLOCK), Ok(48_000_000));
    for (index, wrong) in [(1, 0x8000_0001), (1, 0), (2, 0x30003), (4, 0), (5, 3)] {
        let mut answer = answer;
        answer[index] = wrong;
        assert_eq!(clock_rate(&answer, UART_CLOCK), Err("the firmware does not know the clock"));
    }
    assert_eq!(clock_rate(&request, UART_CLOCK), Err("the firmware does not know the clock"));
    assert_eq!(
        clock_rate(&[32, 0x8000_0000, 0x30002, 8, 0x8000_0008, 2, 0, 0], UART_CLOCK),
        Err("the firmware says that the clock is off")
    );
}
