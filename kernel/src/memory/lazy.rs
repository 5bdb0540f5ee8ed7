//! Lazy pages: reserved ranges whose pages exist only once touched.
//!
//! Record `n` is the page at `LAZY_REGION_BASE + n * PAGE_SIZE`, so that a fault finds its record by a subtraction.

use super::layout::{LAZY_REGION_BASE, LAZY_REGION_END, MAX_LAZY_PAGES, MAX_LAZY_RANGES, PAGE_SIZE};

/// A reserved page. Pending: neither `is_allocated` nor `is_zero_page`, and mapped nowhere.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LazyPage {
    /// 0 in a record that is not in use.
    pub virtual_address: u64,
    /// Of its own frame, or of the shared zero page; 0 while pending.
    pub physical_address: u64,
    /// It has a frame of its own, mapped read-write.
    pub is_allocated: bool,
    /// The shared zero page is mapped there, read-only.
    pub is_zero_page: bool,
    /// Task that reserved it.
    pub owner: u16,
    /// Faults resolved here, and times that its cleared access flag was hit.
    pub access_count: u32,
    /// Generic timer count when it was given its frame; 0 before.
    pub allocation_time: u64,
}

impl LazyPage {
    pub const UNUSED: LazyPage = LazyPage {
        virtual_address: 0,
        physical_address: 0,
        is_allocated: false,
        is_zero_page: false,
        owner: 0,
        access_count: 0,
        allocation_time: 0,
    };
}

/// A range as it was reserved.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LazyRange {
    /// Its first record.
    pub first: u32,
    /// Its pages; 0 in an entry that is not in use.
    pub pages: u32,
    /// Task that reserved it.
    pub owner: u16,
}

#[repr(C)]
pub struct LazyPageAllocator {
    /// Physical address of the shared zero page.
    pub zero_frame: u64,
    /// Pages reserved now; those of them with a frame of their own; those on the zero page.
    pub reserved_pages: u32,
    pub allocated_pages: u32,
    pub zero_pages: u32,
    /// Faults by what they did: mapped the zero page, allocated for a pending page, replaced the zero page.
    pub zero_fault_count: u64,
    pub allocate_fault_count: u64,
    pub upgrade_fault_count: u64,
    /// Accesses that hit a cleared access flag.
    pub access_flag_count: u64,
    /// Pages folded back onto the zero page.
    pub fold_count: u64,
    /// Where the next search for a free run starts, and where the ageing and the folding scan go on.
    next_free: u32,
    pub(super) aging_hand: u32,
    pub(super) folding_hand: u32,
    /// Record + 1 of the page whose fault is being resolved, which is not folded; 0 for none.
    pub(super) faulting: u32,
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
            ranges: [LazyRange { first: 0, pages: 0, owner: 0 }; MAX_LAZY_RANGES],
            pages: [LazyPage::UNUSED; MAX_LAZY_PAGES],
        }
    }

    /// Reserves `pages` for task `owner`; gives the range's first record. None when no run of that many records is
    /// free, or no range entry is.
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
        self.reserved_pages += pages;
        self.next_free = (first + pages) % MAX_LAZY_PAGES as u32;
        Some(first)
    }

    /// The range of `owner` that starts at `address`, by its place in `ranges`.
    pub fn range_at(&self, owner: u16, address: u64) -> Option<usize> {
        self.ranges
            .iter()
            .position(|range| range.pages > 0 && range.owner == owner && address_of(range.first) == address)
    }

    /// Drops the range at place `entry`. Its pages have been made pending before.
    pub fn remove_range(&mut self, entry: usize) -> LazyRange {
        let range = core::mem::replace(&mut self.ranges[entry], LazyRange { first: 0, pages: 0, owner: 0 });
        for record in range.first..range.first + range.pages {
            debug_assert!(!self.pages[record as usize].is_allocated);
            self.pages[record as usize] = LazyPage::UNUSED;
        }
        self.reserved_pages -= range.pages;
        range
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

/// The number of the record whose page holds `address`.
#[inline]
pub fn record_of(address: u64) -> Option<usize> {
    (LAZY_REGION_BASE..LAZY_REGION_END)
        .contains(&address)
        .then(|| ((address - LAZY_REGION_BASE) / PAGE_SIZE as u64) as usize)
}

/// The address of a record's page.
#[inline]
pub fn address_of(record: u32) -> u64 {
    LAZY_REGION_BASE + record as u64 * PAGE_SIZE as u64
}
