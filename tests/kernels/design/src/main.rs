//! A small kernel of the same design as TinyOS, by other names: for the tests of the plugin.
//!
//! It stays at EL3 with the MMU off. It does nothing but fill its records, write them on its serial line, and
//! then wait there for a letter: `f` takes a fault, `l` keeps the manager locked.

#![no_std]
#![no_main]

#[path = "../../console.rs"]
mod console;
mod memory;
mod spin;

core::arch::global_asm!(include_str!("start.s"), include_str!("../../vectors.s"));

/// An address beyond those that the processor has.
const NOWHERE: *const u64 = (1u64 << 50) as *const u64;

#[unsafe(no_mangle)]
pub extern "C" fn kernel_main() -> ! {
    say!("meadow");
    before_the_manager();
    memory::initialise();
    memory::work();
    memory::tell();
    say!("ready");
    loop {
        match console::read() {
            // SAFETY: it does not return from there, but to the vector.
            b'f' => unsafe { core::arch::asm!("ldr {0}, [{0}]", inout(reg) NOWHERE => _) },
            b'l' => memory::hold(),
            _ => {}
        }
    }
}

/// A place for a breakpoint: nothing is set up yet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn before_the_manager() {
    // SAFETY: nothing is done; the function is only not to be left out.
    unsafe { core::arch::asm!("nop") }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    say!("panic: {info}");
    loop {
        core::hint::spin_loop();
    }
}
