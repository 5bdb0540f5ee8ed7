//! The interrupt controller (GIC-400), the timer tick, and the interrupt of the console.

use crate::cpu;
use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_TVAL_EL0, Writeable};
use arm_gic::gicv2::{GicV2, SgiTarget, SgiTargetListFilter};
use arm_gic::{IntId, InterruptGroup};
use tinyos::memory::layout::{DEVICE_OFFSET, GIC_CPU_INTERFACE, GIC_DISTRIBUTOR};
use tinyos::sequence_lock::SequenceLock;
use tinyos::tasks::TICKS_PER_SECOND;

const DISTRIBUTOR: u64 = GIC_DISTRIBUTOR + DEVICE_OFFSET;
const CPU_INTERFACE: u64 = GIC_CPU_INTERFACE + DEVICE_OFFSET;
/// Offsets of `GICD_IPRIORITYR` and `GICD_ITARGETSR`, one byte an interrupt.
const PRIORITIES: u64 = 0x400;
const TARGETS: u64 = 0x800;
/// Offsets of `GICD_ICENABLER` and `GICD_ICACTIVER`, one bit an interrupt.
const CLEAR_ENABLE: u64 = 0x180;
const CLEAR_ACTIVE: u64 = 0x380;
/// From this number on, `GICC_IAR` names no interrupt but a reason why there is none.
const FIRST_SPECIAL: u32 = 1020;
/// The virtual timer, and the first PL011.
const TIMER: IntId = IntId::ppi(11);
const UART: IntId = IntId::spi(121);
/// The interrupt that the shell sends to itself to give up its turn.
const YIELD: IntId = IntId::sgi(0);

static GIC: SequenceLock<Option<GicV2<'static>>> = SequenceLock::new(None);

/// What an interrupt is for. Who calls [`handle`] knows what to do for each.
pub enum Source {
    Timer,
    Console,
    /// An interrupt with this number that nothing handles. It is disabled now.
    Unexpected(u32),
}

/// Routes the interrupts of timer and console to this core, starts the tick, and unmasks interrupts.
pub fn initialize() {
    // SAFETY: these are the GIC's registers, mapped as device memory; nothing else uses them.
    let mut gic = unsafe { GicV2::new(DISTRIBUTOR as *mut _, CPU_INTERFACE as *mut _) };
    gic.setup();
    // `setup` takes a GIC with the Security Extensions to be seen from the secure side. The non-secure side sees only
    // group 1 there, and enables it by the bit that enables group 0 elsewhere. The same holds for the CPU interface:
    // the registers for "group 0" below mean group 1 then.
    gic.enable_group0(true);
    // SAFETY: as above; the byte routes the interrupt to core 0.
    unsafe { ((DISTRIBUTOR + TARGETS + u32::from(UART) as u64) as *mut u8).write_volatile(1) };
    for interrupt in [TIMER, UART, YIELD] {
        forget_former_use(interrupt);
    }
    for interrupt in [TIMER, UART] {
        if let Err(error) = gic.enable_interrupt(interrupt, true) {
            panic!("cannot enable an interrupt: {error}");
        }
    }
    *GIC.write() = Some(gic);
    start_timer();
    cpu::unmask_interrupts();
}

/// Gives an interrupt the highest priority, and makes it inactive. Of the lowest priority, or active in the hands of the
/// firmware, it would never come.
fn forget_former_use(interrupt: IntId) {
    let number = number(interrupt);
    // SAFETY: these are registers of the GIC, mapped as device memory; the writes concern this interrupt only.
    unsafe {
        ((DISTRIBUTOR + PRIORITIES + u64::from(number)) as *mut u8).write_volatile(0);
        register_of(CLEAR_ACTIVE, number).write_volatile(1 << (number % 32));
    }
}

/// The word with the bit of an interrupt, among registers of one bit an interrupt from `offset` on.
fn register_of(offset: u64, number: u32) -> *mut u32 {
    (DISTRIBUTOR + offset + u64::from(number / 32 * 4)) as *mut u32
}

fn start_timer() {
    CNTV_TVAL_EL0.set(cpu::frequency() / TICKS_PER_SECOND);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
}

/// Sends this core an interrupt, by which the shell gives up its turn.
pub fn interrupt_self() {
    let target = SgiTarget::List { target_list_filter: SgiTargetListFilter::ForwardSelfOnly, target_list: 0 };
    if let Some(gic) = GIC.write().as_mut() {
        gic.send_sgi(YIELD, target);
    }
}

/// Handles all pending interrupts: calls `dispatch` for each but the shell's own. `dispatch` must not use this module.
pub fn handle(dispatch: impl Fn(Source)) {
    let mut gic = GIC.write();
    let Some(gic) = gic.as_mut() else { return };
    while let Some(interrupt) = acknowledge(gic) {
        match interrupt {
            TIMER => {
                start_timer();
                dispatch(Source::Timer);
            }
            UART => dispatch(Source::Console),
            // The shell gives up its turn: the caller switches to another task.
            YIELD => {}
            unexpected => {
                if let Some(number) = disable(unexpected) {
                    dispatch(Source::Unexpected(number));
                }
            }
        }
        gic.end_interrupt(interrupt, InterruptGroup::Group0);
    }
}

/// The next pending interrupt. None also for one of the other group, which is not this kernel's to take.
fn acknowledge(gic: &mut GicV2) -> Option<IntId> {
    gic.get_and_acknowledge_interrupt(InterruptGroup::Group0).filter(|&interrupt| number(interrupt) < FIRST_SPECIAL)
}

/// `GICC_IAR.InterruptID`. For a software-generated interrupt the bits above have the core that sent it.
fn number(interrupt: IntId) -> u32 {
    u32::from(interrupt) & 0x3ff
}

/// Disables an interrupt that nothing handles, and returns its number: a device that goes on asserting it would take
/// all time. None for one that another core has sent.
fn disable(interrupt: IntId) -> Option<u32> {
    let number = number(interrupt);
    if number < IntId::SGI_COUNT {
        // It comes once. Disabled, it would not come from this core either.
        return None;
    }
    // SAFETY: this is a register of the GIC, mapped as device memory; a write disables one interrupt.
    unsafe { register_of(CLEAR_ENABLE, number).write_volatile(1 << (number % 32)) };
    Some(number)
}
