//! A cell for state that a debugger reads while the kernel changes it.
//!
//! One core runs the kernel and it does so with interrupts masked, so nothing in the kernel ever waits for another
//! holder. A debugger that looks at a running machine does not take part in that agreement: for it, `sequence` is odd
//! exactly while the value is being changed, and it differs before and after each change. It may look from another
//! CPU, also from one of the host that emulates this one: barriers have it see the counter odd before any part of a
//! change, and even only after all of it.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A value with the sequence counter that tells a whole snapshot of it from a torn one.
#[repr(C)]
pub struct SequenceCell<T> {
    sequence: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: `change` hands out at most one reference at a time: it stops the machine otherwise.
unsafe impl<T: Send> Sync for SequenceCell<T> {}

impl<T> SequenceCell<T> {
    pub const fn new(value: T) -> Self {
        Self { sequence: AtomicU64::new(0), value: UnsafeCell::new(value) }
    }

    /// Gives the value to be changed. Panics when it is already being changed: on one core with interrupts masked
    /// that can only be a nested call, which would otherwise see half a change.
    #[inline(always)]
    pub fn change(&self) -> Change<'_, T> {
        let sequence = self.sequence.load(Ordering::Relaxed);
        assert!(sequence & 1 == 0, "kernel state entered while it is being changed");
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        // Nothing of the change is seen before the odd counter.
        fence(Ordering::Release);
        Change { cell: self }
    }

    /// Has `body` look at the value, and leaves the counter even. To be called with interrupts masked. Panics when the
    /// value is being changed, and when `body` has had it changed.
    pub fn look<R>(&self, body: impl FnOnce(&T) -> R) -> R {
        let before = self.sequence();
        assert!(before & 1 == 0, "kernel state looked at while it is being changed");
        // SAFETY: nobody changes the value now, on one core with interrupts masked; that `body` does not do it either
        // is checked behind it.
        let result = body(unsafe { &*self.value.get() });
        assert!(self.sequence() == before, "kernel state changed while it is looked at");
        result
    }

    /// Ends a change that will never be ended by who began it.
    ///
    /// # Safety
    ///
    /// Who began it does not run again, and half of a change does no harm to who comes next.
    pub unsafe fn seize(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + (sequence & 1), Ordering::Relaxed);
    }

    /// The counter as it stands: even when nobody changes the value.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }
}

/// The right to change the value of a [`SequenceCell`]; ends when dropped.
pub struct Change<'a, T> {
    cell: &'a SequenceCell<T>,
}

impl<T> Deref for Change<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the counter is odd, so this `Change` is the only one.
        unsafe { &*self.cell.value.get() }
    }
}

impl<T> DerefMut for Change<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { &mut *self.cell.value.get() }
    }
}

impl<T> Drop for Change<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // All of the change is seen before the even counter.
        let sequence = self.cell.sequence.load(Ordering::Relaxed);
        self.cell.sequence.store(sequence + 1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_odd_only_during_a_change() {
        let cell = SequenceCell::new(1);
        assert_eq!(cell.sequence(), 0);
        {
            let mut change = cell.change();
            *change += 1;
            assert_eq!(cell.sequence(), 1);
        }
        assert_eq!(cell.sequence(), 2);
        assert_eq!(*cell.change(), 2);
    }

    #[test]
    fn looking_leaves_the_counter_alone() {
        let cell = SequenceCell::new(7);
        assert_eq!(cell.look(|value| *value), 7);
        assert_eq!(cell.sequence(), 0);
    }

    #[test]
    fn what_was_being_changed_can_be_seized() {
        let cell = SequenceCell::new(7);
        core::mem::forget(cell.change());
        assert_eq!(cell.sequence(), 1);
        // SAFETY: the change was forgotten, and a number has no halves.
        unsafe { cell.seize() };
        assert_eq!((cell.sequence(), *cell.change()), (2, 7));
    }

    /// A copy of the words by somebody who takes no part in the agreement; None for a torn one.
    fn copy(cell: &SequenceCell<[AtomicU64; 16]>) -> Option<(u64, [u64; 16])> {
        let before = cell.sequence.load(Ordering::Acquire);
        // SAFETY: atomic words can be read while they are written.
        let words = unsafe { &*cell.value.get() };
        let copy = core::array::from_fn(|place| words[place].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (before & 1 == 0 && cell.sequence() == before).then_some((before, copy))
    }

    #[test]
    fn a_reader_on_another_core_takes_no_torn_copy_for_a_whole_one() {
        const CHANGES: u64 = 5_000_000;
        static CELL: SequenceCell<[AtomicU64; 16]> = SequenceCell::new([const { AtomicU64::new(0) }; 16]);
        let writer = std::thread::spawn(|| {
            for number in 1..=CHANGES {
                CELL.change().iter().for_each(|word| word.store(number, Ordering::Relaxed));
            }
        });
        while !writer.is_finished() {
            if let Some((sequence, words)) = copy(&CELL) {
                assert_eq!(words, [sequence / 2; 16]);
            }
        }
        writer.join().expect("the writer comes to its end");
        assert_eq!(copy(&CELL), Some((2 * CHANGES, [CHANGES; 16])));
    }

    #[test]
    #[should_panic(expected = "changed while it is looked at")]
    fn a_change_during_a_look_is_refused() {
        let cell = SequenceCell::new(7);
        cell.look(|_| *cell.change() = 8);
    }

    #[test]
    #[should_panic(expected = "being changed")]
    fn a_nested_change_is_refused() {
        let cell = SequenceCell::new(());
        let _outer = cell.change();
        let _inner = cell.change();
    }
}
