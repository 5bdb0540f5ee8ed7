//! The interrupt controller (GIC-400), the timer's tick, and the console's input.

use crate::{console, scheduler};
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_TVAL_EL0, Readable, Writeable};
use arm_gic::gicv2::{GicV2, SgiTarget, SgiTargetListFilter};
use arm_gic::{IntId, InterruptGroup};
use tinyos::memory::layout::DEVICE_OFFSET;
use tinyos::sequence_lock::SequenceLock;

const DISTRIBUTOR: u64 = 0xff84_1000 + DEVICE_OFFSET;
const CPU_INTERFACE: u64 = 0xff84_2000 + DEVICE_OFFSET;
/// Offset of `GICD_ITARGETSR`, one byte an interrupt.
const TARGETS: u64 = 0x800;
/// The virtual timer, and the first PL011.
const TIMER: IntId = IntId::ppi(11);
const UART: IntId = IntId::spi(121);
/// What the shell interrupts itself with.
const YIELD: IntId = IntId::sgi(0);
/// A tick is a task's turn.
pub const TICKS_PER_SECOND: u64 = 250;

static GIC: SequenceLock<Option<GicV2<'static>>> = SequenceLock::new(None);

/// Counts of the generic timer in a second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// Routes timer and console here, starts the tick, and lets interrupts in.
pub fn initialize() {
    // SAFETY: the GIC's registers, mapped as device memory; nothing else uses them.
    let mut gic = unsafe { GicV2::new(DISTRIBUTOR as *mut _, CPU_INTERFACE as *mut _) };
    gic.setup();
    // SAFETY: as above; the byte says that core 0 takes the interrupt.
    unsafe { ((DISTRIBUTOR + TARGETS + u32::from(UART) as u64) as *mut u8).write_volatile(1) };
    for interrupt in [TIMER, UART] {
        if let Err(error) = gic.enable_interrupt(interrupt, true) {
            panic!("{error}");
        }
    }
    *GIC.write() = Some(gic);
    start_timer();
    // SAFETY: the vectors are in place.
    unsafe { core::arch::asm!("msr daifclr, #2", options(nostack)) };
}

fn start_timer() {
    CNTV_TVAL_EL0.set(frequency() / TICKS_PER_SECOND);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
}

/// Interrupts this core, so that the shell can give its turn away.
pub fn interrupt_self() {
    let target = SgiTarget::List { target_list_filter: SgiTargetListFilter::ForwardSelfOnly, target_list: 0 };
    if let Some(gic) = GIC.write().as_mut() {
        gic.send_sgi(YIELD, target);
    }
}

/// Takes the interrupts that are pending. What they make ready is for the scheduler to switch to.
pub fn handle() {
    let mut gic = GIC.write();
    let Some(gic) = gic.as_mut() else { return };
    while let Some(interrupt) = gic.get_and_acknowledge_interrupt(InterruptGroup::Group0) {
        match interrupt {
            TIMER => {
                start_timer();
                scheduler::tick();
            }
            UART => {
                console::acknowledge();
                scheduler::wake_shell();
            }
            _ => {}
        }
        gic.end_interrupt(interrupt, InterruptGroup::Group0);
    }
}
