//! The dynamic memory manager, which owns frames, stacks, lazy pages, pressure and address spaces.

use super::frames::{FrameAddress, FrameAllocator, FrameInfo, FrameUse};
use super::growth::GrowthPolicy;
use super::layout::{MAX_TASKS, PAGE_SIZE, TASK_PAGE_BASE, USER_TEXT_BASE};
use super::lazy::{LazyPage, LazyPageAllocator, address_of};
use super::pressure::{MemoryPressureHandler, Strategy};
use super::stacks::DynamicStackManager;
use super::switcher::{AddressSpace, HardwareContextSwitcher};
use super::tables::{self, Descriptor, Entry};
use crate::events::{EventKind, EventRing};
use crate::hardware;
use crate::sequence_lock::SequenceLock;

/// The manager. A debugger starts here to find the kernel's memory objects; see [`crate::debugger`].
#[unsafe(no_mangle)]
#[used]
pub static DYNAMIC_MEMORY_MANAGER: SequenceLock<DynamicMemoryManager> = SequenceLock::new(DynamicMemoryManager::new());

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DynamicMemoryStats {
    /// Stacks created since boot.
    pub total_dynamic_stacks: u32,
    /// Stacks that exist now.
    pub active_dynamic_stacks: u32,
    pub total_stack_growth_events: u32,
    pub total_stack_shrink_events: u32,
    /// Lazy pages reserved now.
    pub total_lazy_pages: u32,
    /// Lazy pages that have a frame of their own now.
    pub allocated_lazy_pages: u32,
    /// Faults that mapped, allocated or replaced a lazy page since boot.
    pub total_lazy_page_faults: u32,
    /// Changes of the pressure level since boot.
    pub memory_pressure_events: u32,
    /// Runs of a strategy since boot.
    pub optimization_events: u32,
    pub context_switch_count: u32,
}

#[repr(C)]
pub struct DynamicMemoryManager {
    pub stats: DynamicMemoryStats,
    pub pressure_handler: MemoryPressureHandler,
    pub stack_manager: DynamicStackManager,
    pub context_switcher: HardwareContextSwitcher,
    pub events: EventRing,
    pub frames: FrameAllocator,
    pub lazy_allocator: LazyPageAllocator,
}

/// A resource that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Frames of the pool, even after the pressure strategies ran.
    Frames,
    /// Task slots; each has an address space.
    Tasks,
    /// Stack slots.
    Stacks,
    /// Adjacent lazy pages, or records of ranges.
    LazyPages,
    /// What the task's own quota allows.
    Quota,
}

impl Exhausted {
    /// The reason as text for the console.
    pub fn reason(self) -> &'static str {
        match self {
            Exhausted::Frames => "the pool has too few free frames",
            Exhausted::Tasks => "too many tasks",
            Exhausted::Stacks => "no free stack slot",
            Exhausted::LazyPages => "no free range of lazy pages",
            Exhausted::Quota => "the task has reached its quota",
        }
    }
}

/// Ranges of more pages than this are invalidated by ASID instead of page by page.
const INVALIDATE_BY_ADDRESS_LIMIT: u32 = 32;

impl DynamicMemoryManager {
    pub const fn new() -> Self {
        Self {
            stats: DynamicMemoryStats {
                total_dynamic_stacks: 0,
                active_dynamic_stacks: 0,
                total_stack_growth_events: 0,
                total_stack_shrink_events: 0,
                total_lazy_pages: 0,
                allocated_lazy_pages: 0,
                total_lazy_page_faults: 0,
                memory_pressure_events: 0,
                optimization_events: 0,
                context_switch_count: 0,
            },
            pressure_handler: MemoryPressureHandler::new(),
            stack_manager: DynamicStackManager::new(),
            context_switcher: HardwareContextSwitcher::new(),
            events: EventRing::new(),
            frames: FrameAllocator::new(),
            lazy_allocator: LazyPageAllocator::new(),
        }
    }

    /// Sets up the pool, the zero page, the kernel's own empty space, and ASIDs of `asid_bits` bits. `frequency`: counts
    /// of the generic timer in a second.
    pub fn initialize(&mut self, asid_bits: u32, frequency: u64) -> Result<(), Exhausted> {
        self.frames.initialize();
        self.pressure_handler.initialize(self.frames.limit_frames);
        self.stack_manager.initialize(frequency);
        let zero = self.frames.allocate(FrameInfo::new(FrameUse::ZeroPage, 0, 0)).ok_or(Exhausted::Frames)?;
        let zero = self.frames.address(zero);
        hardware::zero_frame(zero);
        self.lazy_allocator.zero_frame = zero.get();
        let table = tables::create_table(&mut self.frames, 0, 0, 0).ok_or(Exhausted::Frames)?;
        self.context_switcher.spaces[0] = AddressSpace::new(table);
        self.context_switcher.restart_asids(asid_bits);
        self.check_pressure();
        Ok(())
    }

    /// Records an event of the space of task `owner`.
    #[inline(always)]
    pub fn record(&mut self, owner: u16, kind: EventKind, first: u64, second: u64) {
        let asid = self.context_switcher.asid_of(owner);
        self.events.record(hardware::now(), asid, kind, first, second);
    }

    /// Creates the address space of task `owner`, and maps the programs: `text_pages` pages at physical address `text`.
    pub fn create_space(&mut self, owner: u16, text: u64, text_pages: u32) -> Result<(), Exhausted> {
        debug_assert!((1..=MAX_TASKS as u16).contains(&owner));
        self.set_default_quotas(owner);
        let table = self.with_relief(|manager| tables::create_table(&mut manager.frames, owner, 0, 0))?;
        self.context_switcher.spaces[owner as usize] = AddressSpace::new(table);
        for page in 0..text_pages as u64 {
            let offset = page * PAGE_SIZE as u64;
            let entry = self.entry_for(owner, USER_TEXT_BASE + offset)?;
            hardware::write_descriptor(entry, Descriptor::read_execute(text + offset));
        }
        let (frame, entry) = self.frame_for(owner, TASK_PAGE_BASE, FrameInfo::new(FrameUse::TaskPage, owner, 0))?;
        hardware::write_first_word(frame, owner as u64);
        hardware::write_descriptor(entry, Descriptor::read_write(frame));
        hardware::publish();
        self.check_pressure();
        Ok(())
    }

    /// Creates a stack for task `owner` and maps its topmost page. Returns its slot.
    pub fn create_stack(&mut self, owner: u16, policy: GrowthPolicy, max_size: usize) -> Result<usize, Exhausted> {
        let slot = self.stack_manager.create(owner, policy, max_size).ok_or(Exhausted::Stacks)?;
        self.stats.total_dynamic_stacks += 1;
        self.stats.active_dynamic_stacks += 1;
        self.context_switcher.spaces[owner as usize].stack = slot as u32 + 1;
        let mapped = self.add_stack_page(slot, true);
        self.stack_manager.stacks[slot].last_access_time = hardware::now();
        self.check_pressure();
        mapped.map(|()| slot)
    }

    /// Reserves a lazy range of `pages` pages for task `owner`, without mapping any. Returns its address.
    pub fn reserve(&mut self, owner: u16, pages: u32) -> Result<u64, Exhausted> {
        let quota = self.lazy_allocator.quotas[owner as usize];
        if quota.is_reached() {
            self.record(owner, EventKind::RangeQuota, owner as u64, quota.max as u64);
            return Err(Exhausted::Quota);
        }
        let page_quota = self.lazy_allocator.page_quotas[owner as usize];
        if page_quota.is_exceeded_by(pages) {
            self.record(owner, EventKind::LazyPageQuota, pages as u64, page_quota.max as u64);
            return Err(Exhausted::Quota);
        }
        let first = self.lazy_allocator.reserve(owner, pages).ok_or(Exhausted::LazyPages)?;
        self.stats.total_lazy_pages = self.lazy_allocator.reserved_pages;
        let address = address_of(first);
        self.record(owner, EventKind::LazyReserve, address, pages as u64);
        Ok(address)
    }

    /// Discards the contents of the range of `owner` that starts at `address`: its frames are freed and its pages are
    /// pending again. Returns false if there is no such range.
    pub fn discard(&mut self, owner: u16, address: u64) -> bool {
        let Some(entry) = self.lazy_allocator.range_at(owner, address) else { return false };
        self.empty_range(entry);
        self.check_pressure();
        true
    }

    /// Releases a range made by [`Self::reserve`]. Returns false if `owner` has no range that starts at `address`.
    pub fn release(&mut self, owner: u16, address: u64) -> bool {
        let Some(entry) = self.lazy_allocator.range_at(owner, address) else { return false };
        self.release_range(entry);
        self.check_pressure();
        true
    }

    /// Frees everything that task `owner` has: ranges, stack, tables, ASID.
    pub fn end_space(&mut self, owner: u16) {
        if self.context_switcher.current == owner {
            self.switch_to(0);
        }
        for entry in 0..self.lazy_allocator.ranges.len() {
            let range = self.lazy_allocator.ranges[entry];
            if range.pages > 0 && range.owner == owner {
                self.release_range(entry);
            }
        }
        for slot in 0..self.stack_manager.stacks.len() {
            let stack = &self.stack_manager.stacks[slot];
            if stack.is_active && stack.owner == owner {
                self.end_stack(slot);
            }
        }
        let space = self.context_switcher.spaces[owner as usize];
        if space.is_active {
            self.unmap(space.table, owner, TASK_PAGE_BASE, false);
            tables::prune(space.table, &mut self.frames, true);
            self.context_switcher.invalidate_space(owner);
            if let Some(frame) = self.frames.number(space.table) {
                self.frames.release(frame);
            }
            self.context_switcher.asids.release(space.asid, space.generation);
            self.context_switcher.spaces[owner as usize] = AddressSpace::UNUSED;
        }
        self.check_pressure();
    }

    /// Limits the pool to `frames` frames, and moves some of the pages beyond the limit; [`Self::evacuate_more`] moves
    /// the rest.
    pub fn set_pool_limit(&mut self, frames: u32) {
        let former = self.frames.limit_frames;
        self.frames.set_limit(frames);
        self.pressure_handler.set_limit(self.frames.limit_frames);
        self.record(0, EventKind::PoolLimit, former as u64, self.frames.limit_frames as u64);
        self.evacuate();
        self.check_pressure();
    }

    /// Moves more pages out of the frames beyond the pool's limit. Returns how many: 0 if the rest cannot be moved, or
    /// if no frame within the limit is free.
    pub fn evacuate_more(&mut self) -> u32 {
        let moved = self.evacuate();
        self.check_pressure();
        moved
    }

    /// Switches to the space of task `owner` (0: the kernel's).
    #[inline]
    pub fn switch_to(&mut self, owner: u16) {
        let rolled_over = self.context_switcher.switch_to(owner);
        self.stats.context_switch_count = self.stats.context_switch_count.wrapping_add(1);
        if rolled_over {
            let asids = &self.context_switcher.asids;
            let (generation, bits) = (asids.generation, asids.bits);
            self.record(owner, EventKind::AsidRollover, generation, bits as u64);
        }
    }

    /// Records the stack pointer of task `owner`. To be called before anything that may shrink stacks, and when the
    /// kernel switches away from the task: under pressure, pages below the stack pointer are freed.
    #[inline]
    pub fn record_stack_pointer(&mut self, owner: u16, stack_pointer: u64) {
        if let Some(slot) = (self.context_switcher.spaces[owner as usize].stack as usize).checked_sub(1) {
            let stack = &mut self.stack_manager.stacks[slot];
            stack.stack_pointer = stack_pointer;
            stack.last_access_time = hardware::now();
        }
    }

    /// Frees the pages of task `owner`'s stack below its stack pointer, at the task's request. Returns how many.
    pub fn trim_stack(&mut self, owner: u16) -> u32 {
        let stack = self.context_switcher.spaces[owner as usize].stack as usize;
        let pages = stack.checked_sub(1).map_or(0, |slot| self.shrink_stack(slot));
        self.check_pressure();
        pages
    }

    /// Updates the pressure level after frames were allocated or freed; runs the strategies if the level rose.
    #[inline]
    pub fn check_pressure(&mut self) {
        self.pressure_handler.free_frames = self.frames.free_frames;
        if !self.pressure_handler.keeps_level(self.frames.free_frames) && self.update_pressure() {
            self.relieve();
        }
    }

    /// Computes the level. Returns whether it rose.
    #[cold]
    pub(super) fn update_pressure(&mut self) -> bool {
        let Some(former) = self.pressure_handler.update(self.frames.free_frames, hardware::now()) else {
            return false;
        };
        let level = self.pressure_handler.level;
        self.stats.memory_pressure_events += 1;
        self.record(0, EventKind::PressureChange, former as u64, level as u64);
        level > former
    }

    /// The level 3 descriptor of `address` in the space of `owner`; creates tables as needed.
    #[inline]
    pub(super) fn entry_for(&mut self, owner: u16, address: u64) -> Result<Entry, Exhausted> {
        self.with_relief(|manager| {
            let root = manager.context_switcher.spaces[owner as usize].table;
            tables::find_or_create(root, address, &mut manager.frames, owner)
        })
    }

    /// Allocates a frame filled with zeros for `address` in the space of `owner`. Returns it, and the level 3 descriptor to
    /// map it with. The pressure strategies may run on the way and free empty tables,
    /// so the descriptor is looked up after them.
    #[inline]
    pub(super) fn frame_for(
        &mut self,
        owner: u16,
        address: u64,
        info: FrameInfo,
    ) -> Result<(FrameAddress, Entry), Exhausted> {
        let (frame, entry) = self.with_relief(|manager| manager.try_frame_for(owner, address, info))?;
        hardware::zero_frame(frame);
        hardware::publish();
        Ok((frame, entry))
    }

    /// As [`Self::frame_for`], but with the frames that are available now, and without zeroing the frame.
    #[inline(always)]
    fn try_frame_for(&mut self, owner: u16, address: u64, info: FrameInfo) -> Option<(FrameAddress, Entry)> {
        let root = self.context_switcher.spaces[owner as usize].table;
        let frame = self.frames.allocate(info)?;
        let entry = tables::find_or_create(root, address, &mut self.frames, owner);
        if entry.is_none() {
            self.frames.release(frame);
        }
        Some((self.frames.address(frame), entry?))
    }

    /// Calls `attempt`, which allocates from the pool for one task. If that fails, frees frames by
    /// [`Self::attempt_in_need`].
    #[inline(always)]
    fn with_relief<T>(&mut self, attempt: impl Fn(&mut Self) -> Option<T>) -> Result<T, Exhausted> {
        match attempt(self) {
            Some(taken) => Ok(taken),
            None => self.attempt_in_need(attempt),
        }
    }

    /// Runs every strategy that can free a frame, and calls `attempt` again after each run until it succeeds. Level and
    /// backoff do not matter here: without a frame, a task ends.
    #[cold]
    fn attempt_in_need<T>(&mut self, attempt: impl Fn(&mut Self) -> Option<T>) -> Result<T, Exhausted> {
        self.update_pressure();
        let mut pool_was_empty = false;
        for strategy in Strategy::FREE_FRAMES {
            for _ in 0..self.runs_to_see_all(strategy) {
                self.run_strategy(strategy);
                let failures = self.frames.failure_count;
                if let Some(taken) = attempt(self) {
                    return Ok(taken);
                }
                // Not by the task's quota now: an attempt that fails at a table has given its frame back.
                pool_was_empty = self.frames.failure_count != failures;
            }
        }
        Err(if pool_was_empty { Exhausted::Frames } else { Exhausted::Quota })
    }

    /// Maps one more page at the lower end of stack `slot`. For a page that the task does not need yet, no frame is
    /// freed.
    pub(super) fn add_stack_page(&mut self, slot: usize, is_needed: bool) -> Result<(), Exhausted> {
        let stack = &self.stack_manager.stacks[slot];
        let page = (stack.current_size / PAGE_SIZE) as u32;
        let info = FrameInfo::new(FrameUse::Stack, stack.owner, (slot as u32) << 16 | page);
        let (owner, address) = (stack.owner, stack.lowest_mapped() - PAGE_SIZE as u64);
        let (frame, entry) = if is_needed {
            self.frame_for(owner, address, info)?
        } else {
            let (frame, entry) = self.try_frame_for(owner, address, info).ok_or(Exhausted::Frames)?;
            hardware::zero_frame(frame);
            hardware::publish();
            (frame, entry)
        };
        hardware::write_descriptor(entry, Descriptor::read_write(frame));
        hardware::publish();
        let stack = &mut self.stack_manager.stacks[slot];
        stack.current_size += PAGE_SIZE;
        stack.high_water_mark = stack.high_water_mark.max(stack.current_size);
        Ok(())
    }

    /// Unmaps the lowest `pages` pages of stack `slot` and frees their frames.
    pub(super) fn remove_stack_pages(&mut self, slot: usize, pages: u32) {
        let owner = self.stack_manager.stacks[slot].owner;
        let root = self.context_switcher.spaces[owner as usize].table;
        for _ in 0..pages {
            let address = self.stack_manager.stacks[slot].lowest_mapped();
            self.unmap(root, owner, address, true);
            self.stack_manager.stacks[slot].current_size -= PAGE_SIZE;
        }
    }

    /// Unmaps one page and frees its frame, unless that is the shared zero page.
    fn unmap(&mut self, root: u64, owner: u16, address: u64, invalidate: bool) {
        let Some(entry) = tables::find(root, address) else { return };
        let descriptor = hardware::read_descriptor(entry);
        if !descriptor.is_valid() {
            return;
        }
        hardware::write_descriptor(entry, Descriptor::INVALID);
        hardware::publish();
        if invalidate {
            self.context_switcher.invalidate_address(owner, address);
        }
        let frame = descriptor.output();
        if frame != self.lazy_allocator.zero_frame
            && let Some(number) = self.frames.number(frame)
        {
            self.frames.release(number);
        }
    }

    fn empty_range(&mut self, entry: usize) {
        let range = self.lazy_allocator.ranges[entry];
        let root = self.context_switcher.spaces[range.owner as usize].table;
        let by_address = range.pages <= INVALIDATE_BY_ADDRESS_LIMIT;
        for record in range.first..range.first + range.pages {
            let page = self.lazy_allocator.pages[record as usize];
            if page.is_allocated || page.is_zero_page {
                self.unmap(root, range.owner, page.virtual_address, by_address);
                self.lazy_allocator.allocated_pages -= page.is_allocated as u32;
                self.lazy_allocator.zero_pages -= page.is_zero_page as u32;
                self.lazy_allocator.pages[record as usize] =
                    LazyPage { virtual_address: page.virtual_address, owner: page.owner, ..LazyPage::UNUSED };
            }
        }
        if !by_address {
            self.context_switcher.invalidate_space(range.owner);
        }
        self.stats.allocated_lazy_pages = self.lazy_allocator.allocated_pages;
    }

    fn release_range(&mut self, entry: usize) {
        self.empty_range(entry);
        let range = self.lazy_allocator.remove_range(entry);
        self.stats.total_lazy_pages = self.lazy_allocator.reserved_pages;
        self.record(range.owner, EventKind::LazyRelease, address_of(range.first), range.pages as u64);
    }

    fn end_stack(&mut self, slot: usize) {
        let pages = self.stack_manager.stacks[slot].current_size / PAGE_SIZE;
        self.remove_stack_pages(slot, pages as u32);
        self.stack_manager.stacks[slot].is_active = false;
        self.stats.active_dynamic_stacks -= 1;
    }
}

impl Default for DynamicMemoryManager {
    fn default() -> Self {
        Self::new()
    }
}
