//! A second small kernel of TinyOS's design, which differs from the first in all that the design leaves open.
//!
//! It runs at EL2 with the MMU on. There are two managers, so that a debugger must ask which is meant. It
//! writes down its records, and then waits on its serial line for a letter: `f` takes a fault.

#![no_std]
#![no_main]

#[path = "../../console.rs"]
mod console;
mod heart;
mod locks;

/// The second manager.
mod reserve {
    use crate::heart::Keeper;
    use crate::locks::Ticketed;

    pub static DYNAMIC_MEMORY_MANAGER: Ticketed<Keeper> = Ticketed::new(Keeper::new());
}

core::arch::global_asm!(include_str!("start.s"), include_str!("../../vectors.s"));

/// An address that is not mapped.
const NOWHERE: *const u64 = 0x8000_1230 as *const u64;

#[unsafe(no_mangle)]
pub extern "C" fn kernel_main() -> ! {
    say!("orchard");
    heart::DYNAMIC_MEMORY_MANAGER.with(|manager| manager.work(1));
    reserve::DYNAMIC_MEMORY_MANAGER.with(|manager| manager.work(3));
    heart::SCHEDULER.with(|words| words[0] += 1);
    say!("first");
    heart::DYNAMIC_MEMORY_MANAGER.with(|manager| manager.tell());
    say!("second");
    reserve::DYNAMIC_MEMORY_MANAGER.with(|manager| manager.tell());
    say!("ready");
    loop {
        if console::read() == b'f' {
            // SAFETY: it does not return from there, but to the vector.
            unsafe { core::arch::asm!("ldr {0}, [{0}]", inout(reg) NOWHERE => _) }
        }
    }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    say!("panic: {info}");
    loop {
        core::hint::spin_loop();
    }
}
