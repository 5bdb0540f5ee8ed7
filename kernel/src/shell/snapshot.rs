//! The frames and counters before and after a test of the shell.

use crate::scheduler::read_memory_manager;
use tinyos::memory::audit::Audit;
use tinyos::memory::dynamic::DynamicMemoryStats;

/// The audit of the frames, and the manager's counters, at one moment.
#[derive(Clone, Copy)]
pub struct Snapshot {
    pub frames: Audit,
    pub stats: DynamicMemoryStats,
}

impl Snapshot {
    pub fn take() -> Self {
        read_memory_manager(|manager| Snapshot { frames: manager.audit(), stats: manager.stats })
    }

    /// By how much a counter has increased since `before`.
    pub fn increase_since(&self, before: &Snapshot, counter: impl Fn(&DynamicMemoryStats) -> u32) -> u32 {
        counter(&self.stats).wrapping_sub(counter(&before.stats))
    }
}
