//! Where things lie, in physical and in virtual memory.
//!
//! Virtual addresses of stacks and lazy pages are unique in the whole machine, not only in their address space: the
//! record of an address is found by a subtraction, and an address alone tells a person what it belongs to.

/// Bytes of a page and of a frame.
pub const PAGE_SIZE: usize = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// The kernel image: virtual address = physical address + this.
pub const IMAGE_OFFSET: u64 = 0xffff_8000_0000_0000;
/// The linear map of RAM: virtual address = physical address + this.
pub const LINEAR_OFFSET: u64 = 0xffff_0000_0000_0000;
/// Device registers: virtual address = physical address + this.
pub const DEVICE_OFFSET: u64 = 0xffff_c000_0000_0000;

/// Physical address of the first frame of the dynamic pool.
pub const POOL_BASE: u64 = 0x0800_0000;
/// Size of the dynamic pool in MiB; set at build time by the environment variable `TINYOS_POOL_MIB`.
pub const POOL_MIB: usize = pool_mib(option_env!("TINYOS_POOL_MIB"));
/// Frames of the dynamic pool.
pub const POOL_FRAMES: usize = POOL_MIB * 1024 * 1024 / PAGE_SIZE;

/// Task slots, and so address spaces; task 0 is the kernel's own (the shell).
pub const MAX_TASKS: usize = 96;
/// Dynamic stacks at once.
pub const MAX_STACKS: usize = 96;
/// Lazy pages at once.
pub const MAX_LAZY_PAGES: usize = 40_960;
/// Lazy ranges at once.
pub const MAX_LAZY_RANGES: usize = 256;

/// The programs of tasks, shared by all of them: read and execute at EL0.
pub const USER_TEXT_BASE: u64 = 0x0000_0000_0040_0000;
/// A page of each task's own, at the same address in every space: what tells that a switch really switched.
pub const TASK_PAGE_BASE: u64 = 0x0000_0000_0080_0000;
/// First address of lazy page record 0.
pub const LAZY_REGION_BASE: u64 = 0x0000_2000_0000_0000;
/// One past the last lazy page.
pub const LAZY_REGION_END: u64 = LAZY_REGION_BASE + (MAX_LAZY_PAGES * PAGE_SIZE) as u64;
/// First address of the region of stack slot 0.
pub const STACK_REGION_BASE: u64 = 0x0000_7000_0000_0000;
/// Virtual bytes set aside for each stack slot; the stack ends (its `base_address`) at the upper end of its slot.
pub const STACK_SLOT_SIZE: u64 = 2 * 1024 * 1024;
/// One past the last stack slot.
pub const STACK_REGION_END: u64 = STACK_REGION_BASE + MAX_STACKS as u64 * STACK_SLOT_SIZE;
/// The largest `max_size` of a stack: the slot less the guard page and a page that parts it from its neighbour.
pub const STACK_LIMIT: usize = STACK_SLOT_SIZE as usize - 2 * PAGE_SIZE;

const fn pool_mib(setting: Option<&str>) -> usize {
    let Some(text) = setting else { return 128 };
    let digits = text.as_bytes();
    let mut value = 0;
    let mut index = 0;
    while index < digits.len() {
        assert!(digits[index].is_ascii_digit(), "TINYOS_POOL_MIB is a whole number of MiB");
        value = value * 10 + (digits[index] - b'0') as usize;
        index += 1;
    }
    assert!(value >= 8 && value <= 512, "TINYOS_POOL_MIB is from 8 to 512");
    value
}
