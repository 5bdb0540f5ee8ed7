//! A ticket lock: who comes takes a number, and waits until it is served.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

pub struct Ticketed<T> {
    next_ticket: AtomicUsize,
    next_serving: AtomicUsize,
    inside: UnsafeCell<T>,
}

// SAFETY: `inside` is reached only by the one who is served.
unsafe impl<T: Send> Sync for Ticketed<T> {}

impl<T> Ticketed<T> {
    pub const fn new(value: T) -> Self {
        Self { next_ticket: AtomicUsize::new(0), next_serving: AtomicUsize::new(0), inside: UnsafeCell::new(value) }
    }

    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        while self.next_serving.load(Ordering::Acquire) != ticket {}
        // SAFETY: it is our turn.
        let result = act(unsafe { &mut *self.inside.get() });
        self.next_serving.store(ticket + 1, Ordering::Release);
        result
    }
}
