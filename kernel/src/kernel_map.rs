//! The kernel's half of the address space, in TTBR1: the image by section, the linear map of RAM, and the devices.
//! It is built once at boot and does not change afterwards.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use tinyos::board::ram::RamRanges;
use tinyos::debugger::{DEBUGGER_MEMORY_MAP, DEBUGGER_REGISTERS};
use tinyos::memory::layout::{DEVICE_OFFSET, DEVICES, IMAGE_OFFSET, LINEAR_OFFSET, PAGE_SIZE};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const PAGE: u64 = PAGE_SIZE as u64;

/// Descriptor bits common to all mappings: valid, access flag, inner shareable, never executed at EL0.
const COMMON: u64 = 1 | 1 << 10 | 3 << 8 | 1 << 54;
const EXECUTE_NEVER: u64 = 1 << 53;
const READ_ONLY: u64 = 1 << 7;
const TABLE_OR_PAGE: u64 = 1 << 1;
const DEVICE: u64 = 1 << 2;

const READ_EXECUTE: u64 = COMMON | READ_ONLY;
const READ: u64 = COMMON | READ_ONLY | EXECUTE_NEVER;
const READ_WRITE: u64 = COMMON | EXECUTE_NEVER;

const TABLE_COUNT: usize = 32;

#[repr(C, align(4096))]
struct Tables(UnsafeCell<[[u64; 512]; TABLE_COUNT]>);

// SAFETY: only `install` writes it, once, before the other cores use it.
unsafe impl Sync for Tables {}

/// The kernel's translation tables, the level 0 table first.
#[unsafe(no_mangle)]
static KERNEL_TABLES: Tables = Tables(UnsafeCell::new([[0; 512]; TABLE_COUNT]));

/// Physical address of the level 0 table once it is complete, 0 before. The other cores wait for it in `boot.s`.
#[unsafe(no_mangle)]
#[used]
static KERNEL_TABLE: AtomicU64 = AtomicU64::new(0);

macro_rules! linker_symbols {
    ($($name:ident),*) => {
        unsafe extern "C" { $(static $name: u8;)* }
    };
}

linker_symbols!(
    __image_start,
    __text_end,
    __rodata_start,
    __rodata_end,
    __bss_end,
    __stacks_start,
    __shell_stack_top,
    __exception_stack_top,
    __emergency_stack_top,
    __secondary_stack_top_1,
    __secondary_stack_top_2,
    __secondary_stack_top_3,
    __image_end
);

macro_rules! address_of {
    ($name:ident) => {
        // A symbol of the linker script has an address but no contents: nothing is read.
        (&raw const $name) as u64
    };
}

unsafe extern "C" {
    fn install_kernel_table(table: u64);
    static boot_table_empty_physical: u64;
}

/// Physical address of the tasks' programs, and their number of pages.
pub fn programs() -> (u64, u32) {
    // They are loaded between the kernel's text and its read-only data.
    let (start, end) = (address_of!(__text_end), address_of!(__rodata_start));
    (start - IMAGE_OFFSET, ((end - start) / PAGE) as u32)
}

/// Builds the tables, switches this core to them, and releases the other cores. `ram` begins at 0 and has the image.
pub fn install(ram: &RamRanges) {
    let mut builder = Builder { used: 1 };
    builder.map_image();
    builder.map_ram(ram);
    builder.map(DEVICE_OFFSET + DEVICES.0, DEVICES.0, DEVICES.1 - DEVICES.0, READ_WRITE | DEVICE);
    let table = (&raw const KERNEL_TABLES) as u64 - IMAGE_OFFSET;
    // SAFETY: the other cores still wait, in `boot.s`.
    unsafe { DEBUGGER_MEMORY_MAP.set_ram(ram) };
    // SAFETY: the new tables map the image where the boot tables do, with fewer permissions.
    unsafe {
        core::arch::asm!("dsb ish", "isb");
        install_kernel_table(table);
    }
    export_registers();
    KERNEL_TABLE.store(table, Ordering::Release);
    // SAFETY: only wakes the waiting cores.
    unsafe { core::arch::asm!("dsb ish", "sev") };
}

/// Stores this core's registers for debuggers.
fn export_registers() {
    let (table, control, types, system): (u64, u64, u64, u64);
    // SAFETY: only reads registers.
    unsafe {
        core::arch::asm!(
            "mrs {}, ttbr1_el1", "mrs {}, tcr_el1", "mrs {}, mair_el1", "mrs {}, sctlr_el1",
            out(reg) table, out(reg) control, out(reg) types, out(reg) system, options(nomem, nostack, preserves_flags)
        );
    }
    DEBUGGER_REGISTERS.tcr_el1.store(control, Ordering::Relaxed);
    DEBUGGER_REGISTERS.mair_el1.store(types, Ordering::Relaxed);
    DEBUGGER_REGISTERS.sctlr_el1.store(system, Ordering::Relaxed);
    // SAFETY: a constant of `boot.s`.
    DEBUGGER_REGISTERS.idle_ttbr0_el1.store(unsafe { boot_table_empty_physical }, Ordering::Relaxed);
    DEBUGGER_REGISTERS.ttbr1_el1.store(table, Ordering::Release);
}

/// Releases the cores that the firmware holds in its spin table when it enters a flat image on core 0: each waits for
/// an address to jump to. To be called while the linear map is still writable there.
pub fn release_secondaries_of_firmware() {
    const SPIN_TABLE: u64 = 0xd8;
    let entry = address_of!(__image_start) - IMAGE_OFFSET;
    for core in 1..4 {
        let slot = LINEAR_OFFSET + SPIN_TABLE + core * 8;
        // SAFETY: the spin table is in RAM below the image, and nothing else uses it. The cores in the spin loop have
        // their caches off: the value must reach memory.
        unsafe {
            (slot as *mut u64).write_volatile(entry);
            core::arch::asm!("dc civac, {}", "dsb sy", in(reg) slot);
        }
    }
    // SAFETY: only wakes the waiting cores.
    unsafe { core::arch::asm!("sev") };
}

struct Builder {
    /// Tables in use.
    used: usize,
}

impl Builder {
    fn map_image(&mut self) {
        let sections = [
            (address_of!(__image_start), address_of!(__text_end), READ_EXECUTE),
            (address_of!(__rodata_start), address_of!(__rodata_end), READ),
            (address_of!(__rodata_end), address_of!(__bss_end), READ_WRITE),
        ];
        for (start, end, attributes) in sections {
            self.map(start, start - IMAGE_OFFSET, end - start, attributes);
        }
        let stacks = [
            (address_of!(__stacks_start), address_of!(__shell_stack_top)),
            (address_of!(__shell_stack_top), address_of!(__exception_stack_top)),
            (address_of!(__exception_stack_top), address_of!(__emergency_stack_top)),
            (address_of!(__emergency_stack_top), address_of!(__secondary_stack_top_1)),
            (address_of!(__secondary_stack_top_1), address_of!(__secondary_stack_top_2)),
            (address_of!(__secondary_stack_top_2), address_of!(__secondary_stack_top_3)),
        ];
        for (guard, top) in stacks {
            let bottom = guard + PAGE;
            self.map(bottom, bottom - IMAGE_OFFSET, top - bottom, READ_WRITE);
        }
    }

    /// Maps RAM. The blocks that contain the image are read-only: executable memory has no second, writable mapping.
    fn map_ram(&mut self, ram: &RamRanges) {
        let image_end = (address_of!(__image_end) - IMAGE_OFFSET).next_multiple_of(2 * MIB);
        self.map(LINEAR_OFFSET, 0, image_end, READ);
        for &(start, end) in ram.as_slice() {
            let start = start.max(image_end);
            self.map(LINEAR_OFFSET + start, start, end.saturating_sub(start), READ_WRITE);
        }
    }

    /// Maps `length` bytes from physical address `output`, with the largest blocks that fit.
    fn map(&mut self, address: u64, output: u64, length: u64, attributes: u64) {
        let mut done = 0;
        while done < length {
            let (here, there, left) = (address + done, output + done, length - done);
            let (level, size) = [(1, GIB), (2, 2 * MIB)]
                .into_iter()
                .find(|&(_, size)| (here | there) % size == 0 && left >= size)
                .unwrap_or((3, PAGE));
            let page_bit = if level == 3 { TABLE_OR_PAGE } else { 0 };
            *self.entry(here, level) = there | attributes | page_bit;
            done += size;
        }
    }

    /// The descriptor of `address` at `level`; creates the tables above it.
    fn entry(&mut self, address: u64, level: u32) -> &mut u64 {
        // SAFETY: `install` runs once, on one core, and there is no other reference.
        let tables = unsafe { &mut *KERNEL_TABLES.0.get() };
        let first = (&raw const KERNEL_TABLES) as u64 - IMAGE_OFFSET;
        let mut table = 0;
        for above in 0..level {
            let index = index(address, above);
            if tables[table][index] == 0 {
                assert!(self.used < TABLE_COUNT, "KERNEL_TABLES is too small for the kernel's map");
                tables[table][index] = (first + (self.used * PAGE_SIZE) as u64) | 1 | TABLE_OR_PAGE;
                self.used += 1;
            }
            table = ((tables[table][index] & 0x0000_ffff_ffff_f000) - first) as usize / PAGE_SIZE;
        }
        &mut tables[table][index(address, level)]
    }
}

fn index(address: u64, level: u32) -> usize {
    (address >> (39 - 9 * level)) as usize & 0x1ff
}
