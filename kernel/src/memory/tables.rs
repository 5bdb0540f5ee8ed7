//! Stage 1 translation tables of the lower half: 4 KiB granule, 48-bit addresses, four levels.
//!
//! Descriptor layout: Arm Architecture Reference Manual, "VMSAv8-64 translation table format descriptors". Tables are
//! frames of the pool, reached through the linear map.

use super::frames::{FrameAddress, FrameAllocator, FrameInfo, FrameUse};
use super::layout::{PAGE_SHIFT, PAGE_SIZE};
use crate::hardware;

/// A table descriptor at levels 0 to 2; a page descriptor at level 3.
const TABLE_OR_PAGE: u64 = 0b11;
const VALID: u64 = 1;
/// The output address in a descriptor.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Access flag.
const ACCESS_FLAG: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const INNER_SHAREABLE: u64 = 0b11 << 8;
/// AP[1]: EL0 may access.
const EL0: u64 = 1 << 6;
/// AP[2]: read-only.
const READ_ONLY: u64 = 1 << 7;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const UNPRIVILEGED_EXECUTE_NEVER: u64 = 1 << 54;
/// Entry 0 of `MAIR_EL1`: normal write-back memory.
const NORMAL: u64 = 0;

const COMMON: u64 =
    TABLE_OR_PAGE | ACCESS_FLAG | NOT_GLOBAL | INNER_SHAREABLE | EL0 | NORMAL << 2 | PRIVILEGED_EXECUTE_NEVER;

/// A descriptor of a table, or of a page of a task; or an invalid one. There is no other way to map a page than those here:
/// EL1 never executes it, it belongs to one ASID, and if EL0 may write it, it is in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor(u64);

impl Descriptor {
    /// Maps nothing.
    pub const INVALID: Descriptor = Descriptor(0);

    /// Of a page that the task reads and writes: one in the pool.
    #[inline(always)]
    pub const fn read_write(frame: FrameAddress) -> Descriptor {
        Descriptor(frame.get() | COMMON | UNPRIVILEGED_EXECUTE_NEVER)
    }

    /// Of the page at physical address `page`, which the task only reads.
    #[inline(always)]
    pub const fn read_only(page: u64) -> Descriptor {
        Descriptor(page & ADDRESS | COMMON | UNPRIVILEGED_EXECUTE_NEVER | READ_ONLY)
    }

    /// Of the page at physical address `page`, which the task reads and executes.
    pub const fn read_execute(page: u64) -> Descriptor {
        Descriptor(page & ADDRESS | COMMON | READ_ONLY)
    }

    const fn of_table(table: FrameAddress) -> Descriptor {
        Descriptor(table.get() | TABLE_OR_PAGE)
    }

    /// A descriptor that was read from a table.
    #[inline(always)]
    pub(crate) const fn from_bits(bits: u64) -> Descriptor {
        Descriptor(bits)
    }

    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether it maps something.
    #[inline(always)]
    pub const fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Physical address of the page or table.
    #[inline(always)]
    pub const fn output(self) -> u64 {
        self.0 & ADDRESS
    }

    pub const fn has_access_flag(self) -> bool {
        self.0 & ACCESS_FLAG != 0
    }

    pub const fn with_access_flag(self) -> Descriptor {
        Descriptor(self.0 | ACCESS_FLAG)
    }

    pub const fn without_access_flag(self) -> Descriptor {
        Descriptor(self.0 & !ACCESS_FLAG)
    }

    /// The same with another output address.
    pub const fn moved_to(self, frame: FrameAddress) -> Descriptor {
        Descriptor(self.0 & !ADDRESS | frame.get())
    }

    /// The table that a descriptor of level 0 to 2 points to; None if it is invalid. Panics if a valid one does not point to
    /// a table in the pool.
    #[inline(always)]
    fn table(self) -> Option<FrameAddress> {
        // One comparison for the type, the attributes, which are all 0, and the address.
        let table = FrameAddress::new(self.0.wrapping_sub(TABLE_OR_PAGE));
        if table.is_none() && self.is_valid() {
            not_a_table(self.0)
        }
        table
    }
}

/// Where a descriptor lies: in a frame of the pool. Made only by the walks below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u64);

impl Entry {
    #[inline(always)]
    const fn new(table: FrameAddress, index: u64) -> Entry {
        Entry(table.get() + (index & 0x1ff) * 8)
    }

    /// Its physical address.
    #[inline(always)]
    pub const fn address(self) -> u64 {
        self.0
    }
}

/// All descriptors of a table.
fn entries(table: FrameAddress) -> impl Iterator<Item = Entry> {
    (0..(PAGE_SIZE / 8) as u64).map(move |index| Entry::new(table, index))
}

/// The level 0 table at physical address `root`. Every table is in the pool: so no walk leaves it, even over descriptors
/// that a debugger has overwritten.
#[inline(always)]
fn table_at(root: u64) -> FrameAddress {
    match FrameAddress::new(root) {
        Some(table) => table,
        None => not_a_table(root),
    }
}

#[cold]
fn not_a_table(value: u64) -> ! {
    panic!("{value:#x} leads to no translation table in the pool")
}

#[inline(always)]
fn index(address: u64, level: u32) -> u64 {
    address >> (PAGE_SHIFT + 9 * (3 - level)) & 0x1ff
}

/// What the reverse map keeps as `index` of a table: its level in bits 1:0, and above them the bits of the first address
/// that it translates, down to those that select an entry of the table above it.
#[inline]
pub fn index_of_table(address: u64, level: u32) -> u32 {
    level | if level == 0 { 0 } else { ((address >> (48 - 9 * level)) << 2) as u32 }
}

/// The level and the first address of a table, from its `index` in the reverse map.
pub fn place_of_table(index: u32) -> (u32, u64) {
    let level = index & 3;
    (level, if level == 0 { 0 } else { (index as u64 >> 2) << (48 - 9 * level) })
}

/// The level 3 descriptor of `address`; None if a table is missing. `root` is the physical address of the level 0 table.
#[inline]
pub fn find(root: u64, address: u64) -> Option<Entry> {
    find_at(root, address, 3)
}

/// The descriptor of `address` at `last`, a level; None if a table is missing.
#[inline]
pub fn find_at(root: u64, address: u64, last: u32) -> Option<Entry> {
    let mut table = table_at(root);
    for level in 0..last {
        table = hardware::read_descriptor(Entry::new(table, index(address, level))).table()?;
    }
    Some(Entry::new(table, index(address, last)))
}

/// As [`find`], but creates missing tables, for task `owner`. None if there is no frame for a table.
#[inline(always)]
pub fn find_or_create(root: u64, address: u64, frames: &mut FrameAllocator, owner: u16) -> Option<Entry> {
    let mut table = table_at(root);
    for level in 0..3 {
        let entry = Entry::new(table, index(address, level));
        table = match hardware::read_descriptor(entry).table() {
            Some(below) => below,
            None => {
                let created = create_table(frames, owner, address, level + 1)?;
                hardware::write_descriptor(entry, Descriptor::of_table(created));
                created
            }
        };
    }
    Some(Entry::new(table, index(address, 3)))
}

/// Creates an empty table of `level` that translates `address`.
#[cold]
pub fn create_table(frames: &mut FrameAllocator, owner: u16, address: u64, level: u32) -> Option<FrameAddress> {
    let frame = frames.allocate(FrameInfo::new(FrameUse::Table, owner, index_of_table(address, level)))?;
    let table = frames.address(frame);
    hardware::zero_frame(table);
    // The table walker must see the zeros before it sees a descriptor that points to the table.
    hardware::publish();
    Some(table)
}

/// Frees the tables below `root` that map nothing, or with `all` every table (its pages have been unmapped or are
/// shared). Keeps `root` itself. Returns how many; if it is not 0, the caller must invalidate the space.
pub fn prune(root: u64, frames: &mut FrameAllocator, all: bool) -> u32 {
    prune_level(table_at(root), 0, frames, all).1
}

/// Returns whether the table is empty afterwards, and how many tables below it were freed.
fn prune_level(table: FrameAddress, level: u32, frames: &mut FrameAllocator, all: bool) -> (bool, u32) {
    let (mut is_empty, mut released) = (true, 0);
    for entry in entries(table) {
        let descriptor = hardware::read_descriptor(entry);
        if level == 3 {
            is_empty &= all || !descriptor.is_valid();
            continue;
        }
        let Some(below) = descriptor.table() else { continue };
        let (below_is_empty, below_released) = prune_level(below, level + 1, frames, all);
        released += below_released;
        if !below_is_empty {
            is_empty = false;
            continue;
        }
        hardware::write_descriptor(entry, Descriptor::INVALID);
        if let Some(frame) = frames.number(below.get()) {
            frames.release(frame);
            released += 1;
        }
    }
    (is_empty, released)
}

/// Number of tables below the level 0 table `root`.
pub fn count_below(root: u64) -> u32 {
    count_level(table_at(root), 0)
}

fn count_level(table: FrameAddress, level: u32) -> u32 {
    let below = entries(table).filter_map(|entry| hardware::read_descriptor(entry).table());
    below.map(|table| 1 + if level < 2 { count_level(table, level + 1) } else { 0 }).sum()
}
