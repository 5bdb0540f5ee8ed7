//! The ASID allocator, compared with a set of the ASIDs that spaces have.

use super::support::{cases, in_heap};
use crate::memory::asid::{AsidAllocator, MAX_ASID_BITS};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn started(bits: u32) -> Box<AsidAllocator> {
    let mut asids = in_heap(AsidAllocator::new);
    asids.restart(bits);
    asids
}

#[derive(Clone, Debug)]
enum Step {
    Allocate,
    /// Chooses among the spaces that have an ASID of any generation.
    Release(usize),
    Restart(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => Just(Step::Allocate),
        15 => any::<usize>().prop_map(Step::Release),
        1 => (2..9u32).prop_map(Step::Restart),
    ]
}

/// The existing spaces, with the last ASID and generation of each.
#[derive(Default)]
struct Model {
    spaces: Vec<(u16, u64)>,
    bits: u32,
    generation: u64,
    rollovers: u64,
    allocations: u64,
}

impl Model {
    fn live(&self) -> BTreeSet<u16> {
        self.spaces.iter().filter(|space| space.1 == self.generation).map(|space| space.0).collect()
    }

    fn is_full(&self) -> bool {
        self.live().len() == (1 << self.bits) - 1
    }
}

fn take(asids: &mut AsidAllocator, model: &mut Model, step: Step) {
    match step {
        Step::Allocate => {
            let was_full = model.is_full();
            let allocation = asids.allocate();
            model.allocations += 1;
            assert_eq!(
                allocation.rolled_over, was_full,
                "a rollover when an ASID was free, or none when all were taken"
            );
            model.generation += was_full as u64;
            model.rollovers += was_full as u64;
            assert_ne!(allocation.asid, 0, "the kernel's ASID was allocated");
            assert!((allocation.asid as u32) < 1 << model.bits, "an ASID of too many bits");
            assert!(!model.live().contains(&allocation.asid), "two spaces with ASID {}", allocation.asid);
            model.spaces.push((allocation.asid, model.generation));
        }
        Step::Release(choice) => {
            if !model.spaces.is_empty() {
                let (asid, generation) = model.spaces.swap_remove(choice % model.spaces.len());
                asids.release(asid, generation);
            }
        }
        Step::Restart(bits) => {
            asids.restart(bits);
            model.bits = bits;
            model.generation += 1;
        }
    }
    assert_eq!(asids.taken_count() as usize, model.live().len() + 1);
    assert_eq!((asids.generation, asids.rollover_count), (model.generation, model.rollovers));
    assert_eq!(asids.allocation_count, model.allocations);
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn no_two_spaces_of_a_generation_share_an_asid(
        bits in 2..9u32, steps in prop::collection::vec(step(), 1..700),
    ) {
        let (mut asids, mut model) = (started(bits), Model { bits, generation: 1, ..Model::default() });
        for step in steps {
            take(&mut asids, &mut model, step);
        }
    }
}

#[test]
fn it_rolls_over_exactly_when_all_asids_are_taken() {
    for bits in 2..=MAX_ASID_BITS {
        let mut asids = started(bits);
        let mut seen = vec![false; 1 << bits];
        seen[0] = true;
        for _ in 1..1u32 << bits {
            let allocation = asids.allocate();
            assert!(!allocation.rolled_over, "{bits} bits: too early");
            assert!(!core::mem::replace(&mut seen[allocation.asid as usize], true), "{bits} bits: twice");
        }
        assert_eq!((asids.generation, asids.rollover_count, asids.taken_count()), (1, 0, 1 << bits));
        let allocation = asids.allocate();
        assert!(allocation.rolled_over && allocation.asid != 0, "{bits} bits: too late");
        assert_eq!((asids.generation, asids.rollover_count, asids.taken_count()), (2, 1, 2));
    }
}

#[test]
fn a_released_asid_is_found_before_a_rollover() {
    for bits in 2..=MAX_ASID_BITS {
        let mut asids = started(bits);
        let last = (1u32 << bits) - 1;
        for _ in 0..last {
            asids.allocate();
        }
        for asid in [1, last / 2, last].map(|asid| asid as u16) {
            asids.release(asid, 1);
            let allocation = asids.allocate();
            assert_eq!((allocation.asid, allocation.rolled_over), (asid, false), "{bits} bits");
        }
    }
}

#[test]
fn an_asid_of_an_older_generation_is_not_released() {
    let mut asids = started(2);
    for _ in 0..3 {
        asids.allocate();
    }
    let allocation = asids.allocate();
    asids.release(allocation.asid, 1);
    assert_eq!(asids.taken_count(), 2, "an older generation released an ASID of the current one");
    asids.release(allocation.asid, 2);
    assert_eq!(asids.taken_count(), 1);
    asids.release(0, 2);
    assert_eq!(asids.taken_count(), 1, "the kernel's ASID was released");
}

#[test]
fn an_asid_is_reused_as_late_as_possible() {
    let mut asids = started(4);
    for expected in 1..=15 {
        let allocation = asids.allocate();
        assert_eq!(allocation.asid, expected);
        asids.release(allocation.asid, 1);
    }
    assert_eq!(asids.allocate().asid, 1);
}

#[test]
fn asid_bits_are_limited_to_those_of_the_architecture() {
    assert_eq!(started(0).bits, 2);
    assert_eq!(started(40).bits, MAX_ASID_BITS);
}
