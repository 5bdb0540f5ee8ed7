//! A sequence lock (seqlock) for state that a debugger reads while the kernel writes it.
//!
//! Only core 0 runs the kernel, and it masks interrupts, so the kernel never waits for this lock: two accesses at once of
//! which one writes are a bug, and the later one panics before it has a reference. That holds on any number of cores. A
//! debugger reads the running machine without taking part in that: for it, `sequence` is odd exactly while the value is
//! being written, and differs before and after each write. It may read from another CPU, or from a CPU of the host that
//! emulates this one. Barriers make sure that it sees the odd counter before any part of a write, and the even counter
//! after all of it.
//!
//! The kernel's own readers do not read like a debugger, who may see values of all kinds before the counter tells that a
//! copy is torn: a reference to such a value would be undefined behaviour, and the manager is too large to be copied.
//! They are counted in `readers` instead, and keep the writer out.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A value, the sequence counter by which a debugger tells a consistent copy of it from a torn one, and the number of
/// the kernel's own readers.
#[repr(C)]
pub struct SequenceLock<T> {
    sequence: AtomicU64,
    readers: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: either one `WriteGuard` or any number of `ReadGuard`s exist; see `try_write` and `try_read`. A reference to the
// lock gives a shared reference to the value only where that is `Sync` itself: see `read`.
unsafe impl<T: Send> Sync for SequenceLock<T> {}

impl<T> SequenceLock<T> {
    pub const fn new(value: T) -> Self {
        Self { sequence: AtomicU64::new(0), readers: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Locks the value for writing until the guard is dropped.
    ///
    /// Panics when the value is being written or read: on one core with interrupts masked that can only be a nested
    /// call.
    #[inline(always)]
    pub fn write(&self) -> WriteGuard<'_, T> {
        match self.try_write() {
            Ok(guard) => guard,
            Err(conflict) => conflict.panic(),
        }
    }

    #[inline(always)]
    fn try_write(&self) -> Result<WriteGuard<'_, T>, Conflict> {
        // Sets bit 0 and returns what was there, in one step: only one caller finds it clear.
        let before = self.sequence.fetch_or(1, Ordering::Relaxed);
        if before & 1 != 0 {
            return Err(Conflict::TwoWriters);
        }
        // A debugger sees no part of the write before the odd counter. And of a writer here and a reader in `try_read`,
        // at least one sees the other: both fences are sequentially consistent.
        fence(Ordering::SeqCst);
        // `Acquire`: what the last reader read is read before this write.
        if self.readers.load(Ordering::Acquire) != 0 {
            self.sequence.store(before, Ordering::Release);
            return Err(Conflict::WriterAmongReaders);
        }
        Ok(WriteGuard { lock: self, access: PhantomData })
    }

    /// Releases a write lock whose owner is gone.
    ///
    /// # Safety
    ///
    /// The owner does not run again, and the next user can cope with a value that is half written.
    pub unsafe fn force_release(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + (sequence & 1), Ordering::Release);
    }

    /// The counter: even unless the lock is held for writing.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Bytes from the start of the lock to the value.
    pub const fn value_offset() -> usize {
        core::mem::offset_of!(Self, value)
    }
}

impl<T: Sync> SequenceLock<T> {
    /// Calls `body` with the value and leaves the counter alone.
    ///
    /// Panics when the value is being written.
    pub fn read<R>(&self, body: impl FnOnce(&T) -> R) -> R {
        match self.try_read() {
            Ok(guard) => body(guard.value()),
            Err(conflict) => conflict.panic(),
        }
    }

    fn try_read(&self) -> Result<ReadGuard<'_, T>, Conflict> {
        self.readers.fetch_add(1, Ordering::Relaxed);
        let guard = ReadGuard { lock: self };
        // See `try_write`.
        fence(Ordering::SeqCst);
        // `Acquire`: the last write is complete.
        if self.sequence.load(Ordering::Acquire) & 1 != 0 {
            return Err(Conflict::ReaderDuringWrite);
        }
        Ok(guard)
    }
}

/// Two accesses at once of which one writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conflict {
    TwoWriters,
    WriterAmongReaders,
    ReaderDuringWrite,
}

impl Conflict {
    #[cold]
    #[inline(never)]
    fn panic(self) -> ! {
        panic!(
            "{}",
            match self {
                Conflict::TwoWriters => "kernel state is already locked for writing",
                Conflict::WriterAmongReaders => "kernel state written while it is being read",
                Conflict::ReaderDuringWrite => "kernel state read while it is locked for writing",
            }
        )
    }
}

/// One of the readers; dropping it ends the reading.
struct ReadGuard<'a, T> {
    lock: &'a SequenceLock<T>,
}

impl<T> ReadGuard<'_, T> {
    fn value(&self) -> &T {
        // SAFETY: this reader is counted, and there was no writer when it was, so there is none until it is dropped.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.readers.fetch_sub(1, Ordering::Release);
    }
}

/// Write access to the value of a [`SequenceLock`]; dropping it releases the lock.
pub struct WriteGuard<'a, T> {
    lock: &'a SequenceLock<T>,
    /// It can be shared or sent where a `&mut T` can.
    access: PhantomData<&'a mut T>,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this guard alone made the counter odd, and there were no readers: there is no other guard.
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
        // A debugger sees the even counter only after all of the write.
        let sequence = self.lock.sequence.load(Ordering::Relaxed);
        self.lock.sequence.store(sequence + 1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

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
        const WRITES: u64 = if cfg!(miri) { 300 } else { 5_000_000 };
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

    /// Calls `attempt` again and again in two threads, until it has often returned false right after true: so often the
    /// threads met. A host that runs them one after the other is given up after some seconds. Returns how often it
    /// returned true.
    fn in_two_threads(attempt: fn() -> bool) -> u64 {
        const MEETINGS: u64 = if cfg!(miri) { 10 } else { 20_000 };
        let met = Arc::new(AtomicU64::new(0));
        let end = Instant::now() + Duration::from_secs(5);
        let work = move |met: Arc<AtomicU64>| {
            let (mut done, mut before) = (0, false);
            while met.load(Ordering::Relaxed) < MEETINGS && Instant::now() < end {
                for _ in 0..100 {
                    let could = attempt();
                    done += could as u64;
                    met.fetch_add((before && !could) as u64, Ordering::Relaxed);
                    before = could;
                }
            }
            done
        };
        let others = met.clone();
        let other = std::thread::spawn(move || work(others));
        work(met) + other.join().expect("the other thread finishes")
    }

    #[test]
    fn of_two_writers_only_one_gets_the_lock() {
        static LOCK: SequenceLock<u64> = SequenceLock::new(0);
        let done = in_two_threads(|| LOCK.try_write().map(|mut value| *value += 1).is_ok());
        assert_eq!((LOCK.read(|value| *value), LOCK.sequence()), (done, 2 * done));
    }

    #[test]
    fn a_reader_never_sees_half_a_write() {
        static LOCK: SequenceLock<[u64; 8]> = SequenceLock::new([0; 8]);
        let done = in_two_threads(|| {
            let read = LOCK.try_read().map(|guard| assert_eq!(*guard.value(), [guard.value()[0]; 8]));
            let written = LOCK.try_write().map(|mut value| value.iter_mut().for_each(|word| *word += 1));
            read.is_ok() & written.is_ok()
        });
        assert!(done > 0);
        LOCK.read(|value| assert_eq!(*value, [value[0]; 8]));
    }

    #[test]
    fn a_write_during_a_read_fails_and_leaves_the_lock_as_it_was() {
        let lock = SequenceLock::new(7);
        lock.read(|_| assert_eq!(lock.try_write().err(), Some(Conflict::WriterAmongReaders)));
        lock.read(|value| lock.read(|again| assert_eq!((value, again), (&7, &7))));
        assert_eq!(lock.sequence(), 0);
        *lock.write() = 8;
        assert_eq!(lock.read(|value| *value), 8);
    }

    #[test]
    #[should_panic(expected = "read while it is locked")]
    fn a_read_during_a_write_panics() {
        let lock = SequenceLock::new(7);
        let _guard = lock.write();
        lock.read(|_| ());
    }

    #[test]
    #[should_panic(expected = "written while it is being read")]
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
