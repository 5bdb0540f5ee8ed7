//! The pages whose writes are recorded: those that a reader named, and the translation tables, which are followed from
//! the TTBRs on. Each has a copy of its words, which is where a record's old value comes from.

use crate::memory::{LAST_LEVEL, PAGE, Ram, Root, next_table};
use core::sync::atomic::{AtomicU8, Ordering};

const WORDS: usize = (PAGE / 8) as usize;
/// Bounds what one descriptor may make known: tables of memory that is damaged may lead anywhere.
const MOST_TABLES: usize = 100_000;

/// A page that is recorded.
struct Page {
    words: [u64; WORDS],
    /// Whether a reader named it.
    is_named: bool,
    /// Whether it is, or was, the root of an address space.
    is_root: bool,
    /// Descriptors that point to it as a table.
    links: u32,
    /// Of the table that it is; only if it is one.
    table: Table,
}

/// What a translation table is for.
#[derive(Clone, Copy, Default)]
pub struct Table {
    pub level: u8,
    /// The first input address that it translates.
    pub input: u64,
    /// The root of its address space.
    pub root: u64,
}

impl Table {
    /// The first input address that a word of the table translates.
    fn input_of(&self, index: u64) -> u64 {
        self.input + (index << (12 + 9 * (LAST_LEVEL - self.level) as u32))
    }

    /// The table that a word points to, if it does.
    fn next(&self, index: u64, word: u64) -> Option<(u64, Table)> {
        let address = next_table(word, self.level)?;
        Some((address, Table { level: self.level + 1, input: self.input_of(index), root: self.root }))
    }
}

impl Page {
    fn is_table(&self) -> bool {
        self.is_root || self.links > 0
    }

    fn is_wanted(&self) -> bool {
        self.is_named || self.is_table()
    }
}

/// What is kept of a page in a checkpoint: not its words, which are those of the memory.
pub struct Kept {
    number: u32,
    is_named: bool,
    is_root: bool,
    links: u32,
    table: Table,
}

/// What a word was before a change.
pub struct Change {
    pub old: u64,
    /// If it is a descriptor: its table, with the first input address that the descriptor translates.
    pub table: Option<Table>,
}

pub struct Pages {
    ram: Ram,
    /// By number.
    pages: Box<[Option<Box<Page>>]>,
    count: usize,
}

impl Pages {
    pub fn new(ram: Ram) -> Pages {
        Pages { ram, pages: (0..ram.pages()).map(|_| None).collect(), count: 0 }
    }

    /// Records the pages of the ranges (start and end), and no other but tables.
    pub fn name(&mut self, ranges: &[(u64, u64)], filter: &Filter) {
        for page in self.pages.iter_mut().flatten() {
            page.is_named = false;
        }
        for &(start, end) in ranges {
            for number in start / PAGE..end.div_ceil(PAGE).min(self.ram.pages()) {
                self.page(number).is_named = true;
            }
        }
        self.forget_unwanted(filter);
    }

    /// Follows the tables from a root.
    pub fn add_root(&mut self, root: &Root, filter: &Filter) {
        let number = root.table / PAGE;
        if number >= self.ram.pages() || self.known(number).is_some_and(|page| page.is_root) {
            return;
        }
        let page = self.page(number);
        page.is_root = true;
        page.table = Table { level: root.level, input: root.input, root: number * PAGE };
        filter.set(number, true);
        self.link_all(number, filter);
    }

    /// Follows a root's tables no longer.
    pub fn remove_root(&mut self, address: u64, filter: &Filter) {
        let number = address / PAGE;
        let Some(page) = self.pages.get_mut(number as usize).and_then(Option::as_mut) else { return };
        if !core::mem::replace(&mut page.is_root, false) || page.links > 0 {
            return;
        }
        let is_named = page.is_named;
        self.unlink_all(number, filter);
        if !is_named {
            self.forget(number, filter);
        }
    }

    /// Takes over the value that was written to an aligned word; None if its page is not recorded. `roots` are the
    /// tables in the TTBRs now.
    pub fn update(&mut self, address: u64, new: u64, roots: &[u64], filter: &Filter) -> Option<Change> {
        let number = address / PAGE;
        let page = self.pages.get_mut(number as usize)?.as_mut()?;
        let index = address % PAGE / 8;
        let old = core::mem::replace(&mut page.words[index as usize], new);
        if !page.is_table() {
            return Some(Change { old, table: None });
        }
        let table = page.table;
        if page.is_root && page.links == 0 && is_no_descriptor(new, self.ram) && !roots.contains(&(number * PAGE)) {
            // A table of an address space that has ended: its frame is used for something else now.
            self.remove_root(address, filter);
            return Some(Change { old, table: None });
        }
        let (before, after) = (next_table(old, table.level), next_table(new, table.level));
        if before != after {
            if let Some(address) = before {
                self.unlink(address / PAGE, filter);
            }
            if let Some((address, next)) = table.next(index, new) {
                self.link(address / PAGE, next, filter);
            }
        }
        Some(Change { old, table: Some(Table { input: table.input_of(index), ..table }) })
    }

    /// What is to be kept of the pages.
    pub fn save(&self) -> Vec<Kept> {
        let known = (0..).zip(&self.pages).filter_map(|(number, page)| Some((number, page.as_deref()?)));
        let kept = known.map(|(number, &Page { is_named, is_root, links, table, .. })| Kept {
            number,
            is_named,
            is_root,
            links,
            table,
        });
        kept.collect()
    }

    /// Makes the pages what they were; the memory is what it was then.
    pub fn restore(&mut self, kept: &[Kept], filter: &Filter) {
        for number in 0..self.ram.pages() {
            if self.known(number).is_some() {
                self.forget(number, filter);
            }
        }
        for one in kept {
            let page = self.page(one.number.into());
            (page.is_named, page.is_root, page.links, page.table) = (one.is_named, one.is_root, one.links, one.table);
            filter.set(one.number.into(), true);
        }
    }

    fn known(&self, number: u64) -> Option<&Page> {
        self.pages.get(number as usize)?.as_deref()
    }

    /// A page within memory, which is recorded from now on.
    fn page(&mut self, number: u64) -> &mut Page {
        let ram = self.ram;
        let place = &mut self.pages[number as usize];
        self.count += place.is_none() as usize;
        place.get_or_insert_with(|| {
            let words = core::array::from_fn(|index| ram.word(number * PAGE + 8 * index as u64).unwrap_or(0));
            Box::new(Page { words, is_named: false, is_root: false, links: 0, table: Table::default() })
        })
    }

    fn link(&mut self, number: u64, table: Table, filter: &Filter) {
        if number >= self.ram.pages() || self.count >= MOST_TABLES {
            return;
        }
        let page = self.page(number);
        page.links += 1;
        if page.links > 1 || page.is_root {
            return;
        }
        page.table = table;
        filter.set(number, true);
        self.link_all(number, filter);
    }

    fn unlink(&mut self, number: u64, filter: &Filter) {
        let Some(page) = self.pages.get_mut(number as usize).and_then(Option::as_mut) else { return };
        page.links = page.links.saturating_sub(1);
        if page.is_table() {
            return;
        }
        let is_named = page.is_named;
        self.unlink_all(number, filter);
        if !is_named {
            self.forget(number, filter);
        }
    }

    fn link_all(&mut self, number: u64, filter: &Filter) {
        for (address, table) in self.next_tables(number) {
            self.link(address / PAGE, table, filter);
        }
    }

    fn unlink_all(&mut self, number: u64, filter: &Filter) {
        for (address, _) in self.next_tables(number) {
            self.unlink(address / PAGE, filter);
        }
    }

    /// The tables that a table points to.
    fn next_tables(&self, number: u64) -> Vec<(u64, Table)> {
        let Some(page) = self.known(number) else { return Vec::new() };
        (0..).zip(&page.words).filter_map(|(index, &word)| page.table.next(index, word)).collect()
    }

    fn forget_unwanted(&mut self, filter: &Filter) {
        for number in 0..self.ram.pages() {
            match self.known(number).map(Page::is_wanted) {
                Some(true) => filter.set(number, true),
                Some(false) => self.forget(number, filter),
                None => {}
            }
        }
    }

    fn forget(&mut self, number: u64, filter: &Filter) {
        self.pages[number as usize] = None;
        self.count -= 1;
        filter.set(number, false);
    }
}

/// Whether a word cannot be a descriptor of a root table: bits are set where none may be, or it points beyond memory.
fn is_no_descriptor(word: u64, ram: Ram) -> bool {
    word & 1 != 0 && next_table(word, 0).is_none_or(|table| table / PAGE >= ram.pages()) || word & 1 == 0 && word != 0
}

/// Which pages are recorded: what each store of the guest looks at first.
pub struct Filter {
    pages: Box<[AtomicU8]>,
}

impl Filter {
    pub fn new(pages: u64) -> Filter {
        Filter { pages: (0..pages).map(|_| AtomicU8::new(0)).collect() }
    }

    #[inline(always)]
    pub fn has(&self, address: u64) -> bool {
        self.pages.get((address / PAGE) as usize).is_some_and(|page| page.load(Ordering::Relaxed) != 0)
    }

    fn set(&self, number: u64, is_recorded: bool) {
        self.pages[number as usize].store(is_recorded as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;

    const ROOT: u64 = 0x1000;

    struct Guest {
        memory: &'static [AtomicU64],
        pages: Pages,
        filter: Filter,
    }

    impl Guest {
        fn new(words: &[(u64, u64)]) -> Guest {
            let memory: Vec<AtomicU64> = (0..16 * WORDS).map(|_| AtomicU64::new(0)).collect();
            let memory: &'static [AtomicU64] = Box::leak(memory.into_boxed_slice());
            for &(address, value) in words {
                memory[address as usize / 8].store(value, Ordering::Relaxed);
            }
            Guest { memory, pages: Pages::new(Ram::of(memory)), filter: Filter::new(16) }
        }

        fn add_root(&mut self, table: u64, level: u8, input: u64) {
            self.pages.add_root(&Root { table, level, input }, &self.filter);
        }

        fn write(&mut self, address: u64, value: u64) -> Option<(u64, u64, u8)> {
            self.memory[address as usize / 8].store(value, Ordering::Relaxed);
            let recorded = self.filter.has(address);
            let change = self.pages.update(address, value, &[ROOT], &self.filter);
            assert_eq!(recorded, change.is_some());
            change.map(|change| (change.old, value, change.table.map_or(0, |table| table.level + 1)))
        }

        fn recorded(&self) -> Vec<u64> {
            (0..16).filter(|number| self.filter.has(number * PAGE)).collect()
        }
    }

    #[test]
    fn tables_are_followed_as_descriptors_come_and_go() {
        let mut guest = Guest::new(&[(ROOT, 0x2003)]);
        assert_eq!(guest.write(0x2000, 5), None);
        guest.memory[0x2000 / 8].store(0, Ordering::Relaxed);
        guest.add_root(ROOT, 0, 0);
        assert_eq!(guest.recorded(), [1, 2]);
        // The tables below are filled before they are linked.
        guest.memory[0x4000 / 8].store(0x9403, Ordering::Relaxed);
        guest.memory[0x3000 / 8].store(0x4003, Ordering::Relaxed);
        assert_eq!(guest.write(0x2008, 0x3003), Some((0, 0x3003, 2)));
        assert_eq!(guest.recorded(), [1, 2, 3, 4]);
        assert_eq!(guest.write(0x4000, 0), Some((0x9403, 0, 4)));
        // A page's descriptor at the last level is no table's.
        assert_eq!(guest.write(0x4008, 0x5003), Some((0, 0x5003, 4)));
        assert_eq!(guest.recorded(), [1, 2, 3, 4]);
        assert_eq!(guest.write(0x2008, 0), Some((0x3003, 0, 2)));
        assert_eq!(guest.recorded(), [1, 2]);
    }

    #[test]
    fn a_change_of_a_descriptor_tells_what_it_translates() {
        let mut guest = Guest::new(&[(ROOT + 8 * 3, 0x2003), (0x2000 + 8 * 5, 0x3003)]);
        guest.add_root(ROOT, 1, 0xffff_ff80_0000_0000);
        let change = guest.pages.update(0x3000 + 8 * 7, 0x9403, &[ROOT], &guest.filter).unwrap();
        let table = change.table.unwrap();
        assert_eq!((table.level, table.root), (3, ROOT));
        assert_eq!(table.input, 0xffff_ff80_0000_0000 + (3 << 30) + (5 << 21) + (7 << 12));
    }

    #[test]
    fn a_root_that_is_removed_takes_its_tables_along() {
        let mut guest = Guest::new(&[(ROOT, 0x2003), (0x5000, 0x2003)]);
        guest.add_root(ROOT, 0, 0);
        guest.add_root(0x5000, 0, 0);
        guest.pages.remove_root(ROOT, &guest.filter);
        assert_eq!(guest.recorded(), [2, 5]);
        guest.pages.remove_root(ROOT, &guest.filter);
        guest.pages.remove_root(0x5000, &guest.filter);
        assert_eq!(guest.recorded(), [0u64; 0]);
    }

    #[test]
    fn a_table_with_two_parents_stays_until_both_are_gone() {
        let mut guest = Guest::new(&[]);
        guest.add_root(ROOT, 2, 0);
        guest.write(ROOT, 0x3003);
        guest.write(ROOT + 8, 0x3003);
        guest.write(ROOT, 0);
        assert_eq!(guest.recorded(), [1, 3]);
        guest.write(ROOT + 8, 0x4003);
        assert_eq!(guest.recorded(), [1, 4]);
    }

    #[test]
    fn a_table_that_leads_back_to_itself_is_followed_once() {
        let mut guest = Guest::new(&[(ROOT, ROOT | 3), (ROOT + 8, 0x2003), (0x2000, ROOT | 3)]);
        guest.add_root(ROOT, 0, 0);
        assert_eq!(guest.recorded(), [1, 2]);
        assert_eq!(guest.write(ROOT, 0), Some((ROOT | 3, 0, 1)));
        assert_eq!(guest.recorded(), [1, 2]);
    }

    #[test]
    fn a_root_that_is_used_for_something_else_is_forgotten() {
        let mut guest = Guest::new(&[(0x5000, 0x2003)]);
        guest.add_root(ROOT, 0, 0);
        guest.add_root(0x5000, 0, 0);
        assert_eq!(guest.recorded(), [1, 2, 5]);
        // Not while it is in a TTBR.
        assert_eq!(guest.write(ROOT, 0x1234_5678), Some((0, 0x1234_5678, 1)));
        assert_eq!(guest.write(0x5008, 0x1234_5678), Some((0, 0x1234_5678, 0)));
        assert_eq!(guest.recorded(), [1]);
    }

    #[test]
    fn named_ranges_are_recorded_by_whole_pages() {
        let mut guest = Guest::new(&[(0x6008, 9)]);
        guest.add_root(ROOT, 0, 0);
        guest.pages.name(&[(0x6ff8, 0x7008), (0x9000, 0x9000), (0xf000, 0x50_0000)], &guest.filter);
        assert_eq!(guest.recorded(), [1, 6, 7, 15]);
        assert_eq!(guest.write(0x6008, 10), Some((9, 10, 0)));
        guest.pages.name(&[(0x7000, 0x8000)], &guest.filter);
        assert_eq!(guest.recorded(), [1, 7]);
    }
}
