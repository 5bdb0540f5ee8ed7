//! The dynamic memory manager: one owner of frames, stacks, lazy pages, pressure and address spaces.

use super::frames::{FrameAllocator, FrameInfo, FrameUse};
use super::growth::GrowthPolicy;
use super::layout::{MAX_TASKS, PAGE_SIZE, USER_TEXT_BASE};
use super::lazy::{LazyPage, LazyPageAllocator, address_of};
use super::pressure::MemoryPressureHandler;
use super::stacks::DynamicStackManager;
use super::switcher::{AddressSpace, HardwareContextSwitcher};
use super::tables::{self, Attributes};
use crate::events::{EventKind, EventRing};
use crate::hardware;
use crate::sequence::SequenceCell;

/// The manager. A debugger finds everything of the kernel's memory from here; [`crate::debugger`] says how.
#[unsafe(no_mangle)]
#[used]
pub static DYNAMIC_MEMORY_MANAGER: SequenceCell<DynamicMemoryManager> = SequenceCell::new(DynamicMemoryManager::new());

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
    /// Of them, those that have a frame of their own.
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
