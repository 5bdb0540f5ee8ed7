//! `*l`: the lazy pages, by range, and by runs of pages of the same state.

use super::write_hidden_count;
use crate::memory::dynamic::DynamicMemoryManager;
use crate::memory::lazy::{LazyPage, LazyPageAllocator, LazyRange, address_of};
use crate::text::units::{Frames, Size};
use core::fmt::{Result, Write};

macro_rules! range_columns {
    () => {
        "{:>14} {:>4} {:>7} {:>10} {:>7} {:>7} {:>9} {:>10}"
    };
}

macro_rules! run_columns {
    () => {
        "{:>14} {:>4} {:>7} {:>10} {}"
    };
}

/// The most runs that `*l` shows: sparsely written memory has thousands.
const MAX_RUNS: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Zero,
    Allocated,
}

impl State {
    fn of(page: &LazyPage) -> Self {
        match (page.is_allocated, page.is_zero_page) {
            (true, _) => State::Allocated,
            (false, true) => State::Zero,
            (false, false) => State::Pending,
        }
    }

    fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Zero => "zero",
            State::Allocated => "allocated",
        }
    }
}

/// `*l`: the totals, each range with its pages by state, and the runs of pages of the same state.
pub fn lazy_pages(manager: &DynamicMemoryManager, out: &mut dyn Write) -> Result {
    totals(manager, out)?;
    ranges(manager, usize::MAX, out)?;
    runs(&manager.lazy_allocator, out)
}

pub(super) fn totals(manager: &DynamicMemoryManager, out: &mut dyn Write) -> Result {
    let lazy = &manager.lazy_allocator;
    let touched = lazy.allocated_pages + lazy.zero_pages;
    let count = |pages: u32| Frames(pages as u64);
    writeln!(out, "reserved_pages: {}", count(lazy.reserved_pages))?;
    writeln!(out, "pending_pages: {}", count(lazy.reserved_pages.saturating_sub(touched)))?;
    writeln!(out, "zero_pages: {}", count(lazy.zero_pages))?;
    writeln!(out, "allocated_pages: {}", count(lazy.allocated_pages))?;
    writeln!(out, "zero_frame: {:#x}", lazy.zero_frame)?;
    writeln!(out, "zero_fault_count: {}", lazy.zero_fault_count)?;
    writeln!(out, "allocate_fault_count: {}", lazy.allocate_fault_count)?;
    writeln!(out, "upgrade_fault_count: {}", lazy.upgrade_fault_count)?;
    writeln!(out, "access_flag_count: {}", lazy.access_flag_count)?;
    writeln!(out, "fold_count: {}", lazy.fold_count)
}

/// Writes a table of at most `rows` ranges. It counts the pages themselves and does not use the totals.
pub(super) fn ranges(manager: &DynamicMemoryManager, rows: usize, out: &mut dyn Write) -> Result {
    let lazy = &manager.lazy_allocator;
    if in_use(lazy).next().is_none() {
        return Ok(());
    }
    writeln!(out, range_columns!(), "range", "task", "pages", "size", "pending", "zero", "allocated", "accesses")?;
    for range in in_use(lazy).take(rows) {
        let pages = pages_of(lazy, range);
        let count = |state| pages.iter().filter(|page| State::of(page) == state).count();
        writeln!(
            out,
            range_columns!(),
            format_args!("{:#x}", address_of(range.first)),
            range.owner,
            range.pages,
            Size::of_pages(range.pages as u64),
            count(State::Pending),
            count(State::Zero),
            count(State::Allocated),
            pages.iter().map(|page| page.access_count as u64).sum::<u64>()
        )?;
    }
    write_hidden_count(in_use(lazy).skip(rows).count(), out)
}

fn runs(lazy: &LazyPageAllocator, out: &mut dyn Write) -> Result {
    if in_use(lazy).next().is_none() {
        return Ok(());
    }
    writeln!(out, run_columns!(), "run", "task", "pages", "size", "state")?;
    let mut shown = 0;
    for range in in_use(lazy) {
        let mut first = range.first;
        for run in pages_of(lazy, range).chunk_by(|a, b| State::of(a) == State::of(b)) {
            shown += 1;
            if shown <= MAX_RUNS {
                writeln!(
                    out,
                    run_columns!(),
                    format_args!("{:#x}", address_of(first)),
                    range.owner,
                    run.len(),
                    Size::of_pages(run.len() as u64),
                    State::of(&run[0]).name()
                )?;
            }
            first += run.len() as u32;
        }
    }
    write_hidden_count(shown.saturating_sub(MAX_RUNS), out)
}

fn in_use(lazy: &LazyPageAllocator) -> impl Iterator<Item = &LazyRange> {
    lazy.ranges.iter().filter(|range| range.pages > 0)
}

/// The records of a range; empty if its numbers are invalid.
fn pages_of<'a>(lazy: &'a LazyPageAllocator, range: &LazyRange) -> &'a [LazyPage] {
    let first = range.first as usize;
    lazy.pages.get(first..first + range.pages as usize).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixtures;

    fn show(manager: &DynamicMemoryManager) -> String {
        let mut text = String::new();
        lazy_pages(manager, &mut text).unwrap();
        text
    }

    fn words(line: &str) -> String {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_reserved_has_totals_and_no_tables() {
        let text = show(&fixtures::manager());
        assert_eq!(fixtures::lines(&text).len(), 10);
        assert_eq!(fixtures::value(&text, "pending_pages"), "0 (0 B)");
    }

    #[test]
    fn ranges_are_summed_by_state_and_by_run() {
        let mut manager = fixtures::manager();
        let lazy = &mut manager.lazy_allocator;
        lazy.reserve(3, 512);
        lazy.reserve(4, 2);
        for page in &mut lazy.pages[10..20] {
            (page.is_zero_page, page.access_count) = (true, 2);
        }
        for page in &mut lazy.pages[20..24] {
            (page.is_allocated, page.access_count) = (true, 1);
        }
        (lazy.zero_pages, lazy.allocated_pages, lazy.fold_count) = (10, 4, 99);
        let text = show(&manager);
        let lines: Vec<_> = fixtures::lines(&text).into_iter().map(words).collect();
        assert_eq!(fixtures::value(&text, "pending_pages"), "500 (2000 KiB)");
        assert_eq!(fixtures::value(&text, "fold_count"), "99");
        assert_eq!(
            lines[10..],
            [
                "range task pages size pending zero allocated accesses",
                "0x200000000000 3 512 2 MiB 498 10 4 24",
                "0x200000200000 4 2 8 KiB 2 0 0 0",
                "run task pages size state",
                "0x200000000000 3 10 40 KiB pending",
                "0x20000000a000 3 10 40 KiB zero",
                "0x200000014000 3 4 16 KiB allocated",
                "0x200000018000 3 488 1952 KiB pending",
                "0x200000200000 4 2 8 KiB pending",
            ]
        );
    }

    #[test]
    fn many_runs_are_cut_and_counted() {
        let mut manager = fixtures::manager();
        manager.lazy_allocator.reserve(1, 1000);
        for page in manager.lazy_allocator.pages[..1000].iter_mut().step_by(2) {
            page.is_allocated = true;
        }
        let text = show(&manager);
        assert_eq!(fixtures::value(&text, "rows not shown"), (1000 - MAX_RUNS).to_string());
    }
}
