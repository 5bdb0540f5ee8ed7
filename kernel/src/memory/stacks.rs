//! Dynamic stacks: their records, and their addresses.
//!
//! A stack grows down from `base_address`. `[base_address - current_size, base_address)` is mapped. The stack may grow
//! down to `base_address - max_size`. The page below that is its guard page, which is never mapped.

use super::growth::{DESCENT_MILLISECONDS, GrowthPolicy, History, pages_to_add};
use super::layout::{MAX_STACKS, PAGE_SIZE, STACK_LIMIT, STACK_REGION_BASE, STACK_REGION_END, STACK_SLOT_SIZE};

/// A dynamic stack. The record of an ended stack is kept until its slot is reused.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DynamicStack {
    /// Slot number + 1; 0 in a slot that was never used.
    pub id: u32,
    /// One past the highest byte of the stack.
    pub base_address: u64,
    /// Bytes mapped.
    pub current_size: usize,
    /// The most bytes that may be mapped.
    pub max_size: usize,
    pub growth_count: u32,
    pub shrink_count: u32,
    /// Generic timer count when the kernel last recorded the stack pointer, or last shrank the stack.
    pub last_access_time: u64,
    pub is_active: bool,
    pub policy: GrowthPolicy,
    /// Task that runs on it.
    pub owner: u16,
    /// `SP_EL0` when the kernel last recorded it: at a fault or a system call of its task, or at a switch away from it.
    pub stack_pointer: u64,
    /// The most bytes that were ever mapped.
    pub high_water_mark: usize,
    /// First address of the guard page.
    pub guard_address: u64,
    /// Generic timer count of the last growth.
    pub last_growth_time: u64,
    /// Pages added by the last growth; 0 before the first.
    pub last_growth_pages: u32,
    /// Total number of pages freed by shrinking.
    pub pages_returned: u32,
}

impl DynamicStack {
    const EMPTY: DynamicStack = DynamicStack {
        id: 0,
        base_address: 0,
        current_size: 0,
        max_size: 0,
        growth_count: 0,
        shrink_count: 0,
        last_access_time: 0,
        is_active: false,
        policy: GrowthPolicy::Conservative,
        owner: 0,
        stack_pointer: 0,
        high_water_mark: 0,
        guard_address: 0,
        last_growth_time: 0,
        last_growth_pages: 0,
        pages_returned: 0,
    };

    /// The lowest mapped address.
    pub fn lowest_mapped(&self) -> u64 {
        self.base_address - self.current_size as u64
    }

    /// The lowest address that the stack may grow to.
    pub fn lowest_allowed(&self) -> u64 {
        self.base_address - self.max_size as u64
    }

    /// The input of the predictive policy, at generic timer count `now`. A descent lasts while growths are less than
    /// `descent_counts` apart.
    pub fn history(&self, now: u64, descent_counts: u64) -> History {
        History {
            mapped: (self.current_size / PAGE_SIZE) as u32,
            high_water: (self.high_water_mark / PAGE_SIZE) as u32,
            last_growth: self.last_growth_pages,
            is_descending: self.last_growth_pages > 0 && now.wrapping_sub(self.last_growth_time) < descent_counts,
        }
    }
}

#[repr(C)]
pub struct DynamicStackManager {
    /// ID of the stack that is growing now, which the pressure strategies do not shrink; 0 for none.
    pub growing: u32,
    /// [`DESCENT_MILLISECONDS`] in counts of the generic timer.
    descent_counts: u64,
    pub stacks: [DynamicStack; MAX_STACKS],
}

impl DynamicStackManager {
    pub const fn new() -> Self {
        Self { growing: 0, descent_counts: 0, stacks: [DynamicStack::EMPTY; MAX_STACKS] }
    }

    /// Sets the growth policies to a generic timer of `frequency` counts a second.
    pub fn initialize(&mut self, frequency: u64) {
        self.descent_counts = frequency * DESCENT_MILLISECONDS / 1000;
    }

    /// The pages by which a stack grows at generic timer count `now`; see [`pages_to_add`].
    pub fn pages_to_add(&self, slot: usize, needed: u32, now: u64) -> u32 {
        let stack = &self.stacks[slot];
        let room = ((stack.max_size - stack.current_size) / PAGE_SIZE) as u32;
        pages_to_add(stack.policy, needed, room, stack.history(now, self.descent_counts))
    }

    /// Creates a stack without mapping a page. Returns its slot, or None if all slots are taken.
    pub fn create(&mut self, owner: u16, policy: GrowthPolicy, max_size: usize) -> Option<usize> {
        let slot = self.stacks.iter().position(|stack| !stack.is_active)?;
        let base_address = STACK_REGION_BASE + (slot as u64 + 1) * STACK_SLOT_SIZE;
        let max_size = max_size.clamp(1, STACK_LIMIT).next_multiple_of(PAGE_SIZE);
        self.stacks[slot] = DynamicStack {
            id: slot as u32 + 1,
            is_active: true,
            policy,
            owner,
            base_address,
            max_size,
            stack_pointer: base_address,
            guard_address: base_address - (max_size + PAGE_SIZE) as u64,
            ..DynamicStack::EMPTY
        };
        Some(slot)
    }

    pub fn active_count(&self) -> u32 {
        self.stacks.iter().filter(|stack| stack.is_active).count() as u32
    }
}

impl Default for DynamicStackManager {
    fn default() -> Self {
        Self::new()
    }
}

/// The stack slot that contains `address`.
#[inline]
pub fn slot_of(address: u64) -> Option<usize> {
    (STACK_REGION_BASE..STACK_REGION_END)
        .contains(&address)
        .then(|| ((address - STACK_REGION_BASE) / STACK_SLOT_SIZE) as usize)
}
