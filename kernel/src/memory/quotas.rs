//! Quotas of tasks, and the task that ends when the pool has no frame left.

use super::dynamic::DynamicMemoryManager;
use super::layout::{MAX_LAZY_PAGES, MAX_LAZY_RANGES, MAX_TASKS};

/// How much of a resource a task uses, and the most that it may use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub used: u32,
    pub max: u32,
}

impl Quota {
    pub const EMPTY: Quota = Quota { used: 0, max: 0 };

    /// Whether the task may not have more.
    #[inline(always)]
    pub fn is_reached(&self) -> bool {
        self.used >= self.max
    }

    /// Whether the task may not have `more`.
    pub fn is_exceeded_by(&self, more: u32) -> bool {
        self.used.saturating_add(more) > self.max
    }
}

/// A quota for each task; entry 0 is the kernel's own, without a limit.
pub type Quotas = [Quota; MAX_TASKS + 1];

/// Lazy ranges that a new task may have: a quarter of all.
pub const DEFAULT_MAX_RANGES: u32 = MAX_LAZY_RANGES as u32 / 4;

/// Lazy pages that a new task may reserve: all but a sixteenth.
pub const DEFAULT_MAX_LAZY_PAGES: u32 = (MAX_LAZY_PAGES - MAX_LAZY_PAGES / 16) as u32;

/// Frames that a new task may own: all but a sixteenth of the pool's limit.
pub fn default_max_frames(limit_frames: u32) -> u32 {
    limit_frames - limit_frames / 16
}

/// The task that ends so that another gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    pub task: u16,
    /// Frames within the pool's limit that it owns.
    pub frames: u32,
}

impl DynamicMemoryManager {
    /// The task that owns the most frames within the pool's limit, for frames beyond it help nobody. If several own as
    /// many, `needing` is chosen: the task that needs a frame.
    pub(super) fn choose_victim(&self, needing: u16) -> Victim {
        let mut owned = [0u32; MAX_TASKS + 1];
        for info in &self.frames.info[..self.frames.limit_frames as usize] {
            owned[info.owner as usize] += info.is_used() as u32;
        }
        let task = (1..=MAX_TASKS as u16)
            .filter(|&task| self.context_switcher.spaces[task as usize].is_active)
            .max_by_key(|&task| (owned[task as usize], task == needing))
            .unwrap_or(needing);
        Victim { task, frames: owned[task as usize] }
    }

    /// Gives a new task its default quotas.
    pub(super) fn set_default_quotas(&mut self, task: u16) {
        self.frames.quotas[task as usize].max = default_max_frames(self.frames.limit_frames);
        self.lazy_allocator.quotas[task as usize].max = DEFAULT_MAX_RANGES;
        self.lazy_allocator.page_quotas[task as usize].max = DEFAULT_MAX_LAZY_PAGES;
    }
}
