use crate::board::ram::{MAX_RANGES, RamRanges};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn of(entries: &[(u64, u64)]) -> RamRanges {
    let mut ram = RamRanges::NONE;
    for &(start, size) in entries {
        ram.add(start, size);
    }
    ram
}

#[test]
fn ranges_that_touch_are_joined_in_any_order() {
    let parts = [(0, MIB), (MIB, MIB), (3 * MIB, MIB), (2 * MIB, MIB)];
    for shift in 0..4 {
        let mut order = parts;
        order.rotate_left(shift);
        assert_eq!(of(&order).as_slice(), [(0, 4 * MIB)]);
    }
}

#[test]
fn peripherals_and_what_is_beyond_16_gib_are_never_ram() {
    assert_eq!(of(&[(0, u64::MAX)]).as_slice(), [(0, 0xfc00_0000), (4 * GIB, 16 * GIB)]);
    assert_eq!(of(&[(16 * GIB, GIB), (u64::MAX, u64::MAX), (0xfe00_0000, MIB), (5, 0)]).as_slice(), []);
}

#[test]
fn only_whole_blocks_are_used() {
    let ram = of(&[(MIB, 4 * MIB), (9 * MIB, 2 * MIB), (16 * MIB, 4 * MIB)]).whole_blocks();
    assert_eq!(ram.as_slice(), [(2 * MIB, 4 * MIB), (16 * MIB, 20 * MIB)]);
    assert!(ram.contains(2 * MIB, 4 * MIB) && !ram.contains(2 * MIB, 5 * MIB) && !ram.contains(4 * MIB, 16 * MIB));
}

#[test]
fn ranges_that_do_not_fit_are_counted() {
    let entries: Vec<_> = (0..MAX_RANGES as u64 + 2).map(|number| (number * 8 * MIB, 2 * MIB)).collect();
    let ram = of(&entries).whole_blocks();
    assert_eq!(ram.as_slice().len(), MAX_RANGES);
    assert!(ram.to_string().ends_with("(2 MiB), and 2 more that stay unused"), "{ram}");
    assert_eq!(RamRanges::one((0, GIB)).to_string(), "0x0 to 0x40000000 (1024 MiB)");
}
