//! Stage 1 translation tables of the lower half: 4 KiB granule, 48-bit addresses, four levels.
//!
//! Descriptor layout: Arm Architecture Reference Manual, "VMSAv8-64 translation table format descriptors". Tables are
//! frames of the pool, reached through the linear map.

use super::frames::{FrameAllocator, FrameInfo, FrameUse};
use super::layout::{PAGE_SHIFT, PAGE_SIZE};
use crate::hardware;

/// A table descriptor at levels 0 to 2; a page descriptor at level 3.
const TABLE_OR_PAGE: u64 = 0b11;
const VALID: u64 = 1;
/// The output address in a descriptor.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Access flag.
pub const ACCESS_FLAG: u64 = 1 << 10;
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

/// How a page of a task is mapped. EL1 never executes it, and it belongs to one ASID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    ReadWrite,
    ReadOnly,
    ReadExecute,
}

impl Attributes {
    /// The page descriptor that maps `frame` with these attributes.
    #[inline(always)]
    pub const fn page(self, frame: u64) -> u64 {
        frame
            | match self {
                Attributes::ReadWrite => COMMON | UNPRIVILEGED_EXECUTE_NEVER,
                Attributes::ReadOnly => COMMON | UNPRIVILEGED_EXECUTE_NEVER | READ_ONLY,
                Attributes::ReadExecute => COMMON | READ_ONLY,
            }
    }
}

/// Whether a descriptor maps something.
#[inline(always)]
pub fn is_valid(descriptor: u64) -> bool {
    descriptor & VALID != 0
}

/// The output address of a page descriptor.
#[inline(always)]
pub fn output(descriptor: u64) -> u64 {
    descriptor & ADDRESS
}

#[inline(always)]
fn index(address: u64, level: u32) -> u64 {
    address >> (PAGE_SHIFT + 9 * (3 - level)) & 0x1ff
}

/// Physical address of the level 3 descriptor of `address`; None if a table is missing.
#[inline]
pub fn find(root: u64, address: u64) -> Option<u64> {
    let mut table = root;
    for level in 0..3 {
        let descriptor = hardware::read_descriptor(table + index(address, level) * 8);
        if !is_valid(descriptor) {
            return None;
        }
        table = output(descriptor);
    }
    Some(table + index(address, 3) * 8)
}

/// As [`find`], but creates missing tables, for task `owner`. None if there is no frame for a table.
#[inline]
pub fn find_or_create(root: u64, address: u64, frames: &mut FrameAllocator, owner: u16) -> Option<u64> {
    let mut table = root;
    for level in 0..3 {
        let entry = table + index(address, level) * 8;
        let descriptor = hardware::read_descriptor(entry);
        table = if is_valid(descriptor) {
            output(descriptor)
        } else {
            let created = create_table(frames, owner, level + 1)?;
            hardware::write_descriptor(entry, created | TABLE_OR_PAGE);
            created
        };
    }
    Some(table + index(address, 3) * 8)
}

/// Creates an empty table for `level`. Returns its physical address.
#[cold]
pub fn create_table(frames: &mut FrameAllocator, owner: u16, level: u32) -> Option<u64> {
    let frame = frames.allocate(FrameInfo::new(FrameUse::Table, owner, level))?;
    let address = frames.address(frame);
    hardware::zero_frame(address);
    // The table walker must see the zeros before it sees a descriptor that points to the table.
    hardware::publish();
    Some(address)
}

/// Frees the tables below `root` that map nothing, or with `all` every table (its pages have been unmapped or are
/// shared). Keeps `root` itself. Returns how many; if it is not 0, the caller must invalidate the space.
pub fn prune(root: u64, frames: &mut FrameAllocator, all: bool) -> u32 {
    prune_level(root, 0, frames, all).1
}

/// Returns whether the table is empty afterwards, and how many tables below it were freed.
fn prune_level(table: u64, level: u32, frames: &mut FrameAllocator, all: bool) -> (bool, u32) {
    let (mut is_empty, mut released) = (true, 0);
    for entry in (table..table + PAGE_SIZE as u64).step_by(8) {
        let descriptor = hardware::read_descriptor(entry);
        if !is_valid(descriptor) {
            continue;
        }
        if level == 3 {
            is_empty &= all;
            continue;
        }
        let below = output(descriptor);
        let (below_is_empty, below_released) = prune_level(below, level + 1, frames, all);
        released += below_released;
        if !below_is_empty {
            is_empty = false;
            continue;
        }
        hardware::write_descriptor(entry, 0);
        if let Some(frame) = frames.number(below) {
            frames.release(frame);
            released += 1;
        }
    }
    (is_empty, released)
}

/// Number of tables below the level 0 table `root`.
pub fn count_below(root: u64) -> u32 {
    count_level(root, 0)
}

fn count_level(table: u64, level: u32) -> u32 {
    let entries = (table..table + PAGE_SIZE as u64).step_by(8).map(hardware::read_descriptor);
    let below = entries.filter(|&descriptor| is_valid(descriptor)).map(output);
    below.map(|table| 1 + if level < 2 { count_level(table, level + 1) } else { 0 }).sum()
}
