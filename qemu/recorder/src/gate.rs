//! Counts the instructions of each core, and holds the guest before the first block of instructions that begins at a
//! count or after it.

use core::ffi::{c_uint, c_void};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::main_loop;
use crate::ring::MOST_CORES;

const NEVER: u64 = u64::MAX;
/// Between two ends of waiting, at least: half of TinyOS's tick, as recording makes the rest slower. With `-icount` and
/// `sleep=off` QEMU's clock leaps to the next timer when the guest waits: an idle guest would have some minutes pass in a
/// second, and fill the recording.
const PACE: Duration = Duration::from_millis(2);
/// Instructions after a WFI in which the interrupt that ended it may not have been taken.
const WAKES: u64 = 150;

/// The instructions of a core. Only the core's own thread counts, so no atomic operation is needed.
#[repr(align(64))]
struct Count(AtomicU64);

static COUNTS: [Count; MOST_CORES] = [const { Count(AtomicU64::new(0)) }; MOST_CORES];

/// Whether one thread executes all cores, as with `-icount`: then the first count is that of all. QEMU 10.0 does not say
/// then which core executes a block, but which one has translated it.
static IS_ONE: AtomicBool = AtomicBool::new(false);
/// The last WFI's count.
static WAIT: AtomicU64 = AtomicU64::new(NEVER);
static GOAL: AtomicU64 = AtomicU64::new(NEVER);
/// Whether the guest is held only while interrupts are not masked.
static IS_UNMASKED_ALONE: AtomicBool = AtomicBool::new(false);
/// Tells whether interrupts are masked on the core whose callback this is.
static MASKED: OnceLock<fn() -> bool> = OnceLock::new();

/// The count at which the guest is held, with the instruction that it is about to execute.
static HELD: Mutex<Option<u64>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();
/// Whether a guest that waits is to do so at `PACE`.
static IS_PACED: AtomicBool = AtomicBool::new(true);
/// The count from which on the guest, which has waited, rests: not where it just wakes, as most stops come while it rests.
static REST: AtomicU64 = AtomicU64::new(NEVER);
static LAST_WAIT: Mutex<Option<Instant>> = Mutex::new(None);

/// Has all instructions counted as one core's, so that the guest can be held. `is_masked` tells in a callback whether
/// interrupts are masked on its core.
pub fn count_as_one(is_masked: fn() -> bool) {
    MASKED.get_or_init(|| is_masked);
    IS_ONE.store(true, Ordering::Relaxed);
}

/// Instructions that a core has executed, if they are counted as its own; in a callback, with the one that it is for.
pub fn count(core: usize) -> u64 {
    COUNTS[core].0.load(Ordering::Relaxed)
}

/// Instructions that the guest has executed, if they are counted as one core's.
pub fn position() -> u64 {
    count(0)
}

/// Sets the position, while no core runs.
pub fn set_position(position: u64) {
    COUNTS[0].0.store(position, Ordering::Relaxed);
    WAIT.store(NEVER, Ordering::Relaxed);
    REST.store(NEVER, Ordering::Relaxed);
}

/// Whether the last instruction was a WFI: then the guest may wait for an interrupt.
pub fn is_waiting() -> bool {
    position() == WAIT.load(Ordering::Relaxed)
}

/// Whether the guest has executed a WFI since a count: then a snapshot may lose the interrupt that ends it.
pub fn has_waited_since(count: u64) -> bool {
    let wait = WAIT.load(Ordering::Relaxed);
    wait != NEVER && wait >= count
}

/// The core as which one counts.
pub fn counted(core: c_uint) -> usize {
    if IS_ONE.load(Ordering::Relaxed) { 0 } else { core as usize % MOST_CORES }
}

/// Called before each instruction but a block's first one. Not an inline operation on a scoreboard: with `-icount` QEMU
/// 10.0 gives cores but the first another's entry, or memory that is none.
pub extern "C" fn on_later(core: c_uint, _: *mut c_void) {
    add_one(core);
}

/// Called before a block's first instruction.
pub extern "C" fn on_first(core: c_uint, _: *mut c_void) {
    let count = add_one(core);
    if count >= REST.load(Ordering::Relaxed) {
        rest(count);
    }
    if count >= GOAL.load(Ordering::Relaxed) && (!IS_UNMASKED_ALONE.load(Ordering::Relaxed) || is_unmasked()) {
        hold(count);
    }
}

/// Whether interrupts are not masked on the core whose callback this is.
fn is_unmasked() -> bool {
    MASKED.get().is_some_and(|is_masked| !is_masked())
}

/// Called before a WFI, after it is counted.
///
/// QEMU's main loop moves the clock to the next timer as soon as it sees that all cores wait. If that is while the core is
/// just beginning to wait, the instructions since it last looked at the clock are added to the timer's time: so the clock
/// would be another in each run. Here the main loop gets the time to finish what it does, and to wait itself.
pub extern "C" fn on_wait(_: c_uint, _: *mut c_void) {
    WAIT.store(position(), Ordering::Relaxed);
    if REST.load(Ordering::Relaxed) == NEVER {
        REST.store(position() + WAKES, Ordering::Relaxed);
    }
    if IS_ONE.load(Ordering::Relaxed) {
        main_loop::wait_until_quiet();
    }
}

fn add_one(core: c_uint) -> u64 {
    let place = &COUNTS[counted(core)].0;
    let count = place.load(Ordering::Relaxed).wrapping_add(1);
    place.store(count, Ordering::Relaxed);
    count
}

fn held() -> MutexGuard<'static, Option<u64>> {
    HELD.lock().expect("a panic ends QEMU")
}

/// Called after the guest has waited. Takes none of its time, which instructions count; ends early for a goal.
#[cold]
fn rest(count: u64) {
    let mut last = LAST_WAIT.lock().expect("a panic ends QEMU");
    let end = last.map_or_else(Instant::now, |last| last + PACE);
    let mut held = held();
    while IS_PACED.load(Ordering::Relaxed)
        && GOAL.load(Ordering::Relaxed) > count
        && let Some(left) = end.checked_duration_since(Instant::now())
    {
        held = CHANGED.wait_timeout(held, left).expect("a panic ends QEMU").0;
    }
    REST.store(NEVER, Ordering::Relaxed);
    *last = Some(Instant::now());
}

#[cold]
fn hold(count: u64) {
    let mut held = held();
    while GOAL.load(Ordering::Relaxed) <= count {
        *held = Some(count);
        CHANGED.notify_all();
        held = CHANGED.wait(held).expect("a panic ends QEMU");
    }
    *held = None;
}

/// Holds the guest before the first block that begins with its instruction `goal` or a later one.
pub fn set_goal(goal: u64) {
    let _held = held();
    GOAL.store(goal, Ordering::Relaxed);
    CHANGED.notify_all();
}

/// Holds the guest before its next block.
pub fn close() {
    set_goal(0);
}

/// Holds the guest before a block with interrupts that are not masked, which follows another block: none is pending, as it
/// would have been taken, and a debugger that steps has stopped the guest between the two. Whether it is held within a time;
/// if not, it goes on.
pub fn close_unmasked(time: Duration) -> bool {
    let end = Instant::now() + time;
    let first = arrived().or_else(|| {
        close();
        wait(time)
    });
    IS_UNMASKED_ALONE.store(true, Ordering::Relaxed);
    let is_held = first.is_some_and(|count| {
        set_goal(count + 1);
        wait_beyond(count, end).is_some()
    });
    IS_UNMASKED_ALONE.store(false, Ordering::Relaxed);
    if !is_held {
        open();
    }
    is_held
}

/// Holds the guest no longer.
pub fn open() {
    set_goal(NEVER);
}

/// Whether a guest that waits does so about as long as without `-icount`, or, in a replay, not at all.
pub fn set_paced(is_paced: bool) {
    IS_PACED.store(is_paced, Ordering::Relaxed);
}

/// Where the guest is held now.
pub fn arrived() -> Option<u64> {
    *held()
}

/// Waits until the guest is held; None if it is not after `time`.
pub fn wait(time: Duration) -> Option<u64> {
    wait_beyond(0, Instant::now() + time)
}

/// Waits until the guest is held at a count beyond another; None if it is not at `end`.
fn wait_beyond(count: u64, end: Instant) -> Option<u64> {
    let mut held = held();
    while held.is_none_or(|at| at <= count) {
        let left = end.checked_duration_since(Instant::now())?;
        held = CHANGED.wait_timeout(held, left).expect("a panic ends QEMU").0;
    }
    *held
}

#[cfg(test)]
mod tests {
    use super::*;

    static MASK: AtomicBool = AtomicBool::new(true);
    static ENDS: AtomicBool = AtomicBool::new(false);

    #[test]
    fn the_guest_is_held_at_a_goal_until_the_gate_opens() {
        set_goal(1000);
        count_as_one(|| MASK.load(Ordering::Relaxed));
        let runs = std::thread::spawn(|| {
            for block in 0..100 {
                on_first(block % 4, core::ptr::null_mut());
                for _ in 0..29 {
                    on_later(block % 4, core::ptr::null_mut());
                }
            }
            on_wait(3, core::ptr::null_mut());
        });
        // The first block that begins with instruction 1000 or a later one is that of 1021.
        assert_eq!(wait(Duration::from_secs(10)), Some(34 * 30 + 1));
        set_goal(2000);
        while arrived() != Some(67 * 30 + 1) {
            std::thread::yield_now();
        }
        assert!(!is_waiting());
        open();
        runs.join().unwrap();
        assert_eq!((position(), count(3), arrived(), is_waiting()), (3000, 0, None, true));
        set_position(3000);
        assert!(!is_waiting() && !has_waited_since(0));
        // Ten times it waits, and executes one block.
        let waits = || {
            let began = Instant::now();
            for _ in 0..10 {
                on_wait(0, core::ptr::null_mut());
                assert!(has_waited_since(position()) && !has_waited_since(position() + 1));
                (0..WAKES).for_each(|_| on_first(0, core::ptr::null_mut()));
            }
            began.elapsed()
        };
        assert!(waits() >= 9 * PACE);
        set_paced(false);
        assert!(waits() < 8 * PACE);
        set_paced(true);
        // A goal ends a rest.
        let runs = std::thread::spawn(waits);
        close();
        assert!(wait(Duration::from_secs(10)).is_some());
        open();
        assert!(runs.join().unwrap() >= 8 * PACE);
        // A guest that goes on and on is held where interrupts are not masked, before another block than the next.
        let runs = std::thread::spawn(|| {
            while !ENDS.load(Ordering::Relaxed) {
                on_first(0, core::ptr::null_mut());
            }
        });
        assert!(!close_unmasked(Duration::from_millis(20)));
        MASK.store(false, Ordering::Relaxed);
        close();
        let next = wait(Duration::from_secs(10)).unwrap();
        assert!(close_unmasked(Duration::from_secs(10)));
        assert_eq!(arrived(), Some(next + 1));
        ENDS.store(true, Ordering::Relaxed);
        open();
        runs.join().unwrap();
    }
}
