//! The strategies against memory pressure. Each run of a strategy does a bounded amount of work and returns its gain.

use super::dynamic::DynamicMemoryManager;
use super::frames::{FrameAddress, FrameInfo, FrameUse};
use super::layout::{MAX_LAZY_PAGES, PAGE_SIZE};
use super::pressure::{Need, PressureLevel, Strategy};
use super::tables::{self, Descriptor};
use super::{layout, lazy};
use crate::events::EventKind;
use crate::hardware;

/// Frames of a section: the size that one block descriptor of level 2 maps.
pub const SECTION_FRAMES: u32 = 512;
/// The most pages in a section that migration empties.
const SPARSE_SECTION: u32 = 64;
/// The most pages that one run moves.
const MOVE_LIMIT: u32 = 512;
/// The most allocated lazy pages that one run of the folding examines.
const FOLD_LIMIT: u32 = 4096;
/// The most access flags that one run of the ageing clears, and the records that it examines.
const AGE_LIMIT: u32 = 32;
const AGE_SCAN: u32 = 256;

impl DynamicMemoryManager {
    /// Runs the strategies that the level allows: those for each need in turn, in the order of their expected gain, as
    /// long as there is the need.
    #[cold]
    pub fn relieve(&mut self) {
        self.update_pressure();
        for need in Need::ALL {
            if !self.has_need(need) {
                continue;
            }
            for strategy in self.pressure_handler.choose(need) {
                if !self.has_need(need) {
                    break;
                }
                self.run_strategy(strategy);
            }
        }
    }

    /// Whether frames are short; or, under pressure, whether the free frames are not all in one run.
    fn has_need(&self, need: Need) -> bool {
        let is_under_pressure = self.pressure_handler.level != PressureLevel::Low;
        is_under_pressure
            && match need {
                Need::Frames => true,
                Need::Run => self.frames.longest_free_run() < self.frames.free_frames,
            }
    }

    /// What there is of what a need is for, in its unit.
    fn supply(&self, need: Need) -> u32 {
        match need {
            Need::Frames => self.frames.free_frames,
            Need::Run => self.frames.longest_free_run(),
        }
    }

    /// The number of runs after which `strategy` has examined everything that it could free: one run of the folding
    /// examines at most [`FOLD_LIMIT`] pages.
    pub(super) fn runs_to_see_all(&self, strategy: Strategy) -> u32 {
        match strategy {
            Strategy::CacheOptimization => self.lazy_allocator.allocated_pages / FOLD_LIMIT + 1,
            _ => 1,
        }
    }

    /// Runs one strategy and updates the level. Returns the gain, in the unit of the strategy's need.
    pub fn run_strategy(&mut self, strategy: Strategy) -> u32 {
        let before = self.supply(strategy.need());
        let moved = match strategy {
            Strategy::CacheOptimization => self.optimize_caches(),
            Strategy::PressureRelief => self.shrink_and_release(),
            Strategy::PageMigration => self.evacuate() + self.empty_sparsest_section(),
            Strategy::Defragmentation => self.compact(),
        };
        let won = self.supply(strategy.need()).saturating_sub(before);
        self.pressure_handler.record_run(strategy, won, hardware::now());
        self.pressure_handler.strategies[strategy as usize].pages_moved += moved as u64;
        self.stats.optimization_events += 1;
        self.record(0, EventKind::StrategyRun, strategy as u64, won as u64);
        self.update_pressure();
        won
    }

    /// Moves the page or table in frame `from` to the free frame `to`: unmaps it, invalidates its TLB entries, copies it,
    /// and maps it again. Returns false if `from` does not have a movable one or `to` is not free.
    pub fn move_frame(&mut self, from: u32, to: u32) -> bool {
        let info = self.frames.info[from as usize];
        if info.usage == FrameUse::Table {
            return self.move_table(from, to, info);
        }
        let Some(address) = self.mapped_address(from) else { return false };
        let root = self.context_switcher.spaces[info.owner as usize].table;
        let Some(entry) = tables::find(root, address) else { return false };
        let descriptor = hardware::read_descriptor(entry);
        let source = self.frames.address(from);
        if !descriptor.is_valid() || descriptor.output() != source.get() || !self.frames.claim(to, info) {
            return false;
        }
        let target = self.frames.address(to);
        hardware::write_descriptor(entry, Descriptor::INVALID);
        hardware::publish();
        self.context_switcher.invalidate_address(info.owner, address);
        hardware::copy_frame(source, target);
        hardware::publish();
        hardware::write_descriptor(entry, descriptor.moved_to(target));
        hardware::publish();
        if info.usage == FrameUse::LazyPage {
            self.lazy_allocator.pages[info.index as usize].physical_address = target.get();
        }
        self.frames.release_to_pool(from);
        self.record(info.owner, EventKind::PageMoved, source.get(), target.get());
        true
    }

    /// As [`Self::move_frame`], for a table. A table is reached only through the descriptor in the table above it, or
    /// through TTBR0; while neither points to it, no CPU walks it.
    fn move_table(&mut self, from: u32, to: u32, info: FrameInfo) -> bool {
        let owner = info.owner;
        let source = self.frames.address(from);
        let root = self.context_switcher.spaces[owner as usize].table;
        let (level, address) = tables::place_of_table(info.index);
        let entry = match level.checked_sub(1) {
            Some(above) => tables::find_at(root, address, above),
            None => None,
        };
        let former = entry.map_or(root, |entry| hardware::read_descriptor(entry).output());
        if !info.is_movable() || former != source.get() || !self.frames.claim(to, info) {
            return false;
        }
        let target = self.frames.address(to);
        if let Some(entry) = entry {
            let descriptor = hardware::read_descriptor(entry);
            hardware::write_descriptor(entry, Descriptor::INVALID);
            hardware::publish();
            // By ASID: the TLB may hold walks through this table for any address that it translates.
            self.context_switcher.invalidate_space(owner);
            hardware::copy_frame(source, target);
            hardware::publish();
            hardware::write_descriptor(entry, descriptor.moved_to(target));
            hardware::publish();
        } else {
            self.context_switcher.replace_root(owner, target, || hardware::copy_frame(source, target));
        }
        self.frames.release_to_pool(from);
        self.record(owner, EventKind::TableMoved, source.get(), target.get());
        true
    }

    /// Clears the access flags of some lazy pages, so that the next access to each causes a fault and is counted. Each
    /// run continues where the last one stopped.
    pub fn age(&mut self) {
        let mut cleared = 0;
        for _ in 0..AGE_SCAN {
            let record = self.lazy_allocator.aging_hand;
            self.lazy_allocator.aging_hand = (record + 1) % MAX_LAZY_PAGES as u32;
            let page = self.lazy_allocator.pages[record as usize];
            if !page.is_allocated && !page.is_zero_page {
                continue;
            }
            let root = self.context_switcher.spaces[page.owner as usize].table;
            let Some(entry) = tables::find(root, page.virtual_address) else { continue };
            let descriptor = hardware::read_descriptor(entry);
            if descriptor.has_access_flag() {
                hardware::write_descriptor(entry, descriptor.without_access_flag());
                self.context_switcher.invalidate_address(page.owner, page.virtual_address);
                cleared += 1;
                if cleared == AGE_LIMIT {
                    break;
                }
            }
        }
    }

    /// Moves pages and tables out of the frames beyond the pool's limit. Returns how many.
    pub(super) fn evacuate(&mut self) -> u32 {
        let mut moved = 0;
        for from in self.frames.limit_frames..self.frames.total_frames {
            if moved == MOVE_LIMIT {
                break;
            }
            if self.frames.info[from as usize].is_movable() {
                let Some(to) = self.frames.lowest_free() else { break };
                moved += self.move_frame(from, to) as u32;
            }
        }
        moved
    }

    /// Virtual address of the page in a movable frame.
    fn mapped_address(&self, frame: u32) -> Option<u64> {
        let info = self.frames.info[frame as usize];
        match info.usage {
            FrameUse::LazyPage => Some(lazy::address_of(info.index)),
            FrameUse::Stack => {
                let stack = self.stack_manager.stacks.get((info.index >> 16) as usize)?;
                Some(stack.base_address - ((info.index & 0xffff) as u64 + 1) * PAGE_SIZE as u64)
            }
            FrameUse::TaskPage => Some(layout::TASK_PAGE_BASE),
            _ => None,
        }
    }

    /// Cache Optimization: returns cached frames to the pool, and folds lazy pages that contain only zeros. Moves nothing:
    /// returns 0.
    fn optimize_caches(&mut self) -> u32 {
        self.frames.drain_cache();
        let mut seen = 0;
        for _ in 0..MAX_LAZY_PAGES {
            let record = self.lazy_allocator.folding_hand as usize;
            self.lazy_allocator.folding_hand = (record as u32 + 1) % MAX_LAZY_PAGES as u32;
            let page = self.lazy_allocator.pages[record];
            if !page.is_allocated || !self.lazy_allocator.may_fold(record as u32) {
                continue;
            }
            if FrameAddress::new(page.physical_address).is_some_and(hardware::frame_is_zero) {
                self.fold(record);
            }
            seen += 1;
            if seen == FOLD_LIMIT {
                break;
            }
        }
        0
    }

    /// Folds a lazy page that contains only zeros: maps the zero page in its place and frees its frame. No task runs
    /// now, so nothing was written since the contents were checked.
    fn fold(&mut self, record: usize) {
        let page = self.lazy_allocator.pages[record];
        let root = self.context_switcher.spaces[page.owner as usize].table;
        let (Some(entry), Some(frame)) =
            (tables::find(root, page.virtual_address), self.frames.number(page.physical_address))
        else {
            return;
        };
        hardware::write_descriptor(entry, Descriptor::INVALID);
        hardware::publish();
        self.context_switcher.invalidate_address(page.owner, page.virtual_address);
        let zero_frame = self.lazy_allocator.zero_frame;
        hardware::write_descriptor(entry, Descriptor::read_only(zero_frame));
        hardware::publish();
        let known = &mut self.lazy_allocator.pages[record];
        known.is_allocated = false;
        known.is_zero_page = true;
        known.physical_address = zero_frame;
        known.allocation_time = 0;
        self.lazy_allocator.allocated_pages -= 1;
        self.lazy_allocator.zero_pages += 1;
        self.lazy_allocator.fold_count += 1;
        self.stats.allocated_lazy_pages = self.lazy_allocator.allocated_pages;
        self.frames.release_to_pool(frame);
        self.record(page.owner, EventKind::LazyFold, page.virtual_address, page.physical_address);
    }

    /// Pressure Relief: frees stack pages below the stack pointer, and empty tables. Moves nothing: returns 0.
    fn shrink_and_release(&mut self) -> u32 {
        for slot in 0..layout::MAX_STACKS {
            self.shrink_stack(slot);
        }
        for owner in 1..self.context_switcher.spaces.len() as u16 {
            let space = self.context_switcher.spaces[owner as usize];
            if space.is_active && tables::prune(space.table, &mut self.frames, false) > 0 {
                hardware::publish();
                self.context_switcher.invalidate_space(owner);
            }
        }
        self.frames.drain_cache();
        0
    }

    /// Frees the pages of a stack below the page of its stack pointer. Returns how many.
    pub fn shrink_stack(&mut self, slot: usize) -> u32 {
        let stack = self.stack_manager.stacks[slot];
        if !stack.is_active || stack.id == self.stack_manager.growing {
            return 0;
        }
        // With the stack pointer at the base, the first push goes to the topmost page: that page is kept.
        let pointer = stack.stack_pointer.clamp(stack.lowest_allowed(), stack.base_address - 1);
        let kept = (stack.base_address - pointer).div_ceil(PAGE_SIZE as u64) as u32;
        let pages = ((stack.current_size / PAGE_SIZE) as u32).saturating_sub(kept);
        if pages == 0 {
            return 0;
        }
        self.remove_stack_pages(slot, pages);
        let now = hardware::now();
        let stack = &mut self.stack_manager.stacks[slot];
        stack.shrink_count += 1;
        stack.pages_returned += pages;
        stack.last_access_time = now;
        let (id, owner) = (stack.id as u64, stack.owner);
        self.stats.total_stack_shrink_events += 1;
        self.record(owner, EventKind::StackShrink, id, pages as u64);
        pages
    }

    /// Page Migration within the limit: moves the pages of the 2 MiB section with the fewest pages into free frames of
    /// other sections. Returns the pages moved: 0 if no section has few enough pages, or the others are full.
    fn empty_sparsest_section(&mut self) -> u32 {
        let sections = self.frames.limit_frames / SECTION_FRAMES;
        let sparsest = (0..sections)
            .filter_map(|section| Some((self.movable_in(section)?, section)))
            .filter(|&(used, _)| (1..=SPARSE_SECTION).contains(&used))
            .min();
        let Some((used, section)) = sparsest else { return 0 };
        let Some(mut to) = self.hole_outside(section, 0) else { return 0 };
        let mut moved = 0;
        for from in section * SECTION_FRAMES..(section + 1) * SECTION_FRAMES {
            if moved == used {
                break;
            }
            if self.frames.info[from as usize].is_movable() {
                moved += self.move_frame(from, to) as u32;
                let Some(next) = self.hole_outside(section, to + 1) else { break };
                to = next;
            }
        }
        moved
    }

    /// Number of used frames in a section; None if one of them cannot be moved.
    fn movable_in(&self, section: u32) -> Option<u32> {
        let first = (section * SECTION_FRAMES) as usize;
        let mut used = 0;
        for info in &self.frames.info[first..first + SECTION_FRAMES as usize] {
            if info.is_used() {
                if !info.is_movable() {
                    return None;
                }
                used += 1;
            }
        }
        Some(used)
    }

    /// The first free frame from `from` on that is in a section with used frames other than `section`.
    fn hole_outside(&self, section: u32, from: u32) -> Option<u32> {
        let mut frame = from;
        while frame < self.frames.limit_frames {
            let here = frame / SECTION_FRAMES;
            let end = ((here + 1) * SECTION_FRAMES).min(self.frames.limit_frames);
            let infos = &self.frames.info;
            if here != section && infos[(here * SECTION_FRAMES) as usize..end as usize].iter().any(|i| i.is_used()) {
                let hole = (frame..end).find(|&f| infos[f as usize].usage == FrameUse::Free);
                if hole.is_some() {
                    return hole;
                }
            }
            frame = end;
        }
        None
    }

    /// Defragmentation: moves the highest pages into the lowest free frames. Returns how many.
    fn compact(&mut self) -> u32 {
        self.frames.drain_cache();
        let mut from = self.frames.limit_frames;
        let mut moved = 0;
        while moved < MOVE_LIMIT && from > 0 {
            from -= 1;
            if !self.frames.info[from as usize].is_movable() {
                continue;
            }
            match self.frames.lowest_free() {
                Some(to) if to < from => moved += self.move_frame(from, to) as u32,
                _ => break,
            }
        }
        moved
    }
}
