//! What the tests of the shell judge by: the frames and the counters, before and after.

use crate::scheduler::look_at_memory;
use tinyos::memory::audit::Audit;
use tinyos::memory::dynamic::DynamicMemoryStats;

/// The frames, and the counters of the manager, at one moment.
#[derive(Clone, Copy)]
pub struct Account {
    pub frames: Audit,
    pub stats: DynamicMemoryStats,
}

impl Account {
    pub fn now() -> Self {
        look_at_memory(|manager| Account { frames: manager.audit(), stats: manager.stats })
    }

    /// By how much a counter has grown since `before`.
    pub fn growth(&self, before: &Account, counter: impl Fn(&DynamicMemoryStats) -> u32) -> u32 {
        counter(&self.stats).wrapping_sub(counter(&before.stats))
    }
}
