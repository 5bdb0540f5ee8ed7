//! The interrupt controller (GIC-400), the timer tick, and the interrupt of the console.

use crate::{console, scheduler};
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_TVAL_EL0, Readable, Writeable};
use arm_gic::gicv2::{GicV2, SgiTarget, SgiTargetListFilter};
use arm_gic::{IntId, InterruptGroup};
use tinyos::memory::layout::DEVICE_OFFSET;
use tinyos::sequence_lock::SequenceLock;
use tinyos::tasks::TICKS_PER_SECOND;

const DISTRIBUTOR: u64 = 0xff84_1000 + DEVICE_OFFSET;
const CPU_INTERFACE: u64 = 0xff84_2000 + DEVICE_OFFSET;
/// Offset of `GICD_ITARGETSR`, one byte an interrupt.
const TARGETS: u64 = 0x800;
/// The virtual timer, and the first PL011.
const TIMER: IntId = IntId::ppi(11);
const UART: IntId = IntId::spi(121);
/// The interrupt that the shell sends to itself to give up its turn.
const YIELD: IntId = IntId::sgi(0);

static GIC: SequenceLock<Option<GicV2<'static>>> = SequenceLock::new(None);

/// Counts of the generic timer in a second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// Routes the interrupts of timer and console to this core, starts the tick, and unmasks interrupts.
pub fn initialize() {
    // SAFETY: these are the GIC's registers, mapped as device memory; nothing else uses them.
    let mut gic = unsafe { GicV2::new(DISTRIBUTOR as *mut _, CPU_INTERFACE as *mut _) };
    gic.setup();
    // SAFETY: as above; the byte routes the interrupt to core 0.
    unsafe { ((DISTRIBUTOR + TARGETS + u32::from(UART) as u64) as *mut u8).write_volatile(1) };
    for interrupt in [TIMER, UART] {
        if let Err(error) = gic.enable_interrupt(interrupt, true) {
            panic!("cannot enable an interrupt: {error}");
        }
    }
    *GIC.write() = Some(gic);
    start_timer();
    // SAFETY: the exception vectors are installed.
    unsafe { core::arch::asm!("msr daifclr, #2", options(nostack)) };
}

fn start_timer() {
    CNTV_TVAL_EL0.set(frequency() / TICKS_PER_SECOND);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
}

/// Sends this core an interrupt, by which the shell gives up its turn.
pub fn interrupt_self() {
    let target = SgiTarget::List { target_list_filter: SgiTargetListFilter::ForwardSelfOnly, target_list: 0 };
    if let Some(gic) = GIC.write().as_mut() {
        gic.send_sgi(YIELD, target);
    }
}

/// Handles all pending interrupts. The caller then switches to a task that became ready.
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
