//! The guest's memory as QEMU has it mapped, and table walks in it.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

const READ_WRITE: c_int = 3;
const SHARED: c_int = 1;
pub const PAGE: u64 = 4096;

unsafe extern "C" {
    fn mmap(address: *mut c_void, size: usize, access: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
}

/// Maps a file, shared, for ever.
pub fn map_file(file: c_int, size: usize) -> io::Result<*mut u8> {
    // SAFETY: a new mapping at an address that the system chooses.
    let start = unsafe { mmap(core::ptr::null_mut(), size, READ_WRITE, SHARED, file, 0) };
    if start as isize == -1 { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}

/// The guest's memory from physical address 0 on, in this process.
#[derive(Clone, Copy)]
pub struct Ram {
    start: usize,
    size: u64,
}

impl Ram {
    /// The memory whose file QEMU has mapped from its beginning; None if it has not, yet.
    pub fn find(path: &str) -> Option<Ram> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        maps.lines().find_map(|line| {
            // START-END ACCESS OFFSET DEVICE INODE PATH; the path may contain blanks.
            let (rest, _) = (line.strip_suffix(path)?, ());
            let mut fields = rest.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let offset = fields.nth(1)?;
            let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
            (u64::from_str_radix(offset, 16) == Ok(0)).then_some(Ram { start, size: (end - start) as u64 })
        })
    }

    /// The memory at an address of this process.
    #[cfg(test)]
    pub fn of(words: &'static [AtomicU64]) -> Ram {
        Ram { start: words.as_ptr() as usize, size: size_of_val(words) as u64 }
    }

    pub fn pages(&self) -> u64 {
        self.size / PAGE
    }

    /// The aligned word at a physical address; None beyond the memory.
    pub fn word(&self, address: u64) -> Option<u64> {
        if address & 7 != 0 || address.checked_add(8)? > self.size {
            return None;
        }
        let place = (self.start + address as usize) as *const AtomicU64;
        // SAFETY: QEMU never unmaps the guest's memory, and the address is within it.
        Some(unsafe { &*place }.load(Ordering::Relaxed))
    }
}

impl Ram {
    /// The bytes of a page, while no core runs; None beyond the memory.
    pub fn page(&self, number: u64) -> Option<&[u8; PAGE as usize]> {
        // SAFETY: as in `word`.
        (number < self.pages()).then(|| unsafe { &*self.place(number) })
    }

    /// Writes a page, while no core runs, if it is another.
    pub fn set_page(&self, number: u64, bytes: &[u8; PAGE as usize]) {
        if self.page(number).is_some_and(|page| page != bytes) {
            // SAFETY: as in `word`.
            unsafe { *self.place(number) = *bytes };
        }
    }

    fn place(&self, number: u64) -> *mut [u8; PAGE as usize] {
        (self.start + (number * PAGE) as usize) as *mut _
    }
}

const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 2;
/// Bits 47 to 12 of a descriptor of the 4 KiB granule (DDI 0487, D8.3).
const OUTPUT: u64 = 0x0000_ffff_ffff_f000;
pub const LAST_LEVEL: u8 = 3;

/// The table that a descriptor of a table at `level` points to.
pub fn next_table(descriptor: u64, level: u8) -> Option<u64> {
    let is_table = descriptor & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE && level < LAST_LEVEL;
    is_table.then_some(descriptor & OUTPUT)
}

/// Where a table of the 4 KiB granule begins for addresses of `64 - size_offset` bits (T0SZ, T1SZ).
pub fn first_level(size_offset: u64) -> u8 {
    let bits = 64u64.saturating_sub(size_offset).clamp(13, 48);
    LAST_LEVEL - ((bits - 13) / 9).min(3) as u8
}

/// Where the translation of an address space begins.
#[derive(Clone, Copy, Default)]
pub struct Root {
    pub table: u64,
    pub level: u8,
    pub input: u64,
}

/// What controls the translation at EL1 of one core.
#[derive(Clone, Copy, Default)]
pub struct Controls {
    pub ttbr0: u64,
    pub ttbr1: u64,
    pub tcr: u64,
}

impl Controls {
    /// Whether tables are of another granule than 4 KiB: those are not followed. A reserved value, as before TCR is
    /// written, counts as 4 KiB (DDI 0487, TCR_EL1.TG0 and TG1).
    fn has_other_granule(&self, is_upper: bool) -> bool {
        if is_upper { matches!(self.tcr >> 30 & 3, 1 | 3) } else { matches!(self.tcr >> 14 & 3, 1 | 2) }
    }

    /// The root table in TTBR0 or TTBR1, with the level at which translation begins and its first input address. The
    /// table is 0 if there is none that can be followed.
    pub fn root(&self, is_upper: bool) -> Root {
        if self.has_other_granule(is_upper) {
            return Root::default();
        }
        let (table, size_offset) =
            if is_upper { (self.ttbr1, self.tcr >> 16 & 0x3f) } else { (self.ttbr0, self.tcr & 0x3f) };
        let input = if is_upper { u64::MAX << (64 - size_offset.clamp(16, 51)) } else { 0 };
        Root { table: table & OUTPUT, level: first_level(size_offset), input }
    }

    /// The physical address of a virtual one by the tables; the same one while TTBR0 and TTBR1 are 0.
    pub fn translate(&self, ram: &Ram, address: u64) -> Option<u64> {
        if self.ttbr0 == 0 && self.ttbr1 == 0 {
            return Some(address);
        }
        let is_upper = address >> 55 & 1 != 0;
        if self.has_other_granule(is_upper) {
            return None;
        }
        let Root { mut table, level, .. } = self.root(is_upper);
        for level in level..=LAST_LEVEL {
            let shift = 12 + 9 * (LAST_LEVEL - level) as u32;
            let descriptor = ram.word(table + 8 * (address >> shift & 0x1ff))?;
            if descriptor & VALID == 0 {
                return None;
            }
            match next_table(descriptor, level) {
                Some(next) => table = next,
                None => {
                    let within = (1u64 << shift) - 1;
                    return Some(descriptor & OUTPUT & !within | address & within);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(words: &[(u64, u64)]) -> Ram {
        let memory: Vec<AtomicU64> = (0..8192).map(|_| AtomicU64::new(0)).collect();
        for &(address, value) in words {
            memory[address as usize / 8].store(value, Ordering::Relaxed);
        }
        Ram::of(Box::leak(memory.into_boxed_slice()))
    }

    #[test]
    fn a_walk_goes_through_tables_to_a_page_and_to_a_block() {
        let ram = memory(&[
            (0x1000, 0x2003),
            (0x2000, 0x3003),
            (0x3000, 0x4003),
            (0x4000 + 8 * 5, 0x9_8765_4403),
            (0x3008, 0x4000_0000 | 1),
        ]);
        let controls = Controls { ttbr0: 0x1000, ttbr1: 0x1000, tcr: 16 | 16 << 16 };
        assert_eq!(controls.translate(&ram, 0x5678), Some(0x9_8765_4678));
        assert_eq!(controls.translate(&ram, 0xffff_0000_0000_5678), Some(0x9_8765_4678));
        assert_eq!(controls.translate(&ram, 0x20_1234), Some(0x4000_1234));
        assert_eq!(controls.translate(&ram, 0x6000), None);
        assert_eq!(controls.translate(&ram, 0x40_0000), None);
    }

    #[test]
    fn tables_of_other_granules_are_not_followed() {
        let ram = memory(&[(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x5403)]);
        let controls = |tcr: u64| Controls { ttbr0: 0x1000, ttbr1: 0x1000, tcr: 16 | 16 << 16 | tcr };
        for (tcr, lower, upper) in [
            (0, true, true),
            (1 << 14, false, true),
            (2 << 14, false, true),
            (2 << 30, true, true),
            (1 << 30, true, false),
            (3 << 30, true, false),
        ] {
            let found = [0u64, 0xffff_0000_0000_0000].map(|address| controls(tcr).translate(&ram, address).is_some());
            assert_eq!(found, [lower, upper], "TCR {tcr:#x}");
            assert_eq!([false, true].map(|is_upper| controls(tcr).root(is_upper).table != 0), [lower, upper]);
        }
    }

    #[test]
    fn the_first_level_follows_the_size_of_addresses() {
        for (size_offset, level) in [(16, 0), (24, 0), (25, 1), (33, 1), (34, 2), (42, 2), (43, 3)] {
            assert_eq!(first_level(size_offset), level, "T0SZ {size_offset}");
        }
    }

    #[test]
    fn a_file_that_is_mapped_is_found() {
        let path = std::env::temp_dir().join(format!("tinyos recorder {}", std::process::id()));
        fs::write(&path, vec![7u8; 8192]).unwrap();
        let path = path.canonicalize().unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        map_file(std::os::fd::AsRawFd::as_raw_fd(&file), 8192).unwrap();
        let ram = Ram::find(path.to_str().unwrap()).unwrap();
        assert_eq!((ram.pages(), ram.word(8184)), (2, Some(0x0707_0707_0707_0707)));
        assert_eq!((ram.word(8192), ram.word(4)), (None, None));
        fs::remove_file(path).unwrap();
    }
}
