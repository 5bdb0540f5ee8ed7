//! Lazy ranges and the mapping between records and addresses.

use super::support::{cases, in_heap};
use crate::memory::layout::{LAZY_REGION_BASE, LAZY_REGION_END, MAX_LAZY_PAGES, MAX_LAZY_RANGES, PAGE_SIZE};
use crate::memory::lazy::{LazyPage, LazyPageAllocator, LazyRange, address_of, record_of};
use proptest::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
const RECORDS: u32 = MAX_LAZY_PAGES as u32;

fn empty() -> Box<LazyPageAllocator> {
    in_heap(LazyPageAllocator::new)
}

/// Index in `ranges` of the range whose first record is `first`.
fn place_of(lazy: &LazyPageAllocator, first: u32) -> usize {
    lazy.ranges.iter().position(|range| range.pages > 0 && range.first == first).expect("a range starts there")
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(u16, u32),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let pages = prop_oneof![6 => 1..40u32, 3 => 1000..9000u32, 1 => Just(0), 1 => RECORDS - 2..RECORDS + 2];
    prop_oneof![
        3 => (1..97u16, pages).prop_map(|(owner, pages)| Step::Reserve(owner, pages)),
        2 => any::<usize>().prop_map(Step::Forget),
    ]
}

/// Length of the longest run of records that are in no range.
fn longest_gap(ranges: &[LazyRange]) -> u32 {
    let mut sorted: Vec<(u32, u32)> = ranges.iter().map(|range| (range.first, range.pages)).collect();
    sorted.push((RECORDS, 0));
    sorted.sort_unstable();
    let (mut end, mut longest) = (0, 0);
    for (first, pages) in sorted {
        assert!(first >= end, "ranges overlap at record {first}");
        longest = longest.max(first - end);
        end = first + pages;
    }
    assert!(end <= RECORDS);
    longest
}

fn take(lazy: &mut LazyPageAllocator, model: &mut Vec<LazyRange>, step: Step) {
    match step {
        Step::Reserve(owner, pages) => {
            let fits = pages > 0 && pages <= longest_gap(model) && model.len() < MAX_LAZY_RANGES;
            let first = lazy.reserve(owner, pages);
            assert_eq!(first.is_some(), fits, "{pages} pages, longest gap {}", longest_gap(model));
            if let Some(first) = first {
                model.push(LazyRange { first, pages, owner });
                assert_eq!(lazy.range_at(owner, address_of(first)), Some(place_of(lazy, first)));
                assert_eq!(lazy.range_at(owner + 1, address_of(first)), None, "a range of another task");
                assert_eq!(lazy.range_at(owner, address_of(first) + 8), None, "not the start of the range");
            }
        }
        Step::Forget(choice) => {
            if !model.is_empty() {
                let range = model.swap_remove(choice % model.len());
                let place = lazy.range_at(range.owner, address_of(range.first)).expect("it is known");
                assert_eq!(lazy.remove_range(place), range);
                assert_eq!(lazy.range_at(range.owner, address_of(range.first)), None);
            }
        }
    }
    longest_gap(model);
    assert_eq!(lazy.reserved_pages, model.iter().map(|range| range.pages).sum::<u32>());
}

/// Checks that a record is in use if and only if it is in a range.
fn compare_each(lazy: &LazyPageAllocator, model: &[LazyRange]) {
    let mut owners = vec![None; MAX_LAZY_PAGES];
    for range in model {
        owners[range.first as usize..(range.first + range.pages) as usize].fill(Some(range.owner));
    }
    for (record, page) in lazy.pages.iter().enumerate() {
        let expected = match owners[record] {
            Some(owner) => LazyPage { virtual_address: address_of(record as u32), owner, ..LazyPage::UNUSED },
            None => LazyPage::UNUSED,
        };
        assert_eq!(*page, expected, "record {record}");
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn ranges_never_overlap_and_a_run_that_fits_is_found(steps in prop::collection::vec(step(), 1..80)) {
        let (mut lazy, mut model) = (empty(), Vec::new());
        for step in steps {
            take(&mut lazy, &mut model, step);
        }
        compare_each(&lazy, &model);
    }
}

proptest! {
    #[test]
    fn every_address_of_a_page_has_its_record(record in 0..RECORDS, offset in 0..PAGE) {
        prop_assert_eq!(record_of(address_of(record) + offset), Some(record as usize));
    }
}

#[test]
fn addresses_outside_the_region_have_no_record() {
    assert_eq!((address_of(0), record_of(LAZY_REGION_BASE)), (LAZY_REGION_BASE, Some(0)));
    assert_eq!(address_of(RECORDS - 1), LAZY_REGION_END - PAGE);
    assert_eq!(record_of(LAZY_REGION_END - 1), Some(MAX_LAZY_PAGES - 1));
    for address in [0, LAZY_REGION_BASE - 1, LAZY_REGION_END, u64::MAX] {
        assert_eq!(record_of(address), None, "{address:#x}");
    }
}

#[test]
fn all_records_can_be_reserved_at_once_and_again() {
    let mut lazy = empty();
    for _ in 0..2 {
        assert_eq!(lazy.reserve(3, RECORDS), Some(0));
        assert_eq!((lazy.reserved_pages, lazy.reserve(3, 1)), (RECORDS, None));
        let place = place_of(&lazy, 0);
        assert_eq!(lazy.remove_range(place), LazyRange { first: 0, pages: RECORDS, owner: 3 });
        assert_eq!(lazy.reserved_pages, 0);
    }
    assert_eq!((lazy.reserve(3, 0), lazy.reserve(3, RECORDS + 1), lazy.reserve(3, u32::MAX)), (None, None, None));
}

#[test]
fn the_number_of_ranges_is_limited() {
    let mut lazy = empty();
    for number in 0..MAX_LAZY_RANGES as u32 {
        assert_eq!(lazy.reserve(1, 2), Some(number * 2));
    }
    assert_eq!(lazy.reserve(1, 1), None);
    assert_eq!(lazy.reserved_pages as usize, 2 * MAX_LAZY_RANGES);
    let place = place_of(&lazy, 10);
    lazy.remove_range(place);
    assert_eq!(lazy.reserve(1, 2), Some(MAX_LAZY_RANGES as u32 * 2), "a record is reused as late as possible");
}

#[test]
fn a_search_continues_at_the_start_after_the_end() {
    let mut lazy = empty();
    assert_eq!(lazy.reserve(1, 100), Some(0));
    assert_eq!(lazy.reserve(1, RECORDS - 150), Some(100));
    let place = place_of(&lazy, 0);
    lazy.remove_range(place);
    assert_eq!(lazy.reserve(1, 60), Some(0), "50 records are free at the end, 100 at the start");
    assert_eq!(lazy.reserve(1, 60), None);
    assert_eq!(lazy.reserve(1, 50), Some(RECORDS - 50));
    assert_eq!(lazy.reserve(1, 40), Some(60));
}
