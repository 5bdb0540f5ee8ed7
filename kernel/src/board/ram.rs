//! Which physical addresses are RAM.

use core::fmt;

/// Ranges that are kept; a Raspberry Pi 4 has three at most.
pub const MAX_RANGES: usize = 4;
/// The kernel maps RAM by blocks of this size.
const BLOCK: u64 = 2 * 1024 * 1024;
/// Where the BCM2711 can have RAM: the peripherals are in between, and nothing is beyond.
const WINDOWS: [(u64, u64); 2] = [(0, 0xfc00_0000), (0x1_0000_0000, 0x4_0000_0000)];

/// Ranges of RAM, start and end, in ascending order. They do not touch each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamRanges {
    ranges: [(u64, u64); MAX_RANGES],
    count: usize,
    /// Ranges that were left out, as there were too many.
    left_out: usize,
}

impl RamRanges {
    pub const NONE: RamRanges = RamRanges { ranges: [(0, 0); MAX_RANGES], count: 0, left_out: 0 };

    pub const fn one(range: (u64, u64)) -> Self {
        let mut ranges = [(0, 0); MAX_RANGES];
        ranges[0] = range;
        RamRanges { ranges, count: 1, left_out: 0 }
    }

    pub const fn as_slice(&self) -> &[(u64, u64)] {
        self.ranges.split_at(self.count).0
    }

    /// Whether all of a range is RAM.
    pub fn contains(&self, start: u64, end: u64) -> bool {
        self.as_slice().iter().any(|&(first, last)| first <= start && end <= last)
    }

    /// Adds `size` bytes from `start`, as far as they can be RAM. What touches a known range is joined to it.
    pub fn add(&mut self, start: u64, size: u64) {
        let end = start.saturating_add(size);
        for (first, last) in WINDOWS {
            if start.max(first) < end.min(last) {
                self.join(start.max(first), end.min(last));
            }
        }
    }

    /// The same without the parts of blocks at the ends of ranges.
    pub fn whole_blocks(&self) -> Self {
        let mut whole = RamRanges { left_out: self.left_out, ..RamRanges::NONE };
        for &(start, end) in self.as_slice() {
            let (start, end) = (start.next_multiple_of(BLOCK), end / BLOCK * BLOCK);
            if start < end {
                whole.join(start, end);
            }
        }
        whole
    }

    fn join(&mut self, mut start: u64, mut end: u64) {
        let mut kept = 0;
        for index in 0..self.count {
            let (first, last) = self.ranges[index];
            if last < start || end < first {
                self.ranges[kept] = (first, last);
                kept += 1;
            } else {
                (start, end) = (start.min(first), end.max(last));
            }
        }
        self.count = kept;
        if kept == MAX_RANGES {
            self.left_out += 1;
            return;
        }
        self.ranges[kept] = (start, end);
        self.count += 1;
        self.ranges[..self.count].sort_unstable();
    }
}

impl fmt::Display for RamRanges {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for (index, (start, end)) in self.as_slice().iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(out, "{separator}{start:#x} to {end:#x} ({} MiB)", (end - start) >> 20)?;
        }
        match self.left_out {
            0 => Ok(()),
            count => write!(out, ", and {count} more that stay unused"),
        }
    }
}
