//! What the model of the MMU refuses, and what it allows.

use super::model::{
    check_settled, copy, invalidate_address, invalidate_asid, invalidate_everything, publish, restart, write,
    write_ttbr0, zero,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

const PAGE: u64 = 0x1000;
const ROOT: u64 = 0x10_0000;
/// The table of level 3, and its descriptor of [`ADDRESS`].
const TABLE: u64 = ROOT + 3 * PAGE;
const ENTRY: u64 = TABLE + 5 * 8;
const ADDRESS: u64 = 2 << 39 | 3 << 30 | 4 << 21 | 5 << 12;
const ASID: u16 = 7;
/// Two frames, and the bits of a page that EL0 may write: valid, EL0, inner shareable, access flag, not global.
const FRAME: u64 = 0x20_0000;
const OTHER: u64 = 0x20_1000;
const WRITABLE: u64 = 0b1111 << 8 | 1 << 6 | 0b11;
const READ_ONLY: u64 = WRITABLE | 1 << 7;

/// A space in TTBR0 with one page, [`FRAME`].
fn with_page(bits: u64) {
    restart();
    (0..4).for_each(|level| zero(ROOT + level * PAGE));
    publish();
    for (level, index) in [2, 3, 4].into_iter().enumerate() {
        let table = ROOT + level as u64 * PAGE;
        write(table + index * 8, (table + PAGE) | 0b11);
    }
    write(ENTRY, FRAME | bits);
    publish();
    write_ttbr0(ROOT | (ASID as u64) << 48);
    check_settled();
}

/// Why the model refuses what `body` does to the space; None if it does not.
fn refusal(bits: u64, body: impl Fn()) -> Option<String> {
    with_page(bits);
    let panic = catch_unwind(AssertUnwindSafe(body)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.unwrap_or_else(|| panic.downcast_ref::<&str>().map_or_else(String::new, |text| text.to_string())))
}

#[track_caller]
fn assert_refused(bits: u64, why: &str, body: impl Fn()) {
    let refusal = refusal(bits, body).unwrap_or_else(|| panic!("not refused: {why}"));
    assert!(refusal.contains(why), "{refusal}");
}

#[track_caller]
fn assert_allowed(bits: u64, body: impl Fn()) {
    assert_eq!(refusal(bits, body), None);
}

#[test]
fn a_valid_descriptor_keeps_address_and_memory_attributes() {
    // AttrIndx, shareability, not global.
    for changed in [OTHER ^ FRAME, 1 << 2, 1 << 8, 1 << 11] {
        assert_refused(READ_ONLY, "without break-before-make", || write(ENTRY, (FRAME | READ_ONLY) ^ changed));
    }
    // A table, in place of another.
    assert_refused(WRITABLE, "without break-before-make", || write(ROOT + 2 * PAGE + 4 * 8, OTHER | 0b11));
}

#[test]
fn access_flag_and_permissions_change_in_place_and_the_tlb_is_invalidated_then() {
    // The access flag, AP[2], UXN.
    for changed in [1 << 10, 1 << 7, 1 << 54] {
        let descriptor = (FRAME | WRITABLE) ^ changed;
        assert_allowed(WRITABLE, || {
            write(ENTRY, descriptor);
            invalidate_address(ASID, ADDRESS + 8);
            check_settled();
        });
        assert_refused(WRITABLE, "the TLB may hold", || {
            write(ENTRY, descriptor);
            publish();
            check_settled();
        });
    }
}

#[test]
fn the_tlb_never_held_a_page_whose_access_flag_was_clear() {
    assert_allowed(WRITABLE & !(1 << 10), || {
        write(ENTRY, FRAME | WRITABLE);
        publish();
        check_settled();
    });
    assert_allowed(WRITABLE & !(1 << 10), || {
        write(ENTRY, 0);
        write(ENTRY, OTHER | WRITABLE);
        publish();
        check_settled();
    });
}

#[test]
fn between_break_and_make_the_tlb_is_invalidated() {
    let replace = |between: &dyn Fn()| {
        write(ENTRY, 0);
        publish();
        between();
        write(ENTRY, OTHER | WRITABLE);
        publish();
        check_settled();
    };
    assert_allowed(WRITABLE, || replace(&|| invalidate_address(ASID, ADDRESS)));
    assert_allowed(WRITABLE, || replace(&|| invalidate_asid(ASID)));
    assert_allowed(WRITABLE, || replace(&invalidate_everything));
    assert_refused(WRITABLE, "not invalidated after the break", || replace(&|| ()));
    assert_refused(WRITABLE, "not invalidated after the break", || replace(&|| invalidate_asid(ASID + 1)));
    assert_refused(WRITABLE, "not invalidated after the break", || {
        replace(&|| invalidate_address(ASID, ADDRESS + PAGE));
    });
}

#[test]
fn a_table_is_invalidated_by_asid() {
    let unlink = |invalidate: &dyn Fn()| {
        write(ROOT + 2 * PAGE + 4 * 8, 0);
        invalidate();
        check_settled();
    };
    assert_allowed(WRITABLE, || unlink(&|| invalidate_asid(ASID)));
    assert_refused(WRITABLE, "the TLB may hold", || unlink(&|| invalidate_address(ASID, ADDRESS)));
}

#[test]
fn a_frame_is_copied_when_nobody_can_write_to_it() {
    let unmap = || write(ENTRY, 0);
    assert_refused(WRITABLE, "still mapped", || copy(FRAME, OTHER));
    assert_refused(WRITABLE, "the TLB may still hold", || {
        unmap();
        copy(FRAME, OTHER);
    });
    assert_allowed(WRITABLE, || {
        unmap();
        invalidate_address(ASID, ADDRESS);
        copy(FRAME, OTHER);
    });
    assert_allowed(READ_ONLY, || copy(FRAME, OTHER));
    assert_refused(WRITABLE, "still mapped", || copy(TABLE, OTHER));
    assert_refused(WRITABLE, "the root of an ASID", || copy(ROOT, OTHER));
}

#[test]
fn a_frame_is_given_out_when_nothing_leads_to_it() {
    assert_refused(READ_ONLY, "points to it", || zero(FRAME));
    assert_refused(READ_ONLY, "points to it", || copy(OTHER, FRAME));
    assert_refused(WRITABLE, "points to it", || zero(TABLE));
    assert_refused(WRITABLE, "the root of an ASID", || zero(ROOT));
    let unmap = || write(ENTRY, 0);
    assert_refused(READ_ONLY, "the TLB may hold it", || {
        unmap();
        zero(FRAME);
    });
    assert_allowed(READ_ONLY, || {
        unmap();
        invalidate_address(ASID, ADDRESS);
        zero(FRAME);
    });
}

#[test]
fn contents_are_complete_before_something_points_to_them() {
    let next = ENTRY + 8;
    assert_refused(WRITABLE, "before its contents are complete", || {
        zero(OTHER);
        write(next, OTHER | WRITABLE);
    });
    assert_refused(WRITABLE, "before its contents are complete", || {
        zero(OTHER);
        write_ttbr0(OTHER);
    });
    assert_allowed(WRITABLE, || {
        zero(OTHER);
        publish();
        write(next, OTHER | WRITABLE);
    });
}

#[test]
fn a_new_page_is_published_before_a_task_runs() {
    let map = || write(ENTRY + 8, OTHER | WRITABLE);
    assert_refused(WRITABLE, "the walker may not see", || {
        map();
        check_settled();
    });
    assert_allowed(WRITABLE, || {
        map();
        publish();
        check_settled();
    });
}

#[test]
fn a_moved_table_takes_its_descriptors_along() {
    let above = ROOT + 2 * PAGE + 4 * 8;
    let new_entry = OTHER + (ENTRY - TABLE);
    let move_table = || {
        write(above, 0);
        invalidate_asid(ASID);
        copy(TABLE, OTHER);
        publish();
        write(above, OTHER | 0b11);
        publish();
        check_settled();
    };
    assert_refused(WRITABLE, "without break-before-make", || {
        move_table();
        write(new_entry, (FRAME + PAGE) | WRITABLE);
    });
    assert_allowed(WRITABLE, || {
        move_table();
        write(new_entry, 0);
        invalidate_address(ASID, ADDRESS);
        zero(FRAME);
        zero(TABLE);
        check_settled();
    });
}
