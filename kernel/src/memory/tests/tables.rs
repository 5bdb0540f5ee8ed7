//! Translation tables, compared with a map from address to descriptor.

use super::machine::{ACCESS_FLAG, EXECUTE_NEVER, OUTPUT, PAGE, READ_ONLY, VALID, walk, word};
use super::support::{cases, in_heap};
use crate::hardware::write_descriptor;
use crate::memory::frames::{FrameAllocator, FrameInfo, FrameUse};
use crate::memory::tables::{Attributes, count_below, create_table, find, find_or_create, is_valid, output, prune};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const OWNER: u16 = 5;
const FRAME: u64 = 0x1234_5000;

fn pool() -> Box<FrameAllocator> {
    let mut frames = in_heap(FrameAllocator::new);
    frames.initialize();
    frames
}

/// Addresses that share tables at every level, and some that share none.
fn page() -> impl Strategy<Value = u64> {
    let index = || prop_oneof![Just(0u64), Just(1), Just(511)];
    (index(), index(), index(), index())
        .prop_map(|(zero, one, two, three)| zero << 39 | one << 30 | two << 21 | three << 12)
}

/// Number of tables below the root that these pages need.
fn tables_for<'a>(pages: impl Iterator<Item = &'a u64>) -> usize {
    let pages: Vec<u64> = pages.copied().collect();
    [39, 30, 21].map(|shift| pages.iter().map(|page| page >> shift).collect::<BTreeSet<u64>>().len()).iter().sum()
}

#[derive(Clone, Debug)]
enum Step {
    Map(u64),
    Unmap(u64),
    Prune,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![4 => page().prop_map(Step::Map), 4 => page().prop_map(Step::Unmap), 1 => Just(Step::Prune)]
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn what_was_mapped_is_found_and_empty_tables_go(steps in prop::collection::vec(step(), 1..120)) {
        let mut frames = pool();
        let root = create_table(&mut frames, OWNER, 0).unwrap();
        let (mut model, mut touched) = (BTreeMap::new(), BTreeSet::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Map(page) => {
                    let entry = find_or_create(root, page, &mut frames, OWNER).unwrap();
                    let descriptor = Attributes::ReadWrite.page(FRAME + number as u64 * PAGE);
                    write_descriptor(entry, descriptor);
                    model.insert(page, descriptor);
                    touched.insert(page);
                }
                Step::Unmap(page) => {
                    let entry = find(root, page);
                    // The tables stay until they are pruned.
                    prop_assert_eq!(entry.is_some(), touched.iter().any(|known| known >> 21 == page >> 21));
                    if let Some(entry) = entry {
                        write_descriptor(entry, 0);
                    }
                    model.remove(&page);
                }
                Step::Prune => {
                    let before = tables_for(touched.iter());
                    touched = model.keys().copied().collect();
                    let released = prune(root, &mut frames, false);
                    prop_assert_eq!(released as usize, before - tables_for(touched.iter()));
                }
            }
            let tables = tables_for(touched.iter());
            prop_assert_eq!(count_below(root) as usize, tables);
            prop_assert_eq!(frames.used_frames() as usize, tables + 1, "with the root");
            for page in touched.iter() {
                prop_assert_eq!(walk(root, *page), model.get(page).copied().unwrap_or(0), "page {:#x}", page);
            }
        }
        let released = prune(root, &mut frames, true);
        prop_assert_eq!((released as usize, count_below(root)), (tables_for(touched.iter()), 0));
        prop_assert_eq!(frames.used_frames(), 1);
    }
}

#[test]
fn a_table_has_task_and_level_on_record_and_starts_empty() {
    let mut frames = pool();
    let root = create_table(&mut frames, OWNER, 0).unwrap();
    for _ in 0..2 {
        let mut table = root;
        assert!(find_or_create(root, 0x7000_0123_4567, &mut frames, OWNER).is_some());
        for (level, index) in [(0, 0xe0), (1, 0), (2, 9)] {
            let info = frames.info[frames.number(table).unwrap() as usize];
            assert_eq!(info, FrameInfo::new(FrameUse::Table, OWNER, level));
            let valid: Vec<u64> = (0..512).filter(|entry| word(table + entry * 8) != 0).collect();
            assert_eq!(valid, [index], "level {level}");
            table = word(table + index * 8) & OUTPUT;
        }
        assert_eq!(frames.info[frames.number(table).unwrap() as usize].index, 3);
        assert!((0..512).all(|entry| word(table + entry * 8) == 0));
        // Again, with frames that have other contents.
        prune(root, &mut frames, true);
        for frame in 0..8 {
            (0..512).for_each(|entry| write_descriptor(root + PAGE * (1 + frame) + entry * 8, u64::MAX));
        }
    }
}

#[test]
fn find_creates_no_tables() {
    let mut frames = pool();
    let root = create_table(&mut frames, OWNER, 0).unwrap();
    assert_eq!((find(root, 0), find(root, 0x7fff_ffff_f000)), (None, None));
    assert_eq!(frames.used_frames(), 1);
}

#[test]
fn without_frames_no_table_is_created_and_none_is_lost() {
    let mut frames = pool();
    let root = create_table(&mut frames, OWNER, 0).unwrap();
    frames.set_limit(3);
    assert_eq!(find_or_create(root, PAGE, &mut frames, OWNER), None, "it needs three");
    assert_eq!((count_below(root), frames.used_frames()), (2, 3), "the tables created so far are linked");
    frames.set_limit(4);
    assert_eq!(find_or_create(root, PAGE, &mut frames, OWNER), find(root, PAGE));
    assert_eq!(prune(root, &mut frames, false), 3);
    assert_eq!(create_table(&mut frames, OWNER, 0), Some(frames.address(1)));
    frames.set_limit(0);
    assert_eq!(create_table(&mut frames, OWNER, 0), None);
}

#[test]
fn page_descriptors_have_the_bits_of_the_architecture() {
    let bits = |attributes: Attributes| attributes.page(FRAME);
    for attributes in [Attributes::ReadWrite, Attributes::ReadOnly, Attributes::ReadExecute] {
        let descriptor = bits(attributes);
        assert_eq!((descriptor & 0b11, output(descriptor)), (0b11, FRAME), "a page of level 3");
        assert_eq!(descriptor & ACCESS_FLAG, ACCESS_FLAG);
        assert_eq!(descriptor >> 6 & 1, 1, "AP[1]: EL0 may access");
        assert_eq!(descriptor >> 8 & 0b11, 0b11, "SH: inner shareable");
        assert_eq!(descriptor >> 11 & 1, 1, "nG: by ASID");
        assert_eq!(descriptor >> 53 & 1, 1, "PXN: never executed by the kernel");
        assert_eq!(descriptor >> 2 & 0b111, 0, "AttrIndx: normal memory");
        assert!(is_valid(descriptor));
    }
    let permissions = |attributes| (bits(attributes) & READ_ONLY != 0, bits(attributes) & EXECUTE_NEVER != 0);
    assert_eq!(permissions(Attributes::ReadWrite), (false, true));
    assert_eq!(permissions(Attributes::ReadOnly), (true, true));
    assert_eq!(permissions(Attributes::ReadExecute), (true, false));
    assert!(!is_valid(0) && !is_valid(!VALID));
}
