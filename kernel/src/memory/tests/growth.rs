//! Growth policies.

use super::support::cases;
use crate::memory::growth::GrowthPolicy::{Aggressive, Conservative, Predictive};
use crate::memory::growth::{AGGRESSIVE_PAGES, History, PREDICTIVE_LIMIT, pages_to_add};
use proptest::prelude::*;

fn first(mapped: u32) -> History {
    History { mapped, high_water: mapped, last_growth: 0, is_descending: false }
}

fn history() -> impl Strategy<Value = History> {
    (0..512u32, 0..512u32, 0..=PREDICTIVE_LIMIT, any::<bool>()).prop_map(|(mapped, deeper, last_growth, descending)| {
        History { mapped, high_water: mapped + deeper, last_growth, is_descending: descending && last_growth > 0 }
    })
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn what_is_needed_is_added_and_never_more_than_there_is_room_for(
        policy in prop_oneof![Just(Conservative), Just(Aggressive), Just(Predictive)],
        needed in 1..512u32, more in 0..512u32, history in history(),
    ) {
        let room = needed + more;
        let pages = pages_to_add(policy, needed, room, history);
        prop_assert!((needed..=room).contains(&pages), "{pages} pages for {needed} to {room}");
        let most = match policy {
            Conservative => 1,
            Aggressive => AGGRESSIVE_PAGES,
            Predictive => PREDICTIVE_LIMIT,
        };
        prop_assert!(pages <= most.max(needed));
    }

    #[test]
    fn only_the_predictive_policy_looks_at_the_history(needed in 1..8u32, room in 8..64u32, history in history()) {
        prop_assert_eq!(pages_to_add(Conservative, needed, room, history), needed);
        prop_assert_eq!(pages_to_add(Aggressive, needed, room, history), needed.max(AGGRESSIVE_PAGES));
    }

    #[test]
    fn a_stack_that_was_deeper_goes_halfway_back(mapped in 1..512u32, deeper in 2..512u32, last_growth in 0..17u32,
                                                 is_descending in any::<bool>()) {
        let history = History { mapped, high_water: mapped + deeper, last_growth, is_descending };
        let halfway = (deeper / 2 + deeper % 2).min(PREDICTIVE_LIMIT);
        prop_assert_eq!(pages_to_add(Predictive, 1, 1024, history), halfway);
    }
}

#[test]
fn each_policy_has_its_step() {
    assert_eq!(pages_to_add(Conservative, 1, 100, first(3)), 1);
    assert_eq!(pages_to_add(Aggressive, 1, 100, first(3)), AGGRESSIVE_PAGES);
    assert_eq!(pages_to_add(Predictive, 1, 100, first(3)), 1);
    // Aggressive adds more than one page, and Predictive can add more than Aggressive.
    const { assert!(AGGRESSIVE_PAGES > 1 && PREDICTIVE_LIMIT > AGGRESSIVE_PAGES) };
}

#[test]
fn needed_pages_are_a_minimum_and_the_room_is_a_maximum() {
    for policy in [Conservative, Aggressive, Predictive] {
        assert_eq!(pages_to_add(policy, 30, 100, first(3)), 30);
        assert_eq!(pages_to_add(policy, 2, 2, first(3)), 2);
    }
    assert_eq!(pages_to_add(Aggressive, 1, 3, first(3)), 3);
}

/// The steps of a stack whose recursion touches page after page.
fn descend(is_descending: bool, growths: usize) -> Vec<u32> {
    let mut history = first(1);
    let mut steps = Vec::new();
    for _ in 0..growths {
        let added = pages_to_add(Predictive, 1, 1000, history);
        steps.push(added);
        let mapped = history.mapped + added;
        history = History { mapped, high_water: mapped, last_growth: added, is_descending };
    }
    steps
}

#[test]
fn a_descent_doubles_its_step_up_to_the_limit() {
    assert_eq!(descend(true, 7), [1, 2, 4, 8, 16, 16, 16]);
}

#[test]
fn after_a_pause_the_step_is_one_page_again() {
    assert_eq!(descend(false, 4), [1, 1, 1, 1]);
}

#[test]
fn one_page_below_the_high_water_mark_predicts_nothing() {
    let history = History { mapped: 5, high_water: 6, last_growth: 0, is_descending: false };
    assert_eq!(pages_to_add(Predictive, 1, 100, history), 1);
    // The descent still lasts.
    let history = History { last_growth: 2, is_descending: true, ..history };
    assert_eq!(pages_to_add(Predictive, 1, 100, history), 4);
}
