//! Numbers with their units.

use crate::memory::layout::PAGE_SIZE;
use core::fmt::{self, Display, Formatter, Write};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

/// A number of bytes, exact, in the largest of B, KiB and MiB that needs at most one half (`12 KiB`, `1.5 MiB`,
/// `2040 KiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    pub fn of_pages(pages: u64) -> Self {
        Size(pages * PAGE_SIZE as u64)
    }
}

impl Display for Size {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut text = Text::<32>::new();
        let bytes = self.0;
        for (unit, name) in [(MIB, "MiB"), (KIB, "KiB")] {
            if bytes >= unit && bytes.is_multiple_of(unit / 2) {
                let half = if bytes.is_multiple_of(unit) { "" } else { ".5" };
                write!(text, "{}{half} {name}", bytes / unit)?;
                return formatter.pad(text.as_str());
            }
        }
        write!(text, "{bytes} B")?;
        formatter.pad(text.as_str())
    }
}

/// A number of frames or pages and their size: `31200 (124800 KiB)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames(pub u64);

impl Display for Frames {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut text = Text::<64>::new();
        write!(text, "{} ({})", self.0, Size::of_pages(self.0))?;
        formatter.pad(text.as_str())
    }
}

/// A number of things: `1 page`, `3 pages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<'a>(pub u64, pub &'a str);

impl Display for Count<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(formatter, "{} {}{plural}", self.0, self.1)
    }
}

/// A number for which 0 means no value, shown as `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrDash(pub u64);

impl Display for OrDash {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { formatter.pad("-") } else { self.0.fmt(formatter) }
    }
}

/// A part of a whole as a bar of `width` characters: `[###-----]`. Only 0 gives an empty bar, and only the whole a full
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    pub part: u64,
    pub whole: u64,
    pub width: u32,
}

impl Gauge {
    /// Number of filled characters.
    fn filled(&self) -> u32 {
        if self.part == 0 || self.whole == 0 {
            return 0;
        }
        if self.part >= self.whole {
            return self.width;
        }
        let places = self.part.saturating_mul(self.width as u64) / self.whole;
        (places as u32).clamp(1, self.width.saturating_sub(1).max(1))
    }
}

impl Display for Gauge {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let filled = self.filled();
        formatter.write_char('[')?;
        for place in 0..self.width {
            formatter.write_char(if place < filled { '#' } else { '-' })?;
        }
        formatter.write_char(']')
    }
}

/// A time in counts of the generic timer: `12.345 ms`, or `7.250 us` below one millisecond. Further digits are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    pub counts: u64,
    /// Counts in a second: `CNTFRQ_EL0`. If it is 0, as some firmware leaves it, the counts are shown.
    pub frequency: u64,
}

impl Time {
    /// The time in whole nanoseconds; None if the frequency is unknown.
    pub fn nanoseconds(&self) -> Option<u64> {
        const BILLION: u64 = 1_000_000_000;
        let seconds = self.counts.checked_div(self.frequency)?;
        let rest = self.counts % self.frequency;
        // The rest is less than the frequency, which is at most 1 GHz (Arm ARM, "The Generic Timer").
        let part = rest.saturating_mul(BILLION) / self.frequency;
        Some(seconds.saturating_mul(BILLION).saturating_add(part))
    }
}

impl Display for Time {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut text = Text::<40>::new();
        match self.nanoseconds() {
            None => write!(text, "{}", Count(self.counts, "count"))?,
            Some(time) if time < 1_000_000 => write!(text, "{}.{:03} us", time / 1000, time % 1000)?,
            Some(time) => write!(text, "{}.{:03} ms", time / 1_000_000, time / 1000 % 1000)?,
        }
        formatter.pad(text.as_str())
    }
}

/// Up to `N` bytes of text, for text that is made of parts and then padded as a whole.
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(super) fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    pub(super) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("?")
    }
}

impl<const N: usize> Write for Text<N> {
    /// Returns an error if `text` does not fit: it is never cut off.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (4095, "4095 B"),
            (4096, "4 KiB"),
            (132 * 1024, "132 KiB"),
            (512 * 1024, "512 KiB"),
            (2040 * 1024, "2040 KiB"),
            (3 * 512 * 1024, "1.5 MiB"),
            (128 << 20, "128 MiB"),
            (u64::MAX, "18446744073709551615 B"),
            (u64::MAX - u64::MAX % (MIB / 2), "17592186044415.5 MiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn every_size_of_pages_can_be_read_back() {
        for pages in 0..70_000 {
            let text = Size::of_pages(pages).to_string();
            let (number, unit) = text.split_once(' ').unwrap();
            let unit = [("B", 1), ("KiB", KIB), ("MiB", MIB)].iter().find(|known| known.0 == unit).unwrap().1;
            let bytes = match number.strip_suffix(".5") {
                Some(whole) => whole.parse::<u64>().unwrap() * unit + unit / 2,
                None => number.parse::<u64>().unwrap() * unit,
            };
            assert_eq!(bytes, pages * PAGE_SIZE as u64, "{text}");
        }
    }

    #[test]
    fn units_take_a_width() {
        assert_eq!(format!("{:>8}|{:<8}|", Size(4096), Size(8192)), "   4 KiB|8 KiB   |");
        assert_eq!(format!("{:>12}", Frames(2)), "   2 (8 KiB)");
        assert_eq!(format!("{:>4}|{:>4}", OrDash(0), OrDash(7)), "   -|   7");
        assert_eq!(format!("{:>10}", Time { counts: 1, frequency: 1000 }), "  1.000 ms");
    }

    #[test]
    fn counts_agree_in_number() {
        assert_eq!(Count(1, "page").to_string(), "1 page");
        assert_eq!(Count(0, "page").to_string(), "0 pages");
    }

    #[test]
    fn only_0_is_an_empty_gauge_and_only_the_whole_a_full_one() {
        let show = |part, whole| Gauge { part, whole, width: 4 }.to_string();
        assert_eq!(show(0, 1000), "[----]");
        assert_eq!(show(1, 1000), "[#---]");
        assert_eq!(show(500, 1000), "[##--]");
        assert_eq!(show(999, 1000), "[###-]");
        assert_eq!(show(1000, 1000), "[####]");
        assert_eq!(show(2000, 1000), "[####]");
        assert_eq!(show(5, 0), "[----]");
        assert_eq!(Gauge { part: 1, whole: 2, width: 1 }.to_string(), "[#]");
        assert_eq!(Gauge { part: 1, whole: 2, width: 0 }.to_string(), "[]");
    }

    #[test]
    fn times_are_in_milliseconds_or_microseconds() {
        let show = |counts, frequency| Time { counts, frequency }.to_string();
        assert_eq!(show(0, 62_500_000), "0.000 us");
        assert_eq!(show(1, 62_500_000), "0.016 us");
        assert_eq!(show(62_499, 62_500_000), "999.984 us");
        assert_eq!(show(62_500, 62_500_000), "1.000 ms");
        assert_eq!(show(62_500_000 * 3600, 62_500_000), "3600000.000 ms");
        assert_eq!(show(u64::MAX, 1_000_000_000), "18446744073709.551 ms");
        assert_eq!(show(7, 0), "7 counts");
    }

    #[test]
    fn text_without_room_is_an_error() {
        let mut text = Text::<4>::new();
        assert_eq!(text.write_str("abc"), Ok(()));
        assert_eq!(text.write_str("de"), Err(fmt::Error));
        assert_eq!(text.as_str(), "abc");
    }
}
