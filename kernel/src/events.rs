//! The event ring: a record of what memory management did. The newest event overwrites the oldest.

use crate::probes::probe;

/// Entries in the ring. A power of two, so that a slot is found by masking the sequence number.
pub const EVENT_CAPACITY: usize = if cfg!(miri) { 64 } else { 4096 };

/// What happened. The comment on each kind says what `first` and `second` of the [`Event`] are.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The slot was never written.
    None = 0,
    /// Task ID; stack ID.
    TaskStarted = 1,
    /// Task ID; the [`crate::tasks::EndReason`] as a number.
    TaskEnded = 2,
    /// Stack ID; pages added.
    StackGrowth = 3,
    /// Stack ID; pages returned.
    StackShrink = 4,
    /// Stack ID; faulting address.
    StackOverflow = 5,
    /// First address; number of pages.
    LazyReserve = 6,
    /// First address; number of pages.
    LazyRelease = 7,
    /// Address; physical address of the zero page.
    LazyZero = 8,
    /// Address; physical address of the new frame.
    LazyAllocate = 9,
    /// Address; physical address of the frame that was freed when the zero page took its place.
    LazyFold = 10,
    /// Former level; new level ([`crate::memory::pressure::PressureLevel`] as numbers).
    PressureChange = 11,
    /// Strategy ([`crate::memory::pressure::Strategy`] as a number); its gain, in the unit of its need.
    StrategyRun = 12,
    /// Former physical address; new physical address.
    PageMoved = 13,
    /// New generation; ASID bits in use.
    AsidRollover = 14,
    /// Former limit; new limit, both in frames.
    PoolLimit = 15,
    /// Task ID; faulting address.
    WildAccess = 16,
    /// Virtual address; free frames.
    OutOfMemory = 17,
    /// The pool has no frame for the task of the [`EventKind::OutOfMemory`] before: the task that ends for it, because
    /// it owns the most; its frames.
    VictimChosen = 18,
    /// A task has reached its quota of frames and ends: task ID; the quota.
    FrameQuota = 19,
    /// A task was refused a lazy range: task ID; its quota of ranges.
    RangeQuota = 20,
    /// A translation table: former physical address; new physical address.
    TableMoved = 21,
    /// A task was refused a lazy range: its pages; the task's quota of lazy pages.
    LazyPageQuota = 22,
}

/// One entry of the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// 1 for the first event since boot; 0 in a slot that was never written.
    pub sequence: u64,
    /// Generic timer count (`CNTVCT_EL0`).
    pub timestamp: u64,
    /// Core that ran the kernel.
    pub core: u16,
    /// ASID of the address space concerned; 0 for none.
    pub asid: u16,
    pub kind: EventKind,
    pub reserved: u16,
    pub first: u64,
    pub second: u64,
}

impl Event {
    const EMPTY: Event =
        Event { sequence: 0, timestamp: 0, core: 0, asid: 0, kind: EventKind::None, reserved: 0, first: 0, second: 0 };
}

/// The ring. Event `n` (counted from 1) is in slot `(n - 1) % EVENT_CAPACITY`.
#[repr(C)]
pub struct EventRing {
    /// Events recorded since boot.
    pub recorded: u64,
    pub entries: [Event; EVENT_CAPACITY],
}

impl EventRing {
    pub const fn new() -> Self {
        Self { recorded: 0, entries: [Event::EMPTY; EVENT_CAPACITY] }
    }

    /// Adds an event at `timestamp` (generic timer count) for the space of `asid`.
    #[inline(always)]
    pub fn record(&mut self, timestamp: u64, asid: u16, kind: EventKind, first: u64, second: u64) {
        let slot = (self.recorded as usize) & (EVENT_CAPACITY - 1);
        self.recorded += 1;
        self.entries[slot] =
            Event { sequence: self.recorded, timestamp, core: 0, asid, kind, reserved: 0, first, second };
        place_probe(kind, first, second);
    }
}

/// Adds the probe of a kind. `kind` is a constant at each call, so the compiler removes the `match`.
#[inline(always)]
fn place_probe(kind: EventKind, first: u64, second: u64) {
    macro_rules! choose {
        ($($name:ident)*) => {
            match kind {
                EventKind::None => {}
                $(EventKind::$name => probe!(EventKind::$name, first, second),)*
            }
        };
    }
    choose!(
        TaskStarted TaskEnded StackGrowth StackShrink StackOverflow LazyReserve LazyRelease LazyZero LazyAllocate
        LazyFold PressureChange StrategyRun PageMoved AsidRollover PoolLimit WildAccess OutOfMemory VictimChosen
        FrameQuota RangeQuota TableMoved LazyPageQuota
    );
}

impl Default for EventRing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_events_in_their_slots() {
        let mut ring = Box::new(EventRing::new());
        for number in 1..=(EVENT_CAPACITY as u64 + 5) {
            ring.record(number * 10, 3, EventKind::StackGrowth, number, 0);
        }
        assert_eq!(ring.recorded, EVENT_CAPACITY as u64 + 5);
        assert_eq!(ring.entries[4].sequence, EVENT_CAPACITY as u64 + 5);
        assert_eq!(ring.entries[5].sequence, 6);
        for (slot, event) in ring.entries.iter().enumerate() {
            assert_eq!((event.sequence as usize - 1) % EVENT_CAPACITY, slot);
            assert_eq!(event.first, event.sequence);
        }
    }
}
