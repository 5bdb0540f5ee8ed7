//! The kernel binary: boot, exceptions, tasks, and the shell on the serial console.

#![no_std]
#![no_main]

mod console;
mod cpu;
mod exceptions;
mod failure;
mod firmware;
mod interrupts;
mod kernel_map;
mod pins;
mod programs;
mod scheduler;
mod shell;
mod workload;

use aarch64_cpu::registers::{CurrentEL, ID_AA64MMFR0_EL1, Readable};
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use tinyos::debugger::DEBUGGER_INTERFACE;
use tinyos::hardware;
use tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER;
use tinyos::memory::layout::{GIC_CPU_INTERFACE, GIC_DISTRIBUTOR, IMAGE_OFFSET};
use tinyos::tasks::Context;

global_asm!(
    include_str!("boot/boot.s"),
    image_offset = const IMAGE_OFFSET,
    gic_distributor = const GIC_DISTRIBUTOR,
    gic_cpu_interface = const GIC_CPU_INTERFACE,
);
global_asm!(
    include_str!("boot/frames.s"),
    include_str!("boot/vectors.s"),
    context_size = const size_of::<Context>(),
    context_sp = const offset_of!(Context, sp),
    context_pc = const offset_of!(Context, pc),
    context_thread_pointer = const offset_of!(Context, thread_pointer),
);

/// Called by `boot.s` on core 0: at EL1, with MMU and caches on, on the shell's stack, with interrupts masked.
/// `device_tree`: its physical address, as the firmware gave it.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(entered_at: u64, device_tree: u64) -> ! {
    let started = hardware::now();
    // SAFETY: the other cores wait in `boot.s`, with the same tables.
    let ram = unsafe { firmware::ram(device_tree) };
    kernel_map::release_secondaries_of_firmware();
    kernel_map::install(ram.usable());
    let uart_clock = console::initialize();
    DEBUGGER_INTERFACE.timer_frequency.store(cpu::frequency(), Ordering::Relaxed);
    let asid_bits = asid_bits();
    println!();
    println!("TinyOS {}", env!("CARGO_PKG_VERSION"));
    println!("entered at EL{entered_at}, now at EL{}; {asid_bits}-bit ASIDs", CurrentEL.read(CurrentEL::EL));
    println!("RAM: {ram}");
    println!("UART clock: {uart_clock}");
    ram.check();
    assert!(hardware::zeroes_blocks_of_64_bytes(), "DC ZVA must zero blocks of 64 bytes");
    if DYNAMIC_MEMORY_MANAGER.write().initialize(asid_bits, cpu::frequency()).is_err() {
        panic!("the pool is too small for the kernel's own pages");
    }
    hardware::invalidate_everything();
    scheduler::initialize();
    interrupts::initialize();
    workload::run();
    DEBUGGER_INTERFACE.ready_time.store(hardware::now(), Ordering::Relaxed);
    DEBUGGER_INTERFACE.is_ready.store(1, Ordering::Release);
    let took = (hardware::now() - started) * 1000 / cpu::frequency();
    println!("boot took {took} ms; h for help");
    shell::run()
}

/// The CPU's ASID size, 16 or 8 bits (`ID_AA64MMFR0_EL1.ASIDBits`).
fn asid_bits() -> u32 {
    if ID_AA64MMFR0_EL1.matches_all(ID_AA64MMFR0_EL1::ASIDBits::Bits_16) { 16 } else { 8 }
}
