//! The map of virtual memory, by [`layout`](super::layout) and the RAM of the board.

use super::layout::*;
use crate::board::ram::{MAX_RANGES, RamRanges};

/// What a range of virtual memory is for.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeKind {
    /// The programs, the same in every task's space.
    Programs = 0,
    /// One page of each task's own.
    TaskPage = 1,
    /// Lazy pages: record `n` is page `n` of the range.
    LazyPages = 2,
    /// Dynamic stacks.
    Stacks = 3,
    /// RAM, by physical address.
    LinearMap = 4,
    /// The kernel's image lies in this range.
    Image = 5,
    /// Device registers, by physical address.
    Devices = 6,
    /// An entry without a range.
    Unused = 7,
}

/// A range of virtual addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Physical address of `start` in the linear map, the image and the devices; 0 in the other ranges, whose pages may
    /// be anywhere in the pool.
    pub physical: u64,
    pub kind: RangeKind,
}

/// Entries of the map of virtual memory.
pub const MEMORY_RANGES: usize = 6 + MAX_RANGES;

/// The map of virtual memory, as `DEBUGGER_MEMORY_MAP` exports it.
pub const fn memory_map(ram: &RamRanges) -> [MemoryRange; MEMORY_RANGES] {
    let task_page = (TASK_PAGE_BASE, TASK_PAGE_BASE + PAGE_SIZE as u64);
    let mut map = [MemoryRange { start: 0, end: 0, physical: 0, kind: RangeKind::Unused }; MEMORY_RANGES];
    map[0] = MemoryRange::anywhere((USER_TEXT_BASE, USER_TEXT_END), RangeKind::Programs);
    map[1] = MemoryRange::anywhere(task_page, RangeKind::TaskPage);
    map[2] = MemoryRange::anywhere((LAZY_REGION_BASE, LAZY_REGION_END), RangeKind::LazyPages);
    map[3] = MemoryRange::anywhere((STACK_REGION_BASE, STACK_REGION_END), RangeKind::Stacks);
    map[4] = MemoryRange::at_offset(IMAGE_OFFSET, (0, POOL_BASE), RangeKind::Image);
    map[5] = MemoryRange::at_offset(DEVICE_OFFSET, DEVICES, RangeKind::Devices);
    let mut index = 0;
    while index < ram.as_slice().len() {
        map[6 + index] = MemoryRange::at_offset(LINEAR_OFFSET, ram.as_slice()[index], RangeKind::LinearMap);
        index += 1;
    }
    map
}

impl MemoryRange {
    /// The range that maps physical memory from `start` to `end` at a constant offset.
    const fn at_offset(offset: u64, (start, end): (u64, u64), kind: RangeKind) -> Self {
        MemoryRange { start: start + offset, end: end + offset, physical: start, kind }
    }

    /// The range whose pages may be anywhere in the pool.
    const fn anywhere((start, end): (u64, u64), kind: RangeKind) -> Self {
        MemoryRange { start, end, physical: 0, kind }
    }
}
