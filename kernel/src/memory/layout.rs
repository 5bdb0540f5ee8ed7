//! Where things are in physical and in virtual memory.
//!
//! Virtual addresses of stacks and lazy pages are unique in the whole machine, not only in their address space. So the
//! record of an address is found by a subtraction, and the address alone tells a person what it belongs to.

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

/// The RAM that every Raspberry Pi 4 leaves to the Arm cores, below the VideoCore's part. It is used if no device tree
/// says more.
pub const LEAST_RAM: (u64, u64) = (0, 0x3b40_0000);
/// Start and end of the peripherals and the interrupt controller in physical memory.
pub const DEVICES: (u64, u64) = (0xfe00_0000, 0x1_0000_0000);
/// Physical addresses of the interrupt controller's registers (GIC-400): the distributor and the CPU interface.
pub const GIC_DISTRIBUTOR: u64 = 0xff84_1000;
pub const GIC_CPU_INTERFACE: u64 = 0xff84_2000;

/// Physical address of the first frame of the dynamic pool. The image ends below it (`link.ld`).
pub const POOL_BASE: u64 = 0x0800_0000;
/// Size of the dynamic pool in MiB; set at build time by the environment variable `TINYOS_POOL_MIB`.
pub const POOL_MIB: usize = pool_mib(option_env!("TINYOS_POOL_MIB"));
/// Frames of the dynamic pool.
pub const POOL_FRAMES: usize = POOL_MIB * 1024 * 1024 / PAGE_SIZE;

/// Task slots, and so address spaces; task 0 is the kernel's own (the shell).
pub const MAX_TASKS: usize = 96;
/// Dynamic stacks at once.
pub const MAX_STACKS: usize = 96;
/// Lazy pages at once. Miri, which is slow, has fewer, a smaller pool and a shorter ring of events.
pub const MAX_LAZY_PAGES: usize = if cfg!(miri) { 512 } else { 40_960 };
/// Lazy ranges at once.
pub const MAX_LAZY_RANGES: usize = 256;

/// The programs, shared by all tasks: read and execute at EL0.
pub const USER_TEXT_BASE: u64 = 0x0000_0000_0040_0000;
/// One past the last address that the programs may have (`link.ld`).
pub const USER_TEXT_END: u64 = USER_TEXT_BASE + 0x1_0000;
/// One page of each task's own, at the same address in every space: shows whether a switch changed the space.
pub const TASK_PAGE_BASE: u64 = 0x0000_0000_0080_0000;
/// Address of lazy page record 0.
pub const LAZY_REGION_BASE: u64 = 0x0000_2000_0000_0000;
/// One past the last lazy page.
pub const LAZY_REGION_END: u64 = LAZY_REGION_BASE + (MAX_LAZY_PAGES * PAGE_SIZE) as u64;
/// First address of stack slot 0.
pub const STACK_REGION_BASE: u64 = 0x0000_7000_0000_0000;
/// Virtual bytes of each stack slot; the stack ends (its `base_address`) at the upper end of its slot.
pub const STACK_SLOT_SIZE: u64 = 2 * 1024 * 1024;
/// One past the last stack slot.
pub const STACK_REGION_END: u64 = STACK_REGION_BASE + MAX_STACKS as u64 * STACK_SLOT_SIZE;
/// The largest `max_size` of a stack: the slot without the guard page and one page between it and the next slot.
pub const STACK_LIMIT: usize = STACK_SLOT_SIZE as usize - 2 * PAGE_SIZE;

const fn pool_mib(setting: Option<&str>) -> usize {
    let Some(text) = setting else { return if cfg!(miri) { 8 } else { 128 } };
    let digits = text.as_bytes();
    let mut value = 0;
    let mut index = 0;
    while index < digits.len() {
        assert!(digits[index].is_ascii_digit(), "TINYOS_POOL_MIB must be a whole number of MiB");
        value = value * 10 + (digits[index] - b'0') as usize;
        index += 1;
    }
    assert!(value >= 8 && value <= 512, "TINYOS_POOL_MIB must be from 8 to 512");
    value
}
