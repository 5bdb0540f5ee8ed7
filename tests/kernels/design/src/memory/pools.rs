//! The parts of the manager, each filled by code that does what its name says, as far as records go.

use super::records::{now, AllocationPolicy, DynamicMemoryStats, DynamicStack, GrowthPolicy, LazyPage, PressureLevel};
use crate::say;

const STACKS: usize = 32;
const PAGES: usize = 256;
const PAGE: usize = 4096;

pub struct DynamicStackManager {
    stacks: [Option<DynamicStack>; STACKS],
    growth_policy: GrowthPolicy,
    pressure_threshold: usize,
    next_stack_id: u32,
}

impl DynamicStackManager {
    pub fn new() -> Self {
        Self {
            stacks: [None; STACKS],
            growth_policy: GrowthPolicy::Predictive,
            pressure_threshold: 75,
            next_stack_id: 1,
        }
    }

    pub fn create(&mut self, current_size: usize, max_size: usize, stats: &mut DynamicMemoryStats) {
        // From the end, so that an ID is not the number of its slot.
        let Some(slot) = self.stacks.iter_mut().rev().find(|slot| slot.is_none()) else { return };
        *slot = Some(DynamicStack {
            id: self.next_stack_id,
            base_address: 0x2000_0000 + u64::from(self.next_stack_id) * 0x10_0000,
            current_size,
            max_size,
            growth_count: 0,
            shrink_count: 0,
            last_access_time: now(),
            pressure_level: PressureLevel::Low,
        });
        self.next_stack_id += 1;
        stats.total_dynamic_stacks += 1;
        stats.active_dynamic_stacks += 1;
    }

    fn find(&mut self, id: u32) -> Option<&mut DynamicStack> {
        self.stacks.iter_mut().flatten().find(|stack| stack.id == id)
    }

    pub fn grow(&mut self, id: u32, stats: &mut DynamicMemoryStats) {
        let Some(stack) = self.find(id) else { return };
        stack.current_size = (stack.current_size + PAGE).min(stack.max_size);
        stack.growth_count += 1;
        stack.last_access_time = now();
        stack.pressure_level = match stack.growth_count {
            0..=1 => PressureLevel::Low,
            2..=4 => PressureLevel::Medium,
            _ => PressureLevel::Critical,
        };
        stats.total_stack_growth_events += 1;
    }

    pub fn shrink(&mut self, id: u32, stats: &mut DynamicMemoryStats) {
        let Some(stack) = self.find(id) else { return };
        stack.current_size -= PAGE;
        stack.shrink_count += 1;
        stats.total_stack_shrink_events += 1;
    }

    pub fn end(&mut self, id: u32, stats: &mut DynamicMemoryStats) {
        for slot in &mut self.stacks {
            if slot.is_some_and(|stack| stack.id == id) {
                *slot = None;
                stats.active_dynamic_stacks -= 1;
            }
        }
    }

    pub fn tell(&self) {
        say!(
            "stacks growth_policy={:?} pressure_threshold={} next_stack_id={}",
            self.growth_policy,
            self.pressure_threshold,
            self.next_stack_id
        );
        self.stacks.iter().flatten().for_each(DynamicStack::tell);
    }
}

pub struct LazyPageAllocator {
    lazy_pages: [Option<LazyPage>; PAGES],
    zero_page_address: u64,
    allocation_policy: AllocationPolicy,
    next_page_index: usize,
}

impl LazyPageAllocator {
    pub fn new(zero_page_address: u64) -> Self {
        Self {
            lazy_pages: [None; PAGES],
            zero_page_address,
            allocation_policy: AllocationPolicy::OnDemand,
            next_page_index: 0,
        }
    }

    pub fn register(&mut self, virtual_address: u64, stats: &mut DynamicMemoryStats) {
        self.lazy_pages[self.next_page_index] = Some(LazyPage {
            virtual_address,
            physical_address: 0,
            is_allocated: false,
            // To be filled with zeros when it is allocated: nothing is mapped for that.
            is_zero_page: true,
            access_count: 0,
            allocation_time: 0,
        });
        self.next_page_index += 1;
        stats.total_lazy_pages += 1;
    }

    pub fn touch(&mut self, address: u64, is_read: bool, stats: &mut DynamicMemoryStats) {
        let zero = self.zero_page_address;
        let pages = &mut self.lazy_pages;
        let Some(page) = pages.iter_mut().flatten().find(|page| page.virtual_address == address) else {
            return;
        };
        page.physical_address = if is_read { zero } else { 0x10_0000 + address % 0x10_0000 };
        page.is_allocated = !is_read;
        page.is_zero_page = is_read;
        page.access_count += 1 + (address >> 12) as u32 % 3;
        page.allocation_time = now();
        stats.total_lazy_page_faults += 1;
        stats.allocated_lazy_pages += u32::from(!is_read);
    }

    pub fn tell(&self) {
        say!(
            "lazy zero_page_address={} allocation_policy={:?} next_page_index={}",
            self.zero_page_address,
            self.allocation_policy,
            self.next_page_index
        );
        self.lazy_pages.iter().flatten().for_each(LazyPage::tell);
    }
}

pub struct MemoryPressureHandler {
    current_pressure: PressureLevel,
    pressure_thresholds: [usize; 4],
    last_pressure_check: u64,
    pressure_events: u32,
}

impl MemoryPressureHandler {
    pub fn new() -> Self {
        Self {
            current_pressure: PressureLevel::Low,
            pressure_thresholds: [25, 50, 75, 90],
            last_pressure_check: 0,
            pressure_events: 0,
        }
    }

    pub fn enter(&mut self, level: PressureLevel, stats: &mut DynamicMemoryStats) {
        self.current_pressure = level;
        self.last_pressure_check = now();
        self.pressure_events += 1;
        stats.memory_pressure_events += 1;
        stats.optimization_events += u32::from(level == PressureLevel::Critical);
    }

    pub fn tell(&self) {
        let [low, medium, high, critical] = self.pressure_thresholds;
        say!(
            "pressure current_pressure={:?} last_pressure_check={} pressure_events={} \
             pressure_thresholds={low},{medium},{high},{critical}",
            self.current_pressure,
            self.last_pressure_check,
            self.pressure_events
        );
    }
}

pub struct HardwareContextSwitcher {
    context_switch_count: u32,
    last_context_switch_time: u64,
    optimization_enabled: bool,
}

impl HardwareContextSwitcher {
    pub fn new() -> Self {
        Self { context_switch_count: 0, last_context_switch_time: 0, optimization_enabled: true }
    }

    pub fn switch(&mut self, stats: &mut DynamicMemoryStats) {
        self.context_switch_count += 1;
        self.last_context_switch_time = now();
        stats.context_switch_count += 1;
    }

    pub fn tell(&self) {
        say!(
            "switcher context_switch_count={} last_context_switch_time={} optimization_enabled={}",
            self.context_switch_count,
            self.last_context_switch_time,
            self.optimization_enabled
        );
    }
}
