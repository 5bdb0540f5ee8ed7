//! The hardware operations of memory management. On the host, where the logic is tested, RAM is an array and TLB
//! operations are logged.

#[cfg(not(target_os = "none"))]
mod model;
#[cfg(test)]
mod tests;

pub use platform::*;

use crate::memory::frames::FrameAddress;
use crate::memory::layout::PAGE_SIZE;
use crate::memory::tables::{Descriptor, Entry};

/// 64-bit words of a page.
const PAGE_WORDS: usize = PAGE_SIZE / 8;

/// Whether a frame holds only zeros.
pub fn frame_is_zero(frame: FrameAddress) -> bool {
    let words = linear(frame.get()) as *const u64;
    // SAFETY: the linear map contains every frame of the pool, and frames are aligned.
    (0..PAGE_WORDS).all(|word| unsafe { words.add(word).read() } == 0)
}

/// Copies the contents of frame `from` to frame `to`.
pub fn copy_frame(from: FrameAddress, to: FrameAddress) {
    assert!(from != to, "a frame copied to itself");
    #[cfg(not(target_os = "none"))]
    platform::note(Operation::Copy { from: from.get(), to: to.get() });
    // SAFETY: the linear map contains every frame of the pool. Two frames are the same or do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(linear(from.get()), linear(to.get()), PAGE_SIZE) }
}

/// Fills a frame with zeros.
#[inline(always)]
pub fn zero_frame(frame: FrameAddress) {
    #[cfg(not(target_os = "none"))]
    platform::note(Operation::Zero(frame.get()));
    // SAFETY: the linear map contains every frame of the pool.
    unsafe { zero_page(linear(frame.get())) }
}

/// Writes the first 64-bit word of a frame.
pub fn write_first_word(frame: FrameAddress, word: u64) {
    // SAFETY: the linear map contains every frame of the pool, and frames are aligned.
    unsafe { linear(frame.get()).cast::<u64>().write(word) }
}

/// Reads a descriptor.
#[inline(always)]
pub fn read_descriptor(entry: Entry) -> Descriptor {
    // SAFETY: an entry is an aligned word of a frame of the pool, which the linear map contains.
    Descriptor::from_bits(unsafe { (linear(entry.address()) as *const u64).read_volatile() })
}

/// Writes a descriptor. The table walker sees it after [`publish`].
#[inline(always)]
pub fn write_descriptor(entry: Entry, descriptor: Descriptor) {
    #[cfg(not(target_os = "none"))]
    platform::note(Operation::Descriptor { address: entry.address(), descriptor: descriptor.bits() });
    // SAFETY: as above.
    unsafe { (linear(entry.address()) as *mut u64).write_volatile(descriptor.bits()) }
}

#[cfg(target_os = "none")]
mod platform {
    use crate::memory::layout::{LINEAR_OFFSET, PAGE_SHIFT};
    use core::arch::asm;

    /// The address of physical address `address` in the linear map.
    #[inline(always)]
    pub fn linear(address: u64) -> *mut u8 {
        (address + LINEAR_OFFSET) as *mut u8
    }

    /// The generic timer's count, `CNTVCT_EL0`.
    #[inline(always)]
    pub fn now() -> u64 {
        let count: u64;
        // SAFETY: only reads a counter.
        unsafe { asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack)) };
        count
    }

    /// Whether `DC ZVA` zeroes blocks of 64 bytes, as [`zero_page`] needs (`DCZID_EL0`).
    pub fn zeroes_blocks_of_64_bytes() -> bool {
        let identification: u64;
        // SAFETY: only reads an identification register.
        unsafe { asm!("mrs {}, dczid_el0", out(reg) identification, options(nomem, nostack)) };
        // DZP is 0: `DC ZVA` is permitted. BS is the logarithm of the number of words.
        identification & 0x1f == 4
    }

    /// Fills a page with zeros, by `DC ZVA` of 64-byte blocks.
    ///
    /// # Safety
    ///
    /// `page` is the first address of a page that may be written.
    #[inline]
    pub(super) unsafe fn zero_page(page: *mut u8) {
        let mut address = page;
        let end = address.wrapping_add(super::PAGE_SIZE);
        while address != end {
            // SAFETY: zeroes eight blocks of the page.
            unsafe {
                asm!(
                    "dc zva, {a}", "add {a}, {a}, #64", "dc zva, {a}", "add {a}, {a}, #64",
                    "dc zva, {a}", "add {a}, {a}, #64", "dc zva, {a}", "add {a}, {a}, #64",
                    "dc zva, {a}", "add {a}, {a}, #64", "dc zva, {a}", "add {a}, {a}, #64",
                    "dc zva, {a}", "add {a}, {a}, #64", "dc zva, {a}", "add {a}, {a}, #64",
                    a = inout(reg) address, options(nostack));
            }
        }
    }

    /// Makes all descriptors written so far visible to the table walker.
    #[inline(always)]
    pub fn publish() {
        // SAFETY: only barriers.
        unsafe { asm!("dsb ishst", "isb", options(nostack)) }
    }

    /// Invalidates one page of an ASID. Only core 0 uses TTBR0 spaces, so its own TLB is enough: no broadcast.
    #[inline(always)]
    pub fn invalidate_address(asid: u16, address: u64) {
        let operand = (asid as u64) << 48 | (address >> PAGE_SHIFT) & 0xfff_ffff_ffff;
        // SAFETY: invalidation is always allowed.
        unsafe { asm!("dsb nshst", "tlbi vae1, {}", "dsb nsh", "isb", in(reg) operand, options(nostack)) }
    }

    /// Invalidates all pages of an ASID on this core.
    #[inline(always)]
    pub fn invalidate_asid(asid: u16) {
        let operand = (asid as u64) << 48;
        // SAFETY: as above.
        unsafe { asm!("dsb nshst", "tlbi aside1, {}", "dsb nsh", "isb", in(reg) operand, options(nostack)) }
    }

    /// Invalidates this core's whole TLB.
    #[inline(always)]
    pub fn invalidate_everything() {
        // SAFETY: as above.
        unsafe { asm!("dsb nshst", "tlbi vmalle1", "dsb nsh", "isb", options(nostack)) }
    }

    /// Switches the lower half of the address space: sets table and ASID in one write.
    ///
    /// # Safety
    ///
    /// The table is a level 0 table, and the descriptors below it map only what EL0 may access.
    #[inline(always)]
    pub unsafe fn write_ttbr0(value: u64) {
        // SAFETY: the kernel runs in the upper half, which TTBR1 maps; for the lower half see above.
        unsafe { asm!("msr ttbr0_el1, {}", "isb", in(reg) value, options(nostack)) }
    }
}

#[cfg(not(target_os = "none"))]
mod platform {
    use super::model;
    use crate::memory::layout::{PAGE_SIZE, POOL_BASE, POOL_FRAMES};
    use std::cell::{Cell, RefCell};

    pub use super::model::check_settled;

    /// An operation in the host's log.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Operation {
        /// A write of the descriptor at a physical address.
        Descriptor {
            address: u64,
            descriptor: u64,
        },
        /// A frame was filled with zeros, or copied, by physical address.
        Zero(u64),
        Copy {
            from: u64,
            to: u64,
        },
        /// A barrier after writes of descriptors or frames.
        Publish,
        /// TLB invalidations.
        Address {
            asid: u16,
            address: u64,
        },
        Asid(u16),
        Everything,
        /// A write of TTBR0.
        Ttbr0(u64),
    }

    thread_local! {
        static ARENA: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
        static CLOCK: Cell<u64> = const { Cell::new(0) };
        static LOG: RefCell<Vec<Operation>> = const { RefCell::new(Vec::new()) };
    }

    /// Logs an operation. Panics where it breaks a rule of the [`model`].
    pub fn note(operation: Operation) {
        match operation {
            Operation::Descriptor { address, descriptor } => model::write(address, descriptor),
            Operation::Zero(frame) => model::zero(frame),
            Operation::Copy { from, to } => model::copy(from, to),
            Operation::Publish => model::publish(),
            Operation::Address { asid, address } => model::invalidate_address(asid, address),
            Operation::Asid(asid) => model::invalidate_asid(asid),
            Operation::Everything => model::invalidate_everything(),
            Operation::Ttbr0(value) => model::write_ttbr0(value),
        }
        LOG.with_borrow_mut(|log| log.push(operation));
    }

    /// Returns the operations logged since the last call.
    pub fn take_log() -> Vec<Operation> {
        LOG.take()
    }

    /// Begins anew, as after a reset: no descriptor is valid, and the log is empty.
    pub fn restart() {
        LOG.take();
        model::restart();
    }

    /// Advances the clock by `counts`.
    pub fn advance_clock(counts: u64) {
        CLOCK.set(CLOCK.get() + counts);
    }

    pub fn linear(address: u64) -> *mut u8 {
        let offset = (address - POOL_BASE) as usize;
        assert!(offset < POOL_FRAMES * PAGE_SIZE, "physical address {address:#x} is not in the pool");
        ARENA.with_borrow_mut(|arena| {
            if arena.is_empty() {
                *arena = vec![0; POOL_FRAMES * PAGE_SIZE / 8];
            }
            arena.as_mut_ptr().cast::<u8>().wrapping_add(offset)
        })
    }

    pub fn now() -> u64 {
        CLOCK.set(CLOCK.get() + 1);
        CLOCK.get()
    }

    pub(super) unsafe fn zero_page(page: *mut u8) {
        // SAFETY: see the kernel's own.
        unsafe { page.write_bytes(0, PAGE_SIZE) }
    }

    pub fn publish() {
        note(Operation::Publish);
    }

    pub fn invalidate_address(asid: u16, address: u64) {
        note(Operation::Address { asid, address });
    }

    pub fn invalidate_asid(asid: u16) {
        note(Operation::Asid(asid));
    }

    pub fn invalidate_everything() {
        note(Operation::Everything);
    }

    /// # Safety
    ///
    /// None is needed here: it is only logged.
    pub unsafe fn write_ttbr0(value: u64) {
        note(Operation::Ttbr0(value));
    }
}
