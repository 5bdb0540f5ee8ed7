//! Translation tables, compared with a map from address to descriptor.

use super::machine::{ACCESS_FLAG, EXECUTE_NEVER, OUTPUT, PAGE, READ_ONLY, VALID, set_word, walk, word};
use super::support::{cases, in_heap};
use crate::hardware::{restart, write_descriptor};
use crate::memory::frames::{FrameAddress, FrameAllocator, FrameInfo, FrameUse};
use crate::memory::layout::{POOL_BASE, POOL_FRAMES};
use crate::memory::tables::{
    Descriptor, count_below, create_table, find, find_at, find_or_create, place_of_table, prune,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const OWNER: u16 = 5;
const FRAME: u64 = POOL_BASE + 0x12_3000;

fn pool() -> Box<FrameAllocator> {
    restart();
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

/// Steps of a random test.
const MAX_STEPS: usize = if cfg!(miri) { 3 } else { 120 };

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn what_was_mapped_is_found_and_empty_tables_go(steps in prop::collection::vec(step(), 1..MAX_STEPS)) {
        let mut frames = pool();
        let root = create_table(&mut frames, OWNER, 0, 0).unwrap().get();
        let (mut model, mut touched) = (BTreeMap::new(), BTreeSet::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Map(page) => {
                    let entry = find_or_create(root, page, &mut frames, OWNER).unwrap();
                    let frame = FrameAddress::new(FRAME + number as u64 * PAGE).unwrap();
                    let descriptor = Descriptor::read_write(frame);
                    write_descriptor(entry, Descriptor::INVALID);
                    write_descriptor(entry, descriptor);
                    model.insert(page, descriptor.bits());
                    touched.insert(page);
                }
                Step::Unmap(page) => {
                    let entry = find(root, page);
                    // The tables stay until they are pruned.
                    prop_assert_eq!(entry.is_some(), touched.iter().any(|known| known >> 21 == page >> 21));
                    if let Some(entry) = entry {
                        write_descriptor(entry, Descriptor::INVALID);
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
#[cfg_attr(miri, ignore)]
fn a_table_has_task_and_place_on_record_and_starts_empty() {
    let mut frames = pool();
    let root = create_table(&mut frames, OWNER, 0, 0).unwrap().get();
    for _ in 0..2 {
        let mut table = root;
        assert!(find_or_create(root, 0x7000_0123_4567, &mut frames, OWNER).is_some());
        for (level, index, place) in [(0, 0xe0, 0), (1, 0, 0xe0), (2, 9, 0xe0 << 9)] {
            let info = frames.info[frames.number(table).unwrap() as usize];
            assert_eq!(info, FrameInfo::new(FrameUse::Table, OWNER, level | place << 2));
            assert_eq!(place_of_table(info.index), (level, 0x7000_0123_4567 & !((1 << (48 - 9 * level)) - 1)));
            let valid: Vec<u64> = (0..512).filter(|entry| word(table + entry * 8) != 0).collect();
            assert_eq!(valid, [index], "level {level}");
            table = word(table + index * 8) & OUTPUT;
        }
        assert_eq!(frames.info[frames.number(table).unwrap() as usize].index, 3 | (0xe0 << 18 | 9) << 2);
        assert!((0..512).all(|entry| word(table + entry * 8) == 0));
        // Again, with frames that have other contents.
        prune(root, &mut frames, true);
        for frame in 0..8 {
            (0..512).for_each(|entry| set_word(root + PAGE * (1 + frame) + entry * 8, u64::MAX));
        }
    }
}

#[test]
fn find_creates_no_tables() {
    let mut frames = pool();
    let root = create_table(&mut frames, OWNER, 0, 0).unwrap().get();
    assert_eq!((find(root, 0), find(root, 0x7fff_ffff_f000)), (None, None));
    assert_eq!(frames.used_frames(), 1);
}

#[test]
#[cfg_attr(miri, ignore)]
fn without_frames_no_table_is_created_and_none_is_lost() {
    let mut frames = pool();
    let root = create_table(&mut frames, OWNER, 0, 0).unwrap().get();
    frames.set_limit(3);
    assert_eq!(find_or_create(root, PAGE, &mut frames, OWNER), None, "it needs three");
    assert_eq!((count_below(root), frames.used_frames()), (2, 3), "the tables created so far are linked");
    frames.set_limit(4);
    assert_eq!(find_or_create(root, PAGE, &mut frames, OWNER), find(root, PAGE));
    assert_eq!(prune(root, &mut frames, false), 3);
    assert_eq!(create_table(&mut frames, OWNER, 0, 0), Some(frames.address(1)));
    frames.set_limit(0);
    assert_eq!(create_table(&mut frames, OWNER, 0, 0), None);
}

#[test]
fn page_descriptors_have_the_bits_of_the_architecture() {
    let frame = FrameAddress::new(FRAME).unwrap();
    let (read_write, read_only) = (Descriptor::read_write(frame), Descriptor::read_only(FRAME));
    let read_execute = Descriptor::read_execute(FRAME);
    for descriptor in [read_write, read_only, read_execute] {
        let bits = descriptor.bits();
        assert_eq!((bits & 0b11, descriptor.output()), (0b11, FRAME), "a page of level 3");
        assert_eq!(bits & ACCESS_FLAG, ACCESS_FLAG);
        assert_eq!(bits >> 6 & 1, 1, "AP[1]: EL0 may access");
        assert_eq!(bits >> 8 & 0b11, 0b11, "SH: inner shareable");
        assert_eq!(bits >> 11 & 1, 1, "nG: by ASID");
        assert_eq!(bits >> 53 & 1, 1, "PXN: never executed by the kernel");
        assert_eq!(bits >> 2 & 0b111, 0, "AttrIndx: normal memory");
        assert!(descriptor.is_valid());
    }
    let permissions = |it: Descriptor| (it.bits() & READ_ONLY != 0, it.bits() & EXECUTE_NEVER != 0);
    assert_eq!(permissions(read_write), (false, true));
    assert_eq!(permissions(read_only), (true, true));
    assert_eq!(permissions(read_execute), (true, false));
    assert!(!Descriptor::INVALID.is_valid() && !Descriptor::from_bits(!VALID).is_valid());
}

#[test]
fn a_descriptor_that_is_changed_keeps_its_other_bits() {
    let (from, to) = (FrameAddress::new(FRAME).unwrap(), FrameAddress::new(FRAME + 5 * PAGE).unwrap());
    for descriptor in [Descriptor::read_write(from), Descriptor::read_only(FRAME)] {
        let moved = descriptor.moved_to(to);
        assert_eq!((moved.output(), moved.bits() & !OUTPUT), (to.get(), descriptor.bits() & !OUTPUT));
        let aged = descriptor.without_access_flag();
        assert_eq!((aged.has_access_flag(), aged.bits() | ACCESS_FLAG), (false, descriptor.bits()));
        assert_eq!((aged.with_access_flag(), descriptor.with_access_flag()), (descriptor, descriptor));
    }
}

#[test]
fn only_frames_of_the_pool_have_a_frame_address() {
    let end = POOL_BASE + (POOL_FRAMES as u64) * PAGE;
    for address in [POOL_BASE, FRAME, end - PAGE] {
        assert_eq!(FrameAddress::new(address).map(FrameAddress::get), Some(address));
    }
    for address in [0, POOL_BASE - PAGE, POOL_BASE + 1, FRAME + 8, end - 1, end, u64::MAX, !0xfff] {
        assert_eq!(FrameAddress::new(address), None, "{address:#x}");
    }
}

#[test]
#[should_panic(expected = "there is no such frame")]
fn a_frame_beyond_the_pool_has_no_address() {
    in_heap(FrameAllocator::new).address(POOL_FRAMES as u32);
}

/// A walk that meets a table outside the pool ends there: it neither reads it nor says that the address is not mapped.
#[test]
fn a_walk_does_not_leave_the_pool() {
    let mut frames = pool();
    let root = create_table(&mut frames, OWNER, 0, 0).unwrap().get();
    let entry = find_or_create(root, PAGE, &mut frames, OWNER).unwrap();
    assert_eq!(entry.address(), find(root, PAGE).unwrap().address());
    for (level, outside) in [(2, 0x8_0003u64), (1, POOL_BASE - PAGE + 3), (0, 0x3b40_0001)] {
        set_word(find_at(root, PAGE, level).unwrap().address(), outside);
        let walk = std::panic::catch_unwind(|| find(root, PAGE));
        let message = *walk.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(message, format!("{outside:#x} leads to no translation table in the pool"));
    }
}
