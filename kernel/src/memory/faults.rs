//! Faults of tasks: how memory management resolves them, or why it ends the task.

use super::dynamic::{DynamicMemoryManager, Exhausted};
use super::frames::{FrameInfo, FrameUse};
use super::layout::PAGE_SIZE;
use super::quotas::Victim;
use super::tables::{self, Descriptor};
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

/// Why a fault could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The task must end, for this reason.
    End(EndReason),
    /// The pool has no frame for the task, and this other task owns the most: it must end, and then the fault is to be
    /// handled again.
    EndOther(Victim),
}

impl From<EndReason> for Unresolved {
    fn from(reason: EndReason) -> Self {
        Unresolved::End(reason)
    }
}

impl DynamicMemoryManager {
    /// Resolves the fault, so that the task can repeat the access; else returns which task must end.
    pub fn handle_fault(&mut self, fault: Fault) -> Result<(), Unresolved> {
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
        Err(if fault.address >> 63 == 1 { EndReason::KernelAccess } else { EndReason::WildAccess }.into())
    }

    /// Resolves a fault on a lazy page. The pressure strategies may run on the way; they must not fold this page, or
    /// the access would fault again.
    #[inline]
    fn lazy_fault(&mut self, record: usize, fault: Fault) -> Result<(), Unresolved> {
        self.lazy_allocator.faulting = record as u32 + 1;
        let resolved = self.resolve_lazy_fault(record, fault);
        self.lazy_allocator.faulting = 0;
        self.lazy_allocator.faulted = record as u32 + 1;
        resolved
    }

    #[inline]
    fn resolve_lazy_fault(&mut self, record: usize, fault: Fault) -> Result<(), Unresolved> {
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
            _ => return Err(EndReason::WildAccess.into()),
        }
        let page = &mut self.lazy_allocator.pages[record];
        page.access_count = page.access_count.wrapping_add(1);
        self.stats.total_lazy_page_faults = self.stats.total_lazy_page_faults.wrapping_add(1);
        self.check_pressure();
        Ok(())
    }

    #[inline]
    fn map_zero_page(&mut self, record: usize, fault: Fault) -> Result<(), Unresolved> {
        let entry =
            self.entry_for(fault.task, fault.address).map_err(|exhausted| self.out_of_memory(fault, exhausted))?;
        let zero_frame = self.lazy_allocator.zero_frame;
        hardware::write_descriptor(entry, Descriptor::read_only(zero_frame));
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
    fn allocate_page(&mut self, record: usize, fault: Fault) -> Result<(), Unresolved> {
        self.give_frame(record, fault)?;
        self.lazy_allocator.allocate_fault_count += 1;
        Ok(())
    }

    /// Resolves the first write to a page that was only read before. The output address changes, which needs
    /// break-before-make.
    fn replace_zero_page(&mut self, record: usize, fault: Fault) -> Result<(), Unresolved> {
        self.give_frame(record, fault)?;
        self.lazy_allocator.zero_pages -= 1;
        self.lazy_allocator.upgrade_fault_count += 1;
        Ok(())
    }

    #[inline]
    fn give_frame(&mut self, record: usize, fault: Fault) -> Result<(), Unresolved> {
        let info = FrameInfo::new(FrameUse::LazyPage, fault.task, record as u32);
        let (frame, entry) = self
            .frame_for(fault.task, fault.address, info)
            .map_err(|exhausted| self.out_of_memory(fault, exhausted))?;
        if hardware::read_descriptor(entry).is_valid() {
            hardware::write_descriptor(entry, Descriptor::INVALID);
            self.context_switcher.invalidate_address(fault.task, fault.address);
        }
        hardware::write_descriptor(entry, Descriptor::read_write(frame));
        hardware::publish();
        let page = &mut self.lazy_allocator.pages[record];
        page.is_allocated = true;
        page.is_zero_page = false;
        page.physical_address = frame.get();
        page.allocation_time = hardware::now();
        self.lazy_allocator.allocated_pages += 1;
        self.stats.allocated_lazy_pages = self.lazy_allocator.allocated_pages;
        self.record(fault.task, EventKind::LazyAllocate, fault.address, frame.get());
        Ok(())
    }

    /// Sets the access flag of a page. The TLB never holds a descriptor whose access flag is clear, so nothing is
    /// invalidated.
    fn set_access_flag(&mut self, task: u16, address: u64) {
        let root = self.context_switcher.spaces[task as usize].table;
        if let Some(entry) = tables::find(root, address) {
            let descriptor = hardware::read_descriptor(entry);
            if descriptor.is_valid() {
                hardware::write_descriptor(entry, descriptor.with_access_flag());
                hardware::publish();
            }
        }
    }

    fn stack_fault(&mut self, slot: usize, fault: Fault) -> Result<(), Unresolved> {
        let now = hardware::now();
        let stack = &self.stack_manager.stacks[slot];
        let page = fault.address & !(PAGE_SIZE as u64 - 1);
        let is_push = fault.address.saturating_add(PUSH_REACH) >= fault.stack_pointer;
        if fault.cause != Cause::Translation || page >= stack.lowest_mapped() || !is_push {
            self.record(fault.task, EventKind::WildAccess, fault.task as u64, fault.address);
            return Err(EndReason::WildAccess.into());
        }
        if page < stack.lowest_allowed() {
            let id = stack.id;
            self.record(fault.task, EventKind::StackOverflow, id as u64, fault.address);
            return Err(EndReason::StackOverflow.into());
        }
        let needed = ((stack.lowest_mapped() - page) / PAGE_SIZE as u64) as u32;
        self.stack_manager.growing = stack.id;
        let wanted = self.stack_manager.pages_to_add(slot, needed, now);
        let grown = self.grow_stack(slot, needed, wanted, fault);
        self.check_pressure();
        self.stack_manager.growing = 0;
        grown
    }

    /// Adds `wanted` pages, or at least `needed` if no frame is available for the others.
    fn grow_stack(&mut self, slot: usize, needed: u32, wanted: u32, fault: Fault) -> Result<(), Unresolved> {
        let mut added = 0;
        while added < wanted {
            match self.add_stack_page(slot, added < needed) {
                Ok(()) => added += 1,
                Err(_) if added >= needed => break,
                Err(exhausted) => return Err(self.out_of_memory(fault, exhausted)),
            }
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

    /// Decides who ends when there is no frame for a fault: the task, if it has reached its quota; else the task that
    /// owns the most frames.
    #[cold]
    fn out_of_memory(&mut self, fault: Fault, exhausted: Exhausted) -> Unresolved {
        // The failed attempt may have used frames for tables.
        self.update_pressure();
        let task = fault.task;
        if exhausted == Exhausted::Quota {
            let max = self.frames.quotas[task as usize].max;
            self.record(task, EventKind::FrameQuota, task as u64, max as u64);
            return EndReason::QuotaReached.into();
        }
        let free = self.frames.free_frames as u64;
        self.record(task, EventKind::OutOfMemory, fault.address, free);
        let victim = self.choose_victim(task);
        self.record(victim.task, EventKind::VictimChosen, victim.task as u64, victim.frames as u64);
        if victim.task == task { EndReason::OutOfMemory.into() } else { Unresolved::EndOther(victim) }
    }
}
