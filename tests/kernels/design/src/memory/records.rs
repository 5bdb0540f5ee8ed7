//! The records of the design, to the letter.

use crate::say;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PressureLevel {
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code)]
pub enum GrowthPolicy {
    Conservative,
    Aggressive,
    Predictive,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code)]
pub enum AllocationPolicy {
    OnDemand,
    Eager,
}

#[derive(Clone, Copy)]
pub struct DynamicStack {
    pub id: u32,
    pub base_address: u64,
    pub current_size: usize,
    pub max_size: usize,
    pub growth_count: u32,
    pub shrink_count: u32,
    pub last_access_time: u64,
    pub pressure_level: PressureLevel,
}

impl DynamicStack {
    pub fn tell(&self) {
        say!(
            "stack id={} base_address={} current_size={} max_size={} growth_count={} shrink_count={} \
             last_access_time={} pressure_level={:?}",
            self.id,
            self.base_address,
            self.current_size,
            self.max_size,
            self.growth_count,
            self.shrink_count,
            self.last_access_time,
            self.pressure_level
        );
    }
}

#[derive(Clone, Copy)]
pub struct LazyPage {
    pub virtual_address: u64,
    pub physical_address: u64,
    pub is_allocated: bool,
    pub is_zero_page: bool,
    pub access_count: u32,
    pub allocation_time: u64,
}

impl LazyPage {
    pub fn tell(&self) {
        say!(
            "page virtual_address={} physical_address={} is_allocated={} is_zero_page={} access_count={} \
             allocation_time={}",
            self.virtual_address,
            self.physical_address,
            self.is_allocated,
            self.is_zero_page,
            self.access_count,
            self.allocation_time
        );
    }
}

#[derive(Default)]
pub struct DynamicMemoryStats {
    pub total_dynamic_stacks: u32,
    pub active_dynamic_stacks: u32,
    pub total_stack_growth_events: u32,
    pub total_stack_shrink_events: u32,
    pub total_lazy_pages: u32,
    pub allocated_lazy_pages: u32,
    pub total_lazy_page_faults: u32,
    pub memory_pressure_events: u32,
    pub optimization_events: u32,
    pub context_switch_count: u32,
}

impl DynamicMemoryStats {
    pub fn tell(&self) {
        say!(
            "stats total_dynamic_stacks={} active_dynamic_stacks={} total_stack_growth_events={} \
             total_stack_shrink_events={} total_lazy_pages={}",
            self.total_dynamic_stacks,
            self.active_dynamic_stacks,
            self.total_stack_growth_events,
            self.total_stack_shrink_events,
            self.total_lazy_pages
        );
        say!(
            "stats allocated_lazy_pages={} total_lazy_page_faults={} memory_pressure_events={} \
             optimization_events={} context_switch_count={}",
            self.allocated_lazy_pages,
            self.total_lazy_page_faults,
            self.memory_pressure_events,
            self.optimization_events,
            self.context_switch_count
        );
    }
}

/// The generic timer's count: what all times are counts of.
pub fn now() -> u64 {
    let count: u64;
    // SAFETY: the register may be read at every exception level above EL0.
    unsafe { core::arch::asm!("mrs {}, cntpct_el0", out(reg) count, options(nomem, nostack)) };
    count
}
