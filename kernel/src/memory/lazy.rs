//! Lazy pages: reserved ranges whose pages get memory only when they are touched.
//!
//! Record `n` is the page at `LAZY_REGION_BASE + n * PAGE_SIZE`, so a fault finds its record by a subtraction.

use super::layout::{LAZY_REGION_BASE, LAZY_REGION_END, MAX_LAZY_PAGES, MAX_LAZY_RANGES, MAX_TASKS, PAGE_SIZE};
use super::quotas::{Quota, Quotas};

/// A reserved page. It is pending, and not mapped, while neither `is_allocated` nor `is_zero_page` is set; the two are
/// never set at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LazyPage {
    /// 0 in a record that is not in use.
    pub virtual_address: u64,
    /// Physical address of its own frame, or of the shared zero page; 0 while pending.
    pub physical_address: u64,
    /// The page has a frame of its own, mapped read-write. A page that is mapped to the zero page is not allocated.
    pub is_allocated: bool,
    /// The page is mapped to the shared zero page, read-only.
    pub is_zero_page: bool,
    /// Faults resolved on this page, including access flag faults.
    pub access_count: u32,
    /// Generic timer count when its frame was allocated; 0 before.
    pub allocation_time: u64,
    /// Task that reserved it.
    pub owner: u16,
}

impl LazyPage {
    pub const UNUSED: LazyPage = LazyPage {
        virtual_address: 0,
        physical_address: 0,
        is_allocated: false,
        is_zero_page: false,
        access_count: 0,
        allocation_time: 0,
        owner: 0,
    };
}

/// A reserved range.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LazyRange {
    /// Number of its first record.
    pub first: u32,
    /// Number of its pages; 0 in an entry that is not in use.
    pub pages: u32,
    /// Task that reserved it.
    pub owner: u16,
}

#[repr(C)]
pub struct LazyPageAllocator {
    /// Physical address of the shared zero page.
    pub zero_frame: u64,
    /// Pages now: reserved; with a frame of their own; mapped to the zero page.
    pub reserved_pages: u32,
    pub allocated_pages: u32,
    pub zero_pages: u32,
    /// Faults by kind: mapped the zero page; allocated a frame for a pending page; replaced the zero page.
    pub zero_fault_count: u64,
    pub allocate_fault_count: u64,
    pub upgrade_fault_count: u64,
    /// Access flag faults: accesses to a page whose access flag was clear.
    pub access_flag_count: u64,
    /// Pages that contained only zeros and were mapped to the zero page again.
    pub fold_count: u64,
    /// Records at which the next search for a free run, the ageing, and the folding continue.
    next_free: u32,
    pub(super) aging_hand: u32,
    pub(super) folding_hand: u32,
    /// Number + 1 of the record whose fault is being resolved, which must not be folded; 0 for none.
    pub(super) faulting: u32,
    /// The same of the last fault that was resolved.
    pub(super) faulted: u32,
    /// Ranges of each task, and the most that it may have at once.
    pub quotas: Quotas,
    /// Pages that each task has reserved, and the most that it may reserve.
    pub page_quotas: Quotas,
    pub ranges: [LazyRange; MAX_LAZY_RANGES],
    pub pages: [LazyPage; MAX_LAZY_PAGES],
}

impl LazyPageAllocator {
    pub const fn new() -> Self {
        Self {
            zero_frame: 0,
            reserved_pages: 0,
            allocated_pages: 0,
            zero_pages: 0,
            zero_fault_count: 0,
            allocate_fault_count: 0,
            upgrade_fault_count: 0,
            access_flag_count: 0,
            fold_count: 0,
            next_free: 0,
            aging_hand: 0,
            folding_hand: 0,
            faulting: 0,
            faulted: 0,
            quotas: [Quota::EMPTY; MAX_TASKS + 1],
            page_quotas: [Quota::EMPTY; MAX_TASKS + 1],
            ranges: [LazyRange { first: 0, pages: 0, owner: 0 }; MAX_LAZY_RANGES],
            pages: [LazyPage::UNUSED; MAX_LAZY_PAGES],
        }
    }

    /// Reserves `pages` pages for task `owner`. Returns the number of the range's first record, or None if no run of
    /// that many records or no range entry is free.
    pub fn reserve(&mut self, owner: u16, pages: u32) -> Option<u32> {
        if pages == 0 || pages as usize > MAX_LAZY_PAGES {
            return None;
        }
        let entry = self.ranges.iter().position(|range| range.pages == 0)?;
        let first = self.free_run(self.next_free as usize, pages).or_else(|| self.free_run(0, pages))?;
        for record in first..first + pages {
            self.pages[record as usize] = LazyPage { virtual_address: address_of(record), owner, ..LazyPage::UNUSED };
        }
        self.ranges[entry] = LazyRange { first, pages, owner };
        self.quotas[owner as usize].used += 1;
        self.page_quotas[owner as usize].used += pages;
        self.reserved_pages += pages;
        self.next_free = (first + pages) % MAX_LAZY_PAGES as u32;
        Some(first)
    }

    /// Index in `ranges` of the range of `owner` that starts at `address`.
    pub fn range_at(&self, owner: u16, address: u64) -> Option<usize> {
        self.ranges
            .iter()
            .position(|range| range.pages > 0 && range.owner == owner && address_of(range.first) == address)
    }

    /// Removes the range at index `entry`, whose pages must be pending. Returns the range.
    pub fn remove_range(&mut self, entry: usize) -> LazyRange {
        let range = core::mem::replace(&mut self.ranges[entry], LazyRange { first: 0, pages: 0, owner: 0 });
        for record in range.first..range.first + range.pages {
            debug_assert!(!self.pages[record as usize].is_allocated);
            self.pages[record as usize] = LazyPage::UNUSED;
        }
        self.reserved_pages -= range.pages;
        self.quotas[range.owner as usize].used -= 1;
        self.page_quotas[range.owner as usize].used -= range.pages;
        range
    }

    /// Whether a page that contains only zeros may be folded. Not the page of the fault that is being resolved; nor the
    /// page next to it that has just been given a frame, for one access to both needs both at once: each of its faults
    /// would take the frame of the other, for ever.
    pub(super) fn may_fold(&self, record: u32) -> bool {
        let number = record + 1;
        let is_neighbour = self.faulting != 0 && number.abs_diff(self.faulting) == 1;
        number != self.faulting && !(is_neighbour && number == self.faulted)
    }

    fn free_run(&self, from: usize, pages: u32) -> Option<u32> {
        let mut length = 0;
        for (record, page) in self.pages.iter().enumerate().skip(from) {
            length = if page.virtual_address == 0 { length + 1 } else { 0 };
            if length == pages {
                return Some(record as u32 + 1 - pages);
            }
        }
        None
    }
}

impl Default for LazyPageAllocator {
    fn default() -> Self {
        Self::new()
    }
}

/// Number of the record whose page contains `address`.
#[inline]
pub fn record_of(address: u64) -> Option<usize> {
    (LAZY_REGION_BASE..LAZY_REGION_END)
        .contains(&address)
        .then(|| ((address - LAZY_REGION_BASE) / PAGE_SIZE as u64) as usize)
}

/// Address of a record's page.
#[inline]
pub fn address_of(record: u32) -> u64 {
    LAZY_REGION_BASE + record as u64 * PAGE_SIZE as u64
}
