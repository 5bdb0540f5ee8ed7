//! The file that the recording is in: a header of one page, then a ring of records. It is mapped by QEMU and by the
//! readers. `gdbplugin/recording/ring.py` reads it; the two must agree.

use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::memory::map_file;

pub const MAGIC: u64 = u64::from_le_bytes(*b"tinyrec\x01");
pub const HEADER_BYTES: usize = 4096;
pub const MOST_CORES: usize = 8;
pub const MOST_RANGES: usize = 100;

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
    /// Records since the start; record `n`, from 0, is in slot `n % capacity`.
    pub written: AtomicU64,
    /// Goes up each time the plugin has written `instructions` and looked at `request`.
    pub published: AtomicU64,
    /// A hash of all records.
    pub hash: AtomicU64,
    /// Stores among the records.
    pub stores: AtomicU64,
    /// A reader adds one after it has written `range_count` and `ranges`.
    pub request: AtomicU64,
    /// The last request that was carried out.
    pub done: AtomicU64,
    pub range_count: AtomicU64,
    pub cores: AtomicU64,
    /// Stores to recorded pages that left the words as they were: they are counted, and have no records.
    pub unchanged: AtomicU64,
    /// Instructions that each core has executed.
    pub instructions: [AtomicU64; MOST_CORES],
    /// Physical ranges to be recorded: start and end (exclusive), by whole pages.
    pub ranges: [[AtomicU64; 2]; MOST_RANGES],
}

impl Header {
    /// The number and the ranges of a request that is to be carried out.
    pub fn requested(&self) -> Option<(u64, Vec<(u64, u64)>)> {
        let request = self.request.load(Ordering::Acquire);
        if request == self.done.load(Ordering::Relaxed) {
            return None;
        }
        let count = (self.range_count.load(Ordering::Relaxed) as usize).min(MOST_RANGES);
        let ranges = self.ranges[..count].iter().map(|[start, end]| (word(start), word(end)));
        Some((request, ranges.collect()))
    }
}

fn word(place: &AtomicU64) -> u64 {
    place.load(Ordering::Relaxed)
}

/// One record. What the fields mean depends on the kind: see `state.rs`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
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

pub struct Ring {
    header: &'static Header,
    records: *mut Record,
    capacity: u64,
}

impl Ring {
    /// Makes the file, with room for `capacity` records.
    pub fn create(path: &Path, capacity: u64, cores: u64) -> io::Result<Ring> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let size = HEADER_BYTES as u64 + capacity * RECORD_BYTES as u64;
        file.set_len(size)?;
        let start = map_file(file.as_raw_fd(), size as usize)?;
        // SAFETY: the mapping has a header's size and alignment, and stays for ever.
        let header = unsafe { &*start.cast::<Header>() };
        // SAFETY: the records follow the header's page.
        let records = unsafe { start.add(HEADER_BYTES) }.cast();
        header.header_bytes.store(HEADER_BYTES as u64, Ordering::Relaxed);
        header.record_bytes.store(RECORD_BYTES as u64, Ordering::Relaxed);
        header.capacity.store(capacity, Ordering::Relaxed);
        header.cores.store(cores, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Ring { header, records, capacity })
    }

    pub fn header(&self) -> &'static Header {
        self.header
    }

    /// Adds a record. Only one thread at a time may do so.
    pub fn push(&self, record: Record) {
        let number = self.header.written.load(Ordering::Relaxed);
        let record = Record { sequence: (number + 1) as u32, ..record };
        // SAFETY: the slot lies within the mapping, and this thread alone writes.
        unsafe { self.records.add((number % self.capacity) as usize).write(record) };
        let hash = self.header.hash.load(Ordering::Relaxed);
        self.header.hash.store(mixed(hash, &record), Ordering::Relaxed);
        if record.kind == STORE {
            self.header.stores.store(self.header.stores.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        self.header.written.store(number + 1, Ordering::Release);
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
