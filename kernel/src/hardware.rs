//! The hardware operations of memory management. On the host, where the logic is tested, RAM is an array and TLB
//! operations are logged.

pub use platform::*;

use crate::memory::layout::PAGE_SIZE;

/// 64-bit words of a page.
const PAGE_WORDS: usize = PAGE_SIZE / 8;

/// Whether the frame at physical address `frame` holds only zeros.
pub fn frame_is_zero(frame: u64) -> bool {
    let words = linear(frame) as *const u64;
    // SAFETY: the linear map contains every frame of the pool, and frames are aligned.
    (0..PAGE_WORDS).all(|word| unsafe { words.add(word).read() } == 0)
}

/// Copies the frame at physical address `from` to the frame at `to`.
pub fn copy_frame(from: u64, to: u64) {
    // SAFETY: both are frames of the pool, which the linear map contains, and they differ.
    unsafe { core::ptr::copy_nonoverlapping(linear(from), linear(to), PAGE_SIZE) }
}

/// Reads the 64-bit descriptor at physical address `address`.
#[inline(always)]
pub fn read_descriptor(address: u64) -> u64 {
    // SAFETY: tables are frames of the pool; the address is a multiple of 8.
    unsafe { (linear(address) as *const u64).read_volatile() }
}

/// Writes the 64-bit descriptor at physical address `address`. The table walker sees it after [`publish`].
#[inline(always)]
pub fn write_descriptor(address: u64, descriptor: u64) {
    // SAFETY: as above; the caller owns the table.
    unsafe { (linear(address) as *mut u64).write_volatile(descriptor) }
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

    /// Whether `DC ZVA` zeroes blocks of 64 bytes, as [`zero_frame`] needs (`DCZID_EL0`).
    pub fn zeroes_blocks_of_64_bytes() -> bool {
        let identification: u64;
        // SAFETY: only reads an identification register.
        unsafe { asm!("mrs {}, dczid_el0", out(reg) identification, options(nomem, nostack)) };
        // DZP is 0: `DC ZVA` is permitted. BS is the logarithm of the number of words.
        identification & 0x1f == 4
    }

    /// Fills a frame with zeros, by `DC ZVA` of 64-byte blocks.
    #[inline]
    pub fn zero_frame(frame: u64) {
        let mut address = linear(frame);
        let end = address.wrapping_add(super::PAGE_SIZE);
        while address != end {
            // SAFETY: zeroes eight blocks of one frame in the linear map.
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
    #[inline(always)]
    pub fn write_ttbr0(value: u64) {
        // SAFETY: the kernel runs in the upper half, which TTBR1 maps.
        unsafe { asm!("msr ttbr0_el1, {}", "isb", in(reg) value, options(nostack)) }
    }
}

#[cfg(not(target_os = "none"))]
mod platform {
    use crate::memory::layout::{PAGE_SIZE, POOL_BASE, POOL_FRAMES};
    use std::cell::{Cell, RefCell};

    /// A TLB or TTBR0 operation in the host's log.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Operation {
        Address { asid: u16, address: u64 },
        Asid(u16),
        Everything,
        Ttbr0(u64),
    }

    thread_local! {
        static ARENA: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
        static CLOCK: Cell<u64> = const { Cell::new(0) };
        static LOG: RefCell<Vec<Operation>> = const { RefCell::new(Vec::new()) };
    }

    /// Returns the operations logged since the last call.
    pub fn take_log() -> Vec<Operation> {
        LOG.take()
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

    pub fn zero_frame(frame: u64) {
        // SAFETY: `linear` has checked that the frame is in the array.
        unsafe { linear(frame).write_bytes(0, PAGE_SIZE) }
    }

    pub fn publish() {}

    pub fn invalidate_address(asid: u16, address: u64) {
        LOG.with_borrow_mut(|log| log.push(Operation::Address { asid, address }));
    }

    pub fn invalidate_asid(asid: u16) {
        LOG.with_borrow_mut(|log| log.push(Operation::Asid(asid)));
    }

    pub fn invalidate_everything() {
        LOG.with_borrow_mut(|log| log.push(Operation::Everything));
    }

    pub fn write_ttbr0(value: u64) {
        LOG.with_borrow_mut(|log| log.push(Operation::Ttbr0(value)));
    }
}
