//! The memory management of the design, with the fields that the public kernel of that design has.

pub mod pools;
pub mod records;

use crate::say;
use crate::spin::Mutex;
use pools::{DynamicStackManager, HardwareContextSwitcher, LazyPageAllocator, MemoryPressureHandler};
use records::{DynamicMemoryStats, PressureLevel};

static DYNAMIC_MEMORY_MANAGER: Mutex<Option<DynamicMemoryManager>> = Mutex::new(None);

pub struct DynamicMemoryManager {
    stack_manager: DynamicStackManager,
    lazy_allocator: LazyPageAllocator,
    pressure_handler: MemoryPressureHandler,
    context_switcher: HardwareContextSwitcher,
    statistics: DynamicMemoryStats,
    enabled: bool,
}

/// Sets the manager up: until then it is `None`.
pub fn initialise() {
    *DYNAMIC_MEMORY_MANAGER.lock() = Some(DynamicMemoryManager {
        stack_manager: DynamicStackManager::new(),
        lazy_allocator: LazyPageAllocator::new(0x3f_0000),
        pressure_handler: MemoryPressureHandler::new(),
        context_switcher: HardwareContextSwitcher::new(),
        statistics: DynamicMemoryStats::default(),
        enabled: true,
    });
}

/// Has every part of it do something.
pub fn work() {
    let mut guard = DYNAMIC_MEMORY_MANAGER.lock();
    let Some(manager) = guard.as_mut() else { return };
    let stats = &mut manager.statistics;
    for (size, most) in [(0x2000, 0x1_0000), (0x1000, 0x4000), (0x4000, 0x4_0000), (0x1000, 0x2000)] {
        manager.stack_manager.create(size, most, stats);
    }
    for (id, times) in [(1, 3), (2, 1), (3, 9)] {
        for _ in 0..times {
            manager.stack_manager.grow(id, stats);
        }
    }
    manager.stack_manager.shrink(3, stats);
    manager.stack_manager.end(4, stats);
    for page in 0..23 {
        manager.lazy_allocator.register(0x4000_0000 + page * 0x1000, stats);
    }
    for page in [0, 1, 2, 5, 6, 21] {
        manager.lazy_allocator.touch(0x4000_0000 + page * 0x1000, page % 2 == 1, stats);
    }
    for level in [PressureLevel::Medium, PressureLevel::Critical, PressureLevel::High] {
        manager.pressure_handler.enter(level, stats);
    }
    for _ in 0..37 {
        manager.context_switcher.switch(stats);
    }
}

/// Holds the lock for ever, as a kernel does that was stopped in the middle of a change.
pub fn hold() -> ! {
    let _guard = DYNAMIC_MEMORY_MANAGER.lock();
    say!("locked");
    loop {
        core::hint::spin_loop();
    }
}

/// Writes down all figures, for who wants to compare them with what a debugger says.
pub fn tell() {
    let guard = DYNAMIC_MEMORY_MANAGER.lock();
    let Some(manager) = guard.as_ref() else { return };
    say!("manager at={} enabled={}", &raw const DYNAMIC_MEMORY_MANAGER as usize, manager.enabled);
    manager.statistics.tell();
    manager.stack_manager.tell();
    manager.lazy_allocator.tell();
    manager.pressure_handler.tell();
    manager.context_switcher.tell();
}
