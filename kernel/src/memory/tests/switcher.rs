//! The context switcher and its hardware operations.

use super::machine::{Machine, PAGE};
use crate::hardware::{Operation, take_log};
use crate::memory::growth::GrowthPolicy::Conservative;
use crate::memory::layout::{PAGE_SIZE, TASK_PAGE_BASE};

fn with_tasks(asid_bits: u32, tasks: u16) -> Machine {
    let mut machine = Machine::new(asid_bits);
    for number in 1..=tasks {
        machine.start(number, Conservative, 4 * PAGE_SIZE).expect("the pool is empty");
    }
    machine
}

fn ttbr0(machine: &Machine, number: u16) -> u64 {
    let space = &machine.manager.context_switcher.spaces[number as usize];
    space.table | (space.asid as u64) << 48
}

#[test]
fn a_switch_within_a_generation_writes_ttbr0_and_nothing_else() {
    let mut machine = with_tasks(8, 3);
    for number in 1..=3 {
        machine.switch_to(number);
    }
    let before = machine.manager.context_switcher.fast_switch_count;
    for number in [1, 2, 3, 0, 2, 1] {
        machine.manager.switch_to(number);
        assert_eq!(take_log(), [Operation::Ttbr0(ttbr0(&machine, number))]);
        assert_eq!(machine.manager.context_switcher.current, number);
    }
    let switcher = &machine.manager.context_switcher;
    assert_eq!((switcher.fast_switch_count, switcher.switch_count), (before + 6, 9));
    assert_eq!([0, 1, 2, 3].map(|number| switcher.spaces[number].switch_count), [1, 3, 3, 2]);
    assert_eq!(switcher.invalidations.everything, 1, "at boot");
}

#[test]
fn the_first_switch_to_a_space_takes_an_asid_and_is_not_fast() {
    let mut machine = with_tasks(8, 2);
    assert_eq!(machine.manager.context_switcher.spaces[2].generation, 0);
    machine.switch_to(2);
    let switcher = &machine.manager.context_switcher;
    assert_eq!((switcher.spaces[2].asid, switcher.fast_switch_count), (1, 0));
    assert_eq!((switcher.asid_of(1), switcher.asid_of(2)), (0, 1));
}

#[test]
fn a_rollover_leaves_the_old_space_before_it_invalidates_everything() {
    let mut machine = with_tasks(2, 4);
    for number in 1..=3 {
        machine.switch_to(number);
    }
    machine.manager.switch_to(4);
    let kernel = machine.manager.context_switcher.spaces[0].table;
    let expected = [Operation::Ttbr0(kernel), Operation::Everything, Operation::Ttbr0(ttbr0(&machine, 4))];
    assert_eq!(take_log(), expected);
    let switcher = &machine.manager.context_switcher;
    assert_eq!((switcher.asids.rollover_count, switcher.asids.generation), (1, 2));
    assert_eq!([1, 2, 3, 4].map(|number| switcher.asid_of(number)), [0, 0, 0, 1]);
}

#[test]
#[cfg_attr(miri, ignore)]
fn every_space_sees_its_own_memory_over_many_rollovers() {
    let mut machine = with_tasks(2, 7);
    for round in 0..200u16 {
        machine.switch_to(round % 8);
        if round % 8 != 0 {
            machine.read_task_page(round % 8);
        }
    }
    assert!(machine.manager.context_switcher.asids.rollover_count > 50);
}

#[test]
fn a_restart_gives_the_current_space_an_asid_of_the_new_generation() {
    let mut machine = with_tasks(8, 2);
    machine.switch_to(1);
    machine.switch_to(2);
    machine.read_task_page(2);
    machine.kernel(|manager| manager.context_switcher.restart_asids(2));
    let switcher = &machine.manager.context_switcher;
    assert_eq!((switcher.asids.bits, switcher.current, switcher.asid_of(2), switcher.asid_of(1)), (2, 2, 1, 0));
    assert_eq!((machine.ttbr0, machine.tlb.len()), (ttbr0(&machine, 2), 0));
    machine.read_task_page(2);
}

#[test]
fn only_a_space_with_an_asid_of_this_generation_is_invalidated() {
    let mut machine = with_tasks(2, 2);
    machine.switch_to(1);
    take_log();
    let switcher = &mut machine.manager.context_switcher;
    switcher.invalidate_address(1, TASK_PAGE_BASE);
    switcher.invalidate_space(1);
    switcher.invalidate_address(2, TASK_PAGE_BASE + PAGE);
    switcher.invalidate_space(2);
    assert_eq!(take_log(), [Operation::Address { asid: 1, address: TASK_PAGE_BASE }, Operation::Asid(1)]);
    assert_eq!((switcher.invalidations.by_address, switcher.invalidations.by_asid), (1, 1));
}

#[test]
#[cfg_attr(miri, ignore)]
fn an_ended_space_releases_its_asid_invalidated() {
    let mut machine = with_tasks(2, 3);
    for number in [1, 2, 3] {
        machine.switch_to(number);
        machine.read_task_page(number);
    }
    machine.end(3);
    assert_eq!((machine.manager.context_switcher.current, machine.ttbr0), (0, ttbr0(&machine, 0)));
    assert!(machine.tlb.keys().all(|entry| entry.0 != 3));
    machine.start(5, Conservative, PAGE_SIZE).unwrap();
    machine.read_task_page(5);
    let switcher = &machine.manager.context_switcher;
    assert_eq!((switcher.asid_of(5), switcher.asids.rollover_count), (3, 0));
}
