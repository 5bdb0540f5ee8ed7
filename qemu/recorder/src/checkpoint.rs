//! What is kept of a moment beside QEMU's own snapshot: the guest's memory, and what the recorder knew.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::memory::{PAGE, Ram, map_file};
use crate::state::Saved;

const PAGE_BYTES: usize = PAGE as usize;

/// A moment that can be gone back to.
pub struct Checkpoint {
    /// From 1 on.
    pub number: u64,
    pub name: String,
    /// Whether nobody asked for it, so that it may be dropped for later ones.
    pub is_automatic: bool,
    /// Instructions that the guest had executed.
    pub position: u64,
    /// Milliseconds since the recording began, by the host's clock.
    pub time: u64,
    /// How many of the inputs at the console came before.
    pub inputs: usize,
    /// None, if it has no snapshot: then the machine goes to it from the one before.
    pub memory: Option<Memory>,
    pub known: Saved,
}

/// The pages of memory that are not zero, by number, each with its place in the store.
#[derive(Default)]
pub struct Memory {
    pages: Vec<(u32, u32)>,
}

/// Pages of all checkpoints, in a file. A page that did not change from one to the next is there once.
pub struct Store {
    file: File,
    start: *const [u8; PAGE_BYTES],
    users: Vec<u32>,
    free: Vec<u32>,
    most: usize,
}

// SAFETY: the mapping stays for ever, and one thread at a time has the store.
unsafe impl Send for Store {}

impl Store {
    /// Makes the file, with room for so many pages.
    pub fn create(path: &Path, most: usize) -> io::Result<Store> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len((most * PAGE_BYTES) as u64)?;
        let start = map_file(file.as_raw_fd(), most * PAGE_BYTES)?.cast_const().cast();
        Ok(Store { file, start, users: Vec::new(), free: Vec::new(), most })
    }

    /// Pages that are in use.
    #[cfg(test)]
    fn used(&self) -> usize {
        self.users.len() - self.free.len()
    }

    /// Copies the memory that lies in these pages. None if there is no room.
    pub fn copy(&mut self, ram: &Ram, pages: impl Iterator<Item = u64>, before: Option<&Memory>) -> Option<Memory> {
        let mut known = before.map_or(&[][..], |memory| &memory.pages).iter().peekable();
        let mut found = Memory::default();
        for number in pages {
            let Some(page) = ram.page(number) else { continue };
            if page.iter().all(|&byte| byte == 0) {
                continue;
            }
            while known.next_if(|&&(one, _)| u64::from(one) < number).is_some() {}
            let same = known.peek().filter(|&&&(one, place)| u64::from(one) == number && self.page(place) == page);
            let place = match same {
                Some(&&(_, place)) => place,
                None => match self.add(page) {
                    Some(place) => place,
                    None => {
                        self.remove(&found);
                        return None;
                    }
                },
            };
            self.users[place as usize] += 1;
            found.pages.push((number as u32, place));
        }
        Some(found)
    }

    /// Makes the guest's memory what it was. `pages` are those that may not be zero now.
    pub fn restore(&self, ram: &Ram, pages: impl Iterator<Item = u64>, memory: &Memory) {
        let mut kept = memory.pages.iter().peekable();
        for number in pages {
            while kept.next_if(|&&(one, _)| u64::from(one) < number).is_some() {}
            if kept.peek().is_none_or(|&&(one, _)| u64::from(one) != number) {
                ram.set_page(number, &[0; PAGE_BYTES]);
            }
        }
        for &(number, place) in &memory.pages {
            ram.set_page(number.into(), self.page(place));
        }
    }

    /// Forgets a checkpoint's memory.
    pub fn remove(&mut self, memory: &Memory) {
        for &(_, place) in &memory.pages {
            let users = &mut self.users[place as usize];
            *users -= 1;
            if *users == 0 {
                self.free.push(place);
            }
        }
    }

    fn page(&self, place: u32) -> &[u8; PAGE_BYTES] {
        // SAFETY: places are below `most`.
        unsafe { &*self.start.add(place as usize) }
    }

    fn add(&mut self, page: &[u8; PAGE_BYTES]) -> Option<u32> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.users.len() < self.most => {
                self.users.push(0);
                self.users.len() as u32 - 1
            }
            None => return None,
        };
        // Not by the mapping: on a full file system that would end QEMU.
        if self.file.write_all_at(page, u64::from(place) * PAGE).is_err() {
            self.free.push(place);
            return None;
        }
        Some(place)
    }
}

/// The pages of a file of the guest's memory that hold data; all others are zero.
pub struct DataPages<'a> {
    file: &'a File,
    next: u64,
    end: u64,
}

impl DataPages<'_> {
    pub fn of(file: &File) -> DataPages<'_> {
        DataPages { file, next: 0, end: 0 }
    }
}

impl Iterator for DataPages<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.next == self.end {
            const DATA: i32 = 3;
            const HOLE: i32 = 4;
            let start = seek(self.file, self.end * PAGE, DATA)?;
            let hole = seek(self.file, start, HOLE)?;
            (self.next, self.end) = (start / PAGE, hole.div_ceil(PAGE));
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

unsafe extern "C" {
    fn lseek64(file: i32, offset: i64, whence: i32) -> i64;
}

fn seek(file: &File, offset: u64, whence: i32) -> Option<u64> {
    // SAFETY: changes nothing but the file's position, which is not used.
    u64::try_from(unsafe { lseek64(file.as_raw_fd(), offset as i64, whence) }).ok()
}

/// Which of these checkpoints to drop for a new one: the automatic one, but neither first nor last, whose neighbours
/// are nearest to each other in relation to its age. None if there is none. So they get sparser with age.
pub fn superfluous(checkpoints: &[Checkpoint], now: u64) -> Option<usize> {
    let gap = |index: usize| {
        let (before, after) = (checkpoints[index - 1].time, checkpoints[index + 1].time);
        (after - before) as f64 / (now.saturating_sub(checkpoints[index].time) + 1) as f64
    };
    let inner = 1..checkpoints.len().saturating_sub(1);
    inner.filter(|&index| checkpoints[index].is_automatic).min_by(|&one, &other| gap(one).total_cmp(&gap(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};

    const PAGES: usize = 8;

    fn guest() -> (&'static [AtomicU64], Ram) {
        let words: Vec<AtomicU64> = (0..PAGES * PAGE_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
        let words: &'static [AtomicU64] = Box::leak(words.into_boxed_slice());
        (words, Ram::of(words))
    }

    fn store(most: usize) -> Store {
        let path = std::env::temp_dir().join(format!("tinyos store {} {most}", std::process::id()));
        let found = Store::create(&path, most).unwrap();
        std::fs::remove_file(path).unwrap();
        found
    }

    #[test]
    fn memory_is_as_it_was_and_equal_pages_are_kept_once() {
        let (words, ram) = guest();
        let mut store = store(100);
        let set = |page: usize, value| words[page * 512 + 7].store(value, Ordering::Relaxed);
        let values = || (0..PAGES).map(|page| words[page * 512 + 7].load(Ordering::Relaxed)).collect::<Vec<_>>();
        let all = || 0..PAGES as u64;
        (1..5).for_each(|page| set(page, page as u64));
        let first = store.copy(&ram, all(), None).unwrap();
        assert_eq!(store.used(), 4);
        set(2, 99);
        set(3, 0);
        set(6, 6);
        let second = store.copy(&ram, all(), Some(&first)).unwrap();
        assert_eq!(store.used(), 6);
        store.restore(&ram, all(), &first);
        assert_eq!(values(), [0, 1, 2, 3, 4, 0, 0, 0]);
        store.remove(&first);
        assert_eq!(store.used(), 4);
        store.restore(&ram, all(), &second);
        assert_eq!(values(), [0, 1, 99, 0, 4, 0, 6, 0]);
        store.remove(&second);
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn a_full_store_keeps_nothing_of_what_does_not_fit() {
        let (words, ram) = guest();
        let mut store = store(3);
        (0..4).for_each(|page| words[page * 512].store(1 + page as u64, Ordering::Relaxed));
        assert!(store.copy(&ram, 0..4, None).is_none());
        assert_eq!(store.used(), 0);
        assert!(store.copy(&ram, 0..3, None).is_some());
    }

    #[test]
    fn checkpoints_get_sparser_with_age_and_those_with_names_stay() {
        let mut all: Vec<Checkpoint> = Vec::new();
        for time in 0..1000 {
            if all.len() == 16 {
                all.remove(superfluous(&all, time).unwrap());
            }
            let (known, memory) = (Saved::default(), None);
            let (number, is_automatic) = (time + 1, time != 500);
            let name = String::new();
            all.push(Checkpoint { number, name, is_automatic, position: 0, time, inputs: 0, memory, known });
        }
        let times: Vec<u64> = all.iter().map(|one| one.time).collect();
        assert_eq!((times[0], times[15]), (0, 999));
        assert!(times.contains(&500));
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[..5].iter().sum::<u64>() > 4 * gaps[10..].iter().sum::<u64>(), "{times:?}");
        assert!(gaps.iter().all(|&gap| gap <= 500), "{times:?}");
    }
}
