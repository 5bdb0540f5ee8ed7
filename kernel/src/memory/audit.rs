//! The frame audit: compares the reverse map with the records and the tables, so that no frame is lost.

use super::dynamic::DynamicMemoryManager;
use super::frames::FrameUse;
use super::layout::PAGE_SIZE;
use super::tables;

/// Frames by state, according to the reverse map, and frames by owner, according to records and tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub total: u32,
    pub free: u32,
    pub cached: u32,
    pub retired: u32,
    /// Used frames, counted in the reverse map.
    pub used: u32,
    pub tables: u32,
    pub lazy_pages: u32,
    pub stack_pages: u32,
    pub task_pages: u32,
    /// Always 1: the shared zero page.
    pub zero_pages: u32,
}

impl Audit {
    /// Frames that have an owner.
    pub fn owned(&self) -> u32 {
        self.tables + self.lazy_pages + self.stack_pages + self.task_pages + self.zero_pages
    }

    /// Used frames without an owner.
    pub fn lost(&self) -> u32 {
        self.used.saturating_sub(self.owned())
    }

    /// Whether every frame is in exactly one state, and every used frame has an owner.
    pub fn is_sound(&self) -> bool {
        self.used == self.owned() && self.free + self.cached + self.retired + self.used == self.total
    }
}

impl DynamicMemoryManager {
    /// Counts all frames, and their owners.
    pub fn audit(&self) -> Audit {
        let frames = &self.frames;
        let spaces = self.context_switcher.spaces.iter().filter(|space| space.is_active);
        let stacks = self.stack_manager.stacks.iter().filter(|stack| stack.is_active);
        let count = |usage| frames.info.iter().filter(|info| info.usage == usage).count() as u32;
        Audit {
            total: frames.total_frames,
            free: count(FrameUse::Free),
            cached: count(FrameUse::Cached),
            retired: count(FrameUse::Retired),
            used: frames.info.iter().filter(|info| info.is_used()).count() as u32,
            tables: spaces.clone().map(|space| 1 + tables::count_below(space.table)).sum(),
            lazy_pages: self.lazy_allocator.pages.iter().filter(|page| page.is_allocated).count() as u32,
            stack_pages: stacks.map(|stack| (stack.current_size / PAGE_SIZE) as u32).sum(),
            task_pages: spaces.count() as u32 - 1,
            zero_pages: 1,
        }
    }
}
