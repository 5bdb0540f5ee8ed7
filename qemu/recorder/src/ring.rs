//! The file that the recording is in: a header of one page, then a ring of records. It is mapped by QEMU and by the
//! readers. `gdbplugin/recording/ring.py` reads it; the two must agree.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::memory::map_file;

pub const MAGIC: u64 = u64::from_le_bytes(*b"tinyrec\x02");
pub const HEADER_BYTES: usize = 16384;
pub const MOST_CORES: usize = 8;
pub const MOST_RANGES: usize = 100;
pub const MOST_CHECKPOINTS: usize = 64;
const NAME_BYTES: usize = 40;
const MESSAGE_BYTES: usize = 256;

/// What a record is about; see `instructions::Operation` for 2 to 8.
pub const STORE: u8 = 1;
pub const EXCEPTION_ENTRY: u8 = 7;
pub const FRAMES: u8 = 9;
/// In `size`: the return addresses are those of the core's last record of the kind `FRAMES`.
pub const HAS_FRAMES: u8 = 0x80;

/// The first page of the file. All numbers are little-endian.
#[repr(C)]
pub struct Header {
    pub magic: AtomicU64,
    pub header_bytes: AtomicU64,
    pub record_bytes: AtomicU64,
    /// Records that the ring has room for.
    pub capacity: AtomicU64,
    /// Records up to the moment at which the machine is; record `n`, from 0, is in slot `n % capacity`.
    pub written: AtomicU64,
    /// Goes up each time the plugin has written `instructions` and looked at `request`.
    pub published: AtomicU64,
    /// A hash of all records up to that moment.
    pub hash: AtomicU64,
    /// Stores among the records.
    pub stores: AtomicU64,
    /// A reader adds one after it has written what it wants: `operation`, with `argument`, `name`, `range_count` and
    /// `ranges`.
    pub request: AtomicU64,
    /// The last request that was carried out.
    pub done: AtomicU64,
    pub range_count: AtomicU64,
    pub cores: AtomicU64,
    /// Stores to recorded pages that left the words as they were: they are counted, and have no records.
    pub unchanged: AtomicU64,
    pub operation: AtomicU64,
    pub argument: AtomicU64,
    /// Not 0: end the request.
    pub cancel: AtomicU64,
    /// Whether the last request failed; `message` says why.
    pub failed: AtomicU64,
    /// Records of all that has happened. There are more than `written` while the machine is in the past.
    pub known: AtomicU64,
    /// The oldest record that is still there.
    pub oldest: AtomicU64,
    /// Instructions at which a replay was not what had been recorded; 0 if it always was.
    pub difference: AtomicU64,
    /// How many of the ranges are recorded from the start. Readers keep them first.
    pub first_range_count: AtomicU64,
    /// Whether the machine can go back, once there is a checkpoint.
    pub can_go_back: AtomicU64,
    pub checkpoint_count: AtomicU64,
    /// Whether the machine has gone back, and has not run on since.
    pub is_past: AtomicU64,
    /// Then, the instructions at the latest moment.
    pub end: AtomicU64,
    /// Instructions that each core has executed.
    pub instructions: [AtomicU64; MOST_CORES],
    /// Physical ranges to be recorded: start and end (exclusive), by whole pages.
    pub ranges: [[AtomicU64; 2]; MOST_RANGES],
    /// A name for a checkpoint, ended by 0.
    pub name: [AtomicU8; NAME_BYTES],
    pub message: [AtomicU8; MESSAGE_BYTES],
    /// Oldest first.
    pub checkpoints: [Entry; MOST_CHECKPOINTS],
}

/// A checkpoint, for readers.
#[repr(C)]
pub struct Entry {
    pub number: AtomicU64,
    /// Records up to its moment.
    pub written: AtomicU64,
    /// Milliseconds since the recording began.
    pub time: AtomicU64,
    pub is_automatic: AtomicU64,
    /// Instructions that the guest had executed.
    pub position: AtomicU64,
    pub name: [AtomicU8; NAME_BYTES],
}

/// What a reader asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That these ranges be recorded, and no other but tables.
    Ranges(Vec<(u64, u64)>),
    /// A checkpoint with a name, and whether the machine is stopped with interrupts unmasked.
    Checkpoint(String, bool),
    /// That the machine be where it had executed so many instructions.
    Travel(u64),
}

impl Header {
    /// The number of a request that is to be carried out, and what it wants.
    pub fn requested(&self) -> Option<(u64, Wanted)> {
        let request = self.request.load(Ordering::Acquire);
        if request == self.done.load(Ordering::Relaxed) {
            return None;
        }
        let wanted = match word(&self.operation) {
            1 => Wanted::Checkpoint(text(&self.name), word(&self.argument) != 0),
            2 => Wanted::Travel(word(&self.argument)),
            _ => {
                let count = (self.range_count.load(Ordering::Relaxed) as usize).min(MOST_RANGES);
                Wanted::Ranges(self.ranges[..count].iter().map(|[start, end]| (word(start), word(end))).collect())
            }
        };
        Some((request, wanted))
    }

    /// Says that a request was carried out, or why not.
    pub fn answer(&self, request: u64, outcome: Result<(), String>) {
        set_text(&self.message, outcome.as_ref().err().map_or("", String::as_str));
        self.failed.store(outcome.is_err() as u64, Ordering::Relaxed);
        self.cancel.store(0, Ordering::Relaxed);
        self.done.store(request, Ordering::Release);
    }
}

fn text(bytes: &[AtomicU8]) -> String {
    let bytes = bytes.iter().map(|byte| byte.load(Ordering::Relaxed)).take_while(|&byte| byte != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// Writes a text as far as there is room, ended by 0.
pub fn set_text(place: &[AtomicU8], text: &str) {
    let room = place.len() - 1;
    let end = (0..=room.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    for (index, byte) in place.iter().enumerate() {
        byte.store(if index < end { text.as_bytes()[index] } else { 0 }, Ordering::Relaxed);
    }
}

fn word(place: &AtomicU64) -> u64 {
    place.load(Ordering::Relaxed)
}

/// One record. What the fields mean depends on the kind: see `state.rs`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Instructions that the core had executed, this one included.
    pub count: u64,
    pub pc: u64,
    pub virtual_address: u64,
    pub physical_address: u64,
    pub old: u64,
    pub new: u64,
    pub ttbr0: u64,
    /// Of a descriptor: the first input address that it translates, and the root of its address space.
    pub input: u64,
    pub root: u64,
    pub kind: u8,
    pub core: u8,
    /// Bytes; `HAS_FRAMES` may be set.
    pub size: u8,
    /// Level of the translation table that the word is in, plus 1; 0 if it is in none.
    pub level: u8,
    /// The low bits of the record's number plus 1.
    pub sequence: u32,
}

pub const RECORD_BYTES: usize = size_of::<Record>();

/// How far a recording was at a moment.
#[derive(Clone, Copy, Default)]
pub struct Position {
    pub written: u64,
    pub hash: u64,
    stores: u64,
    unchanged: u64,
}

pub struct Ring {
    header: &'static Header,
    records: *mut Record,
    capacity: u64,
    /// The checkpoints' positions, which a replay passes.
    marks: Vec<Position>,
}

impl Ring {
    /// Makes the file, with room for `capacity` records.
    pub fn create(path: &Path, capacity: u64, cores: u64) -> io::Result<Ring> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let size = HEADER_BYTES as u64 + capacity * RECORD_BYTES as u64;
        file.set_len(size)?;
        let start = map_file(file.as_raw_fd(), size as usize)?;
        const { assert!(size_of::<Header>() <= HEADER_BYTES) };
        // SAFETY: the mapping has a header's size and alignment, and stays for ever.
        let header = unsafe { &*start.cast::<Header>() };
        // SAFETY: the records follow the header's page.
        let records = unsafe { start.add(HEADER_BYTES) }.cast();
        header.header_bytes.store(HEADER_BYTES as u64, Ordering::Relaxed);
        header.record_bytes.store(RECORD_BYTES as u64, Ordering::Relaxed);
        header.capacity.store(capacity, Ordering::Relaxed);
        header.cores.store(cores, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Ring { header, records, capacity, marks: Vec::new() })
    }

    pub fn header(&self) -> &'static Header {
        self.header
    }

    /// Says which ranges are recorded from the start.
    pub fn show_ranges(&self, ranges: &[(u64, u64)]) {
        for (place, one) in self.header.ranges.iter().zip(ranges) {
            place[0].store(one.0, Ordering::Relaxed);
            place[1].store(one.1, Ordering::Relaxed);
        }
        let count = ranges.len().min(MOST_RANGES) as u64;
        self.header.range_count.store(count, Ordering::Relaxed);
        self.header.first_range_count.store(count, Ordering::Relaxed);
    }

    /// Adds a record. Only one thread at a time may do so. In the past, the record must be the one that is known.
    pub fn push(&self, record: Record) {
        let header = self.header;
        let (number, known) = (word(&header.written), word(&header.known));
        let record = Record { sequence: (number + 1) as u32, ..record };
        let is_kept = number >= word(&header.oldest);
        // SAFETY: the slot lies within the mapping, and this thread alone writes.
        let slot = unsafe { &mut *self.records.add((number % self.capacity) as usize) };
        let is_replay = number < known && (!is_kept || *slot == record);
        if number < known && !is_replay {
            self.note_difference(&record);
        }
        let hash = mixed(word(&header.hash), &record);
        header.hash.store(hash, Ordering::Relaxed);
        if record.kind == STORE {
            header.stores.store(word(&header.stores) + 1, Ordering::Relaxed);
        }
        if is_replay {
            if self.marks.iter().any(|mark| mark.written == number + 1 && mark.hash != hash) {
                self.note_difference(&record);
            }
        } else {
            *slot = record;
            header.known.store(number + 1, Ordering::Relaxed);
            let oldest = word(&header.oldest).max((number + 1).saturating_sub(self.capacity));
            header.oldest.store(oldest, Ordering::Relaxed);
        }
        header.written.store(number + 1, Ordering::Release);
    }

    fn note_difference(&self, record: &Record) {
        if word(&self.header.difference) == 0 {
            self.header.difference.store(record.count, Ordering::Relaxed);
        }
    }

    pub fn position(&self) -> Position {
        let Header { written, hash, stores, unchanged, .. } = self.header;
        Position { written: word(written), hash: word(hash), stores: word(stores), unchanged: word(unchanged) }
    }

    /// Goes back to a position. The records after it stay known. `marks` are the positions to be compared.
    pub fn go_back(&mut self, to: &Position, marks: Vec<Position>) {
        let Header { written, hash, stores, unchanged, .. } = self.header;
        hash.store(to.hash, Ordering::Relaxed);
        stores.store(to.stores, Ordering::Relaxed);
        unchanged.store(to.unchanged, Ordering::Relaxed);
        written.store(to.written, Ordering::Release);
        self.marks = marks;
        self.header.difference.store(0, Ordering::Relaxed);
    }

    /// Forgets the records after the position: something else is going to happen.
    pub fn cut(&mut self) {
        let written = word(&self.header.written);
        self.header.known.store(written, Ordering::Relaxed);
        let oldest = word(&self.header.oldest).min(written);
        self.header.oldest.store(oldest, Ordering::Relaxed);
        self.marks.clear();
    }
}

/// The hash of a recording that goes on with a record.
fn mixed(hash: u64, record: &Record) -> u64 {
    let words = [
        record.count,
        record.pc,
        record.virtual_address,
        record.physical_address,
        record.old,
        record.new,
        record.ttbr0,
        record.input,
        record.root,
        u64::from_le_bytes([record.kind, record.core, record.size, record.level, 0, 0, 0, 0]),
    ];
    words.iter().fold(hash, |hash, word| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(capacity: u64) -> Ring {
        let path = std::env::temp_dir().join(format!("tinyos ring {} {capacity}", std::process::id()));
        let found = Ring::create(&path, capacity, 4).unwrap();
        std::fs::remove_file(path).unwrap();
        found
    }

    fn push(ring: &Ring, counts: impl IntoIterator<Item = u64>) {
        counts.into_iter().for_each(|count| ring.push(Record { count, kind: STORE, ..Record::default() }));
    }

    fn state(ring: &Ring) -> [u64; 4] {
        let Header { written, known, oldest, difference, .. } = ring.header;
        [written, known, oldest, difference].map(word)
    }

    #[test]
    fn a_replay_that_is_the_past_leaves_it() {
        let mut ring = ring(100);
        push(&ring, 1..=10);
        let there = ring.position();
        push(&ring, 11..=50);
        let end = ring.position();
        ring.go_back(&there, vec![end]);
        assert_eq!(state(&ring), [10, 50, 0, 0]);
        push(&ring, 11..=50);
        assert_eq!((state(&ring), ring.position().hash), ([50, 50, 0, 0], end.hash));
        push(&ring, 51..=160);
        assert_eq!(state(&ring), [160, 160, 60, 0]);
    }

    #[test]
    fn the_first_difference_is_named_and_what_was_known_after_it_is_gone() {
        let mut ring = ring(101);
        push(&ring, 1..=10);
        let there = ring.position();
        push(&ring, 11..=50);
        ring.go_back(&there, vec![]);
        push(&ring, (11..=20).chain(30..=35));
        assert_eq!(state(&ring), [26, 26, 0, 30]);
    }

    #[test]
    fn what_was_overwritten_is_compared_by_the_hash_at_checkpoints() {
        for (again, difference) in [(11..=500, 0), (12..=501, 101)] {
            let mut ring = ring(102);
            push(&ring, 1..=10);
            let there = ring.position();
            push(&ring, 11..=100);
            let mark = ring.position();
            push(&ring, 101..=500);
            ring.go_back(&there, vec![mark]);
            assert_eq!(state(&ring), [10, 500, 398, 0]);
            push(&ring, again);
            assert_eq!(state(&ring)[3], difference);
        }
    }

    #[test]
    fn a_new_future_begins_where_the_machine_is() {
        let mut ring = ring(103);
        push(&ring, 1..=10);
        let there = ring.position();
        push(&ring, 11..=500);
        ring.go_back(&there, vec![]);
        ring.cut();
        assert_eq!(state(&ring), [10, 10, 10, 0]);
        push(&ring, 1000..1010);
        assert_eq!(state(&ring), [20, 20, 10, 0]);
    }

    #[test]
    fn a_request_is_read_and_answered() {
        let ring = ring(104);
        let header = ring.header;
        assert_eq!(header.requested(), None);
        header.request.store(1, Ordering::Relaxed);
        header.operation.store(1, Ordering::Relaxed);
        set_text(&header.name, "before the växt");
        assert_eq!(header.requested(), Some((1, Wanted::Checkpoint("before the växt".to_owned(), false))));
        header.answer(1, Err("é".repeat(200)));
        assert_eq!((header.requested(), text(&header.message)), (None, "é".repeat(127)));
        header.operation.store(2, Ordering::Relaxed);
        header.argument.store(77, Ordering::Relaxed);
        header.request.store(2, Ordering::Relaxed);
        assert_eq!(header.requested(), Some((2, Wanted::Travel(77))));
    }
}
