//! A sequence lock (seqlock) for state that a debugger reads while the kernel writes it.
//!
//! Only core 0 runs the kernel, and it masks interrupts, so the kernel never waits for this lock. A debugger reads the
//! running machine without taking part in that: for it, `sequence` is odd exactly while the value is being written, and
//! differs before and after each write. It may read from another CPU, or from a CPU of the host that emulates this one.
//! Barriers make sure that it sees the odd counter before any part of a write, and the even counter after all of it.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A value and the sequence counter by which a reader tells a consistent copy of it from a torn one.
#[repr(C)]
pub struct SequenceLock<T> {
    sequence: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: `write` gives out at most one reference at a time; a second call panics.
unsafe impl<T: Send> Sync for SequenceLock<T> {}

impl<T> SequenceLock<T> {
    pub const fn new(value: T) -> Self {
        Self { sequence: AtomicU64::new(0), value: UnsafeCell::new(value) }
    }

    /// Locks the value for writing until the guard is dropped.
    ///
    /// Panics when the lock is held: on one core with interrupts masked that can only be a nested call, which would
    /// see the value half written.
    #[inline(always)]
    pub fn write(&self) -> WriteGuard<'_, T> {
        let sequence = self.sequence.load(Ordering::Relaxed);
        assert!(sequence & 1 == 0, "kernel state is already locked for writing");
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        // A reader sees no part of the write before the odd counter.
        fence(Ordering::Release);
        WriteGuard { lock: self }
    }

    /// Calls `body` with the value and leaves the counter alone. The caller has masked interrupts.
    ///
    /// Panics when the lock is held for writing, and when `body` has written the value.
    pub fn read<R>(&self, body: impl FnOnce(&T) -> R) -> R {
        let before = self.sequence();
        assert!(before & 1 == 0, "kernel state read while it is locked for writing");
        // SAFETY: nobody holds the lock for writing: this is the only core, interrupts are masked, and a `body` that
        // writes is caught below.
        let result = body(unsafe { &*self.value.get() });
        assert!(self.sequence() == before, "kernel state written while it was being read");
        result
    }

    /// Releases a write lock whose owner is gone.
    ///
    /// # Safety
    ///
    /// The owner does not run again, and the next user can cope with a value that is half written.
    pub unsafe fn force_release(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + (sequence & 1), Ordering::Relaxed);
    }

    /// The counter: even unless the lock is held for writing.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }
}

/// Write access to the value of a [`SequenceLock`]; dropping it releases the lock.
pub struct WriteGuard<'a, T> {
    lock: &'a SequenceLock<T>,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the counter is odd, so this is the only guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // A reader sees the even counter only after all of the write.
        let sequence = self.lock.sequence.load(Ordering::Relaxed);
        self.lock.sequence.store(sequence + 1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_odd_only_during_a_write() {
        let lock = SequenceLock::new(1);
        assert_eq!(lock.sequence(), 0);
        {
            let mut guard = lock.write();
            *guard += 1;
            assert_eq!(lock.sequence(), 1);
        }
        assert_eq!(lock.sequence(), 2);
        assert_eq!(*lock.write(), 2);
    }

    #[test]
    fn reading_leaves_the_counter_alone() {
        let lock = SequenceLock::new(7);
        assert_eq!(lock.read(|value| *value), 7);
        assert_eq!(lock.sequence(), 0);
    }

    #[test]
    fn a_write_lock_can_be_force_released() {
        let lock = SequenceLock::new(7);
        core::mem::forget(lock.write());
        assert_eq!(lock.sequence(), 1);
        // SAFETY: the guard was forgotten, and a number cannot be half written.
        unsafe { lock.force_release() };
        assert_eq!((lock.sequence(), *lock.write()), (2, 7));
    }

    /// Copies the words as a debugger does; None for a torn copy.
    fn copy(lock: &SequenceLock<[AtomicU64; 16]>) -> Option<(u64, [u64; 16])> {
        let before = lock.sequence.load(Ordering::Acquire);
        // SAFETY: atomic words can be read while they are written.
        let words = unsafe { &*lock.value.get() };
        let copy = core::array::from_fn(|place| words[place].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (before & 1 == 0 && lock.sequence() == before).then_some((before, copy))
    }

    #[test]
    fn a_reader_on_another_core_never_accepts_a_torn_copy() {
        const WRITES: u64 = 5_000_000;
        static LOCK: SequenceLock<[AtomicU64; 16]> = SequenceLock::new([const { AtomicU64::new(0) }; 16]);
        let writer = std::thread::spawn(|| {
            for number in 1..=WRITES {
                LOCK.write().iter().for_each(|word| word.store(number, Ordering::Relaxed));
            }
        });
        while !writer.is_finished() {
            if let Some((sequence, words)) = copy(&LOCK) {
                assert_eq!(words, [sequence / 2; 16]);
            }
        }
        writer.join().expect("the writer finishes");
        assert_eq!(copy(&LOCK), Some((2 * WRITES, [WRITES; 16])));
    }

    #[test]
    #[should_panic(expected = "written while it was being read")]
    fn a_write_during_a_read_panics() {
        let lock = SequenceLock::new(7);
        lock.read(|_| *lock.write() = 8);
    }

    #[test]
    #[should_panic(expected = "already locked")]
    fn a_nested_write_panics() {
        let lock = SequenceLock::new(());
        let _outer = lock.write();
        let _inner = lock.write();
    }
}
