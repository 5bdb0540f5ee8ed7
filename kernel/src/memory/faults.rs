//! Faults of tasks: how memory management resolves them, or why it ends the task.

use super::dynamic::DynamicMemoryManager;
use super::frames::{FrameInfo, FrameUse};
use super::growth::pages_to_add;
use super::layout::PAGE_SIZE;
use super::tables::{self, Attributes};
use super::{lazy, stacks};
use crate::events::EventKind;
use crate::hardware;
use crate::tasks::EndReason;

/// An access further below the stack pointer than this many bytes is not a push. A store with pre-indexed writeback
/// faults before the stack pointer has moved: `STP` moves it by at most 512 bytes (the range of its immediate). A
/// compiler may also store to a frame before it moves the stack pointer.
pub const PUSH_REACH: u64 = 1024;

/// Kind of access, from `ESR_EL1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Execute,
}

/// Kind of fault, from the fault status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Translation,
    AccessFlag,
    Permission,
    Other,
}

/// A data or instruction abort of a task at EL0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub task: u16,
    /// `FAR_EL1`.
    pub address: u64,
    pub access: Access,
    pub cause: Cause,
    /// `SP_EL0`.
    pub stack_pointer: u64,
}

impl DynamicMemoryManager {
    /// Resolves the fault, so that the task can repeat the access; else returns the reason to end the task.
    pub fn handle_fault(&mut self, fault: Fault) -> Result<(), EndReason> {
        self.record_stack_pointer(fault.task, fault.stack_pointer);
        if fault.access != Access::Execute {
            if let Some(record) = lazy::record_of(fault.address) {
                let page = &self.lazy_allocator.pages[record];
                if page.virtual_address != 0 && page.owner == fault.task {
                    return self.lazy_fault(record, fault);
                }
            } else if let Some(slot) = stacks::slot_of(fault.address) {
                let stack = &self.stack_manager.stacks[slot];
                if stack.is_active && stack.owner == fault.task {
                    return self.stack_fault(slot, fault);
                }
            }
        }
        self.record(fault.task, EventKind::WildAccess, fault.task as u64, fault.address);
        Err(if fault.address >> 63 == 1 { EndReason::KernelAccess } else { EndReason::WildAccess })
    }

    /// Resolves a fault on a lazy page. The pressure strategies may run on the way; they must not fold this page, or
    /// the access would fault again.
    #[inline]
    fn lazy_fault(&mut self, record: usize, fault: Fault) -> Result<(), EndReason> {
        self.lazy_allocator.faulting = record as u32 + 1;
        let resolved = self.resolve_lazy_fault(record, fault);
        self.lazy_allocator.faulting = 0;
        resolved
    }

    #[inline]
    fn resolve_lazy_fault(&mut self, record: usize, fault: Fault) -> Result<(), EndReason> {
        let page = &mut self.lazy_allocator.pages[record];
        match (fault.cause, fault.access) {
            (Cause::AccessFlag, _) => {
                page.access_count = page.access_count.wrapping_add(1);
                self.lazy_allocator.access_flag_count += 1;
                self.set_access_flag(fault.task, fault.address);
                return Ok(());
            }
            (Cause::Translation, Access::Read) if !page.is_allocated && !page.is_zero_page => {
                self.map_zero_page(record, fault)?;
            }
            (Cause::Translation, Access::Write) if !page.is_allocated && !page.is_zero_page => {
                self.allocate_page(record, fault)?;
            }
            (Cause::Permission, Access::Write) if page.is_zero_page => self.replace_zero_page(record, fault)?,
            // The page is mapped as the access needs it, so the TLB entry is stale. The access is repeated.
            (Cause::Translation, _) => {
                self.context_switcher.invalidate_address(fault.task, fault.address);
                return Ok(());
            }
            _ => return Err(EndReason::WildAccess),
        }
        let page = &mut self.lazy_allocator.pages[record];
        page.access_count = page.access_count.wrapping_add(1);
        self.stats.total_lazy_page_faults = self.stats.total_lazy_page_faults.wrapping_add(1);
        self.check_pressure();
        Ok(())
    }

    #[inline]
    fn map_zero_page(&mut self, record: usize, fault: Fault) -> Result<(), EndReason> {
        let entry = self.entry_for(fault.task, fault.address).map_err(|_| self.out_of_memory(fault))?;
        let zero_frame = self.lazy_allocator.zero_frame;
        hardware::write_descriptor(entry, Attributes::ReadOnly.page(zero_frame));
        hardware::publish();
        let page = &mut self.lazy_allocator.pages[record];
        page.is_zero_page = true;
        page.physical_address = zero_frame;
        self.lazy_allocator.zero_pages += 1;
        self.lazy_allocator.zero_fault_count += 1;
        self.record(fault.task, EventKind::LazyZero, fault.address, zero_frame);
        Ok(())
    }

    /// Resolves the first write to a pending page.
    #[inline]
    fn allocate_page(&mut self, record: usize, fault: Fault) -> Result<(), EndReason> {
        self.give_frame(record, fault)?;
        self.lazy_allocator.allocate_fault_count += 1;
        Ok(())
    }

    /// Resolves the first write to a page that was only read before. The output address changes, which needs
    /// break-before-make.
    fn replace_zero_page(&mut self, record: usize, fault: Fault) -> Result<(), EndReason> {
        self.give_frame(record, fault)?;
        self.lazy_allocator.zero_pages -= 1;
        self.lazy_allocator.upgrade_fault_count += 1;
        Ok(())
    }

    #[inline]
    fn give_frame(&mut self, record: usize, fault: Fault) -> Result<(), EndReason> {
        let info = FrameInfo::new(FrameUse::LazyPage, fault.task, record as u32);
        let (frame, entry) = self.frame_for(fault.task, fault.address, info).map_err(|_| self.out_of_memory(fault))?;
        if tables::is_valid(hardware::read_descriptor(entry)) {
            hardware::write_descriptor(entry, 0);
            self.context_switcher.invalidate_address(fault.task, fault.address);
        }
        hardware::write_descriptor(entry, Attributes::ReadWrite.page(frame));
        hardware::publish();
        let page = &mut self.lazy_allocator.pages[record];
        page.is_allocated = true;
        page.is_zero_page = false;
        page.physical_address = frame;
        page.allocation_time = hardware::now();
        self.lazy_allocator.allocated_pages += 1;
        self.stats.allocated_lazy_pages = self.lazy_allocator.allocated_pages;
        self.record(fault.task, EventKind::LazyAllocate, fault.address, frame);
        Ok(())
    }

    /// Sets the access flag of a page. The TLB never holds a descriptor whose access flag is clear, so nothing is
    /// invalidated.
    fn set_access_flag(&mut self, task: u16, address: u64) {
        let root = self.context_switcher.spaces[task as usize].table;
        if let Some(entry) = tables::find(root, address) {
            let descriptor = hardware::read_descriptor(entry);
            if tables::is_valid(descriptor) {
                hardware::write_descriptor(entry, descriptor | tables::ACCESS_FLAG);
                hardware::publish();
            }
        }
    }

    fn stack_fault(&mut self, slot: usize, fault: Fault) -> Result<(), EndReason> {
        let now = hardware::now();
        let stack = &self.stack_manager.stacks[slot];
        let page = fault.address & !(PAGE_SIZE as u64 - 1);
        let is_push = fault.address.saturating_add(PUSH_REACH) >= fault.stack_pointer;
        if fault.cause != Cause::Translation || page >= stack.lowest_mapped() || !is_push {
            self.record(fault.task, EventKind::WildAccess, fault.task as u64, fault.address);
            return Err(EndReason::WildAccess);
        }
        if page < stack.lowest_allowed() {
            let id = stack.id;
            self.record(fault.task, EventKind::StackOverflow, id as u64, fault.address);
            return Err(EndReason::StackOverflow);
        }
        let needed = ((stack.lowest_mapped() - page) / PAGE_SIZE as u64) as u32;
        let room = ((stack.max_size - stack.current_size) / PAGE_SIZE) as u32;
        let wanted = pages_to_add(stack.policy, needed, room, stack.history(now));
        self.stack_manager.growing = stack.id;
        let grown = self.grow_stack(slot, needed, wanted, fault);
        self.check_pressure();
        self.stack_manager.growing = 0;
        grown
    }

    /// Adds `wanted` pages, or at least `needed` if the pool runs out of frames.
    fn grow_stack(&mut self, slot: usize, needed: u32, wanted: u32, fault: Fault) -> Result<(), EndReason> {
        let mut added = 0;
        while added < wanted {
            if self.add_stack_page(slot).is_err() {
                if added >= needed {
                    break;
                }
                return Err(self.out_of_memory(fault));
            }
            added += 1;
        }
        let now = hardware::now();
        let stack = &mut self.stack_manager.stacks[slot];
        stack.growth_count += 1;
        stack.last_growth_time = now;
        stack.last_growth_pages = added;
        let id = stack.id;
        self.stats.total_stack_growth_events += 1;
        self.record(fault.task, EventKind::StackGrowth, id as u64, added as u64);
        Ok(())
    }

    #[cold]
    fn out_of_memory(&mut self, fault: Fault) -> EndReason {
        // The failed attempt may have used frames for tables.
        self.update_pressure();
        let free = self.frames.free_frames as u64;
        self.record(fault.task, EventKind::OutOfMemory, fault.address, free);
        EndReason::OutOfMemory
    }
}
