//! The design once more: other sizes, other names of the parts, fields in another order, `Option` around arrays.

use crate::locks::Ticketed;
use crate::say;

pub static DYNAMIC_MEMORY_MANAGER: Ticketed<Keeper> = Ticketed::new(Keeper::new());

/// Has the name of a static of another kernel, and is something else.
pub static SCHEDULER: Ticketed<[u32; 3]> = Ticketed::new([7, 8, 9]);

#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code)]
pub enum Level {
    Low = 10,
    Medium = 20,
    High = 30,
    Critical = 40,
}

pub struct Keeper {
    is_running: bool,
    counters: DynamicMemoryStats,
    pressure: MemoryPressureHandler,
    pages: LazyPageAllocator,
    switcher: HardwareContextSwitcher,
    stacks: DynamicStackManager,
}

struct DynamicMemoryStats {
    context_switch_count: u64,
    optimization_events: u64,
    memory_pressure_events: u64,
    total_lazy_page_faults: u64,
    allocated_lazy_pages: u64,
    total_lazy_pages: u64,
    total_stack_shrink_events: u64,
    total_stack_growth_events: u64,
    active_dynamic_stacks: u64,
    total_dynamic_stacks: u64,
}

struct MemoryPressureHandler {
    events: u16,
    level: Level,
}

struct LazyPageAllocator {
    slots: Option<[LazyPage; 24]>,
}

#[derive(Clone, Copy)]
struct LazyPage {
    is_zero_page: bool,
    is_allocated: bool,
    allocation_time: u64,
    access_count: u64,
    physical_address: u64,
    virtual_address: u64,
}

struct HardwareContextSwitcher {
    switch_count: u64,
}

struct DynamicStackManager {
    used: u8,
    slots: Option<[Option<DynamicStack>; 5]>,
}

#[derive(Clone, Copy)]
struct DynamicStack {
    last_access_time: u64,
    shrink_count: u16,
    growth_count: u16,
    max_size: u64,
    current_size: u64,
    base_address: u64,
    id: u16,
}

impl Keeper {
    pub const fn new() -> Self {
        Self {
            is_running: false,
            counters: DynamicMemoryStats {
                context_switch_count: 0,
                optimization_events: 0,
                memory_pressure_events: 0,
                total_lazy_page_faults: 0,
                allocated_lazy_pages: 0,
                total_lazy_pages: 0,
                total_stack_shrink_events: 0,
                total_stack_growth_events: 0,
                active_dynamic_stacks: 0,
                total_dynamic_stacks: 0,
            },
            pressure: MemoryPressureHandler { events: 0, level: Level::Low },
            pages: LazyPageAllocator { slots: None },
            switcher: HardwareContextSwitcher { switch_count: 0 },
            stacks: DynamicStackManager { used: 0, slots: None },
        }
    }

    /// Fills the records; `seed` makes those of two managers differ.
    pub fn work(&mut self, seed: u64) {
        self.is_running = true;
        let mut stacks = [None; 5];
        for number in [0usize, 2, 3] {
            let count = number as u64 + seed;
            stacks[number] = Some(DynamicStack {
                last_access_time: count * 1000,
                shrink_count: count as u16,
                growth_count: 2 * count as u16,
                max_size: 0x8000,
                current_size: 0x1000 * (1 + number as u64),
                base_address: 0x3000_0000 + 0x10_0000 * count,
                id: 40 + count as u16,
            });
            self.stacks.used += 1;
            self.counters.total_dynamic_stacks += 1;
            self.counters.active_dynamic_stacks += 1;
            self.counters.total_stack_growth_events += 2 * count;
            self.counters.total_stack_shrink_events += count;
        }
        self.stacks.slots = Some(stacks);
        // A slot of this kernel's that is not in use has no address.
        let mut pages = [LazyPage {
            is_zero_page: false,
            is_allocated: false,
            allocation_time: 0,
            access_count: 0,
            physical_address: 0,
            virtual_address: 0,
        }; 24];
        for number in 0..9 + seed {
            let page = &mut pages[2 * number as usize % 24];
            page.virtual_address = 0x3800_0000 + number * 0x1000;
            page.is_allocated = number % 3 == 1;
            page.is_zero_page = number % 3 == 2;
            page.physical_address = if number % 3 == 0 { 0 } else { 0x20_0000 + number * 0x1000 };
            page.access_count = number;
            page.allocation_time = number * 77;
            self.counters.total_lazy_pages += 1;
            self.counters.allocated_lazy_pages += u64::from(page.is_allocated);
            self.counters.total_lazy_page_faults += u64::from(number % 3 != 0);
        }
        self.pages.slots = Some(pages);
        self.pressure.level = Level::High;
        self.pressure.events = 4;
        self.counters.memory_pressure_events = 4;
        self.counters.optimization_events = 2 + seed;
        self.switcher.switch_count = 500 + seed;
        self.counters.context_switch_count = 500 + seed;
    }

    /// Writes down all figures, for who wants to compare them with what a debugger says.
    pub fn tell(&self) {
        let stats = &self.counters;
        say!(
            "stats total_dynamic_stacks={} active_dynamic_stacks={} total_stack_growth_events={} \
             total_stack_shrink_events={} total_lazy_pages={}",
            stats.total_dynamic_stacks,
            stats.active_dynamic_stacks,
            stats.total_stack_growth_events,
            stats.total_stack_shrink_events,
            stats.total_lazy_pages
        );
        say!(
            "stats allocated_lazy_pages={} total_lazy_page_faults={} memory_pressure_events={} \
             optimization_events={} context_switch_count={}",
            stats.allocated_lazy_pages,
            stats.total_lazy_page_faults,
            stats.memory_pressure_events,
            stats.optimization_events,
            stats.context_switch_count
        );
        for stack in self.stacks.slots.iter().flatten().flatten() {
            say!(
                "stack id={} base_address={} current_size={} max_size={} growth_count={} shrink_count={} \
                 last_access_time={}",
                stack.id,
                stack.base_address,
                stack.current_size,
                stack.max_size,
                stack.growth_count,
                stack.shrink_count,
                stack.last_access_time
            );
        }
        for page in self.pages.slots.iter().flatten().filter(|page| page.virtual_address != 0) {
            say!(
                "page virtual_address={} physical_address={} is_allocated={} is_zero_page={} access_count={} \
                 allocation_time={}",
                page.virtual_address,
                page.physical_address,
                page.is_allocated,
                page.is_zero_page,
                page.access_count,
                page.allocation_time
            );
        }
        say!("pressure level={:?} events={}", self.pressure.level, self.pressure.events);
        say!("switcher switch_count={}", self.switcher.switch_count);
        say!("running {} used={}", self.is_running, self.stacks.used);
    }
}
