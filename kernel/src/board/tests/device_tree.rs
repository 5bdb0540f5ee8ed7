use super::tree_builder::TreeBuilder;
use crate::board::Reason;
use crate::board::device_tree::{DeviceTree, HEADER_SIZE, MAX_SIZE, total_size};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn ram(blob: &[u8]) -> Result<Vec<(u64, u64)>, Reason> {
    DeviceTree::new(blob)?.ram().map(|ram| ram.as_slice().to_vec())
}

/// As a board with 4 GiB has it.
fn board() -> TreeBuilder {
    TreeBuilder::new(2, 1)
        .begin("soc")
        .property("#address-cells", &1_u32.to_be_bytes())
        .begin("memory@1")
        .property("device_type", b"memory\0")
        .reg(&[0x1000_0000, 0x1000_0000])
        .end()
        .end()
        .memory("memory@0", &[0, 0, 0x3b40_0000, 0, 0x4000_0000, 0xbc00_0000])
}

#[test]
fn ram_of_boards() {
    let one = TreeBuilder::new(2, 1).memory("memory@0", &[0, 0, 0x3b40_0000]).blob();
    assert_eq!(ram(&one), Ok(vec![(0, 948 * MIB)]));
    assert_eq!(ram(&board().blob()), Ok(vec![(0, 948 * MIB), (GIB, 0xfc00_0000)]));
    let eight = TreeBuilder::new(2, 2).memory(
        "memory@0",
        &[0, 0, 0, 0x3b40_0000, 0, 0x4000_0000, 0, 0xbc00_0000, 1, 0, 0, 0x8000_0000, 1, 0x8000_0000, 0, 0x8000_0000],
    );
    assert_eq!(ram(&eight.blob()), Ok(vec![(0, 948 * MIB), (GIB, 0xfc00_0000), (4 * GIB, 8 * GIB)]));
}

#[test]
fn several_memory_nodes_that_overlap_are_one_range() {
    // As QEMU makes them for its 2 GiB.
    let blob = TreeBuilder::new(2, 2)
        .memory("memory@40000000", &[0, 0x4000_0000, 0, 0x4000_0000])
        .memory("memory@0", &[0, 0, 0, 0x3b40_0000])
        .memory("memory@1", &[0, 0x3000_0000, 0, 0x1800_0000])
        .blob();
    assert_eq!(ram(&blob), Ok(vec![(0, 2 * GIB)]));
}

#[test]
fn disabled_memory_and_nodes_of_other_types_do_not_count() {
    let blob = board()
        .begin("memory@2")
        .property("device_type", b"memory\0")
        .reg(&[1, 0, 0x4000_0000])
        .property("status", b"disabled\0")
        .end()
        .begin("memory@3")
        .reg(&[1, 0, 0x4000_0000])
        .end()
        .begin("cpu")
        .property("device_type", b"cpu\0")
        .reg(&[1, 0, 0x4000_0000])
        .end()
        .blob();
    assert_eq!(ram(&blob), ram(&board().blob()));
}

#[test]
fn nops_and_bytes_after_the_tree_do_not_matter() {
    let mut blob = TreeBuilder::new(2, 1).token(4).memory("memory", &[0, 0, 0x4000_0000]).token(4).blob();
    blob.extend([0xff; 100]);
    assert_eq!(ram(&blob), Ok(vec![(0, GIB)]));
}

#[test]
fn cells_default_to_two_and_one() {
    let blob = TreeBuilder::default().begin("").memory("memory", &[1, 0, 0x4000_0000]).blob();
    assert_eq!(ram(&blob), Ok(vec![(4 * GIB, 5 * GIB)]));
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    let tree = || TreeBuilder::new(2, 1);
    let memory = |cells: &[u32]| tree().memory("memory@0", cells).blob();
    for (blob, reason) in [
        (vec![], "is truncated"),
        (vec![0; 100], "does not begin as one"),
        (tree().blob(), "has no RAM"),
        (memory(&[]), "has no RAM"),
        (memory(&[0, 0, 4096]), "has no RAM"),
        (memory(&[0, 0xfe00_0000, 0x0200_0000]), "has no RAM"),
        (memory(&[0xffff_ffff, 0xffff_f000, 0xffff_ffff]), "has no RAM"),
        (memory(&[0, 0]), "has a memory node with a part of an entry"),
        (tree().token(7).blob(), "has an unknown token"),
        (tree().end().end().blob(), "ends a node that did not begin"),
        (TreeBuilder::new(3, 1).blob(), "has addresses or sizes of neither 32 nor 64 bits"),
        (TreeBuilder::new(2, 0).blob(), "has addresses or sizes of neither 32 nor 64 bits"),
    ] {
        assert_eq!(ram(&blob), Err(reason));
    }
}

#[test]
fn headers_that_cannot_be_right() {
    let with = |index: usize, value: u32| {
        let mut blob = board().blob();
        blob[index * 4..index * 4 + 4].copy_from_slice(&value.to_be_bytes());
        ram(&blob)
    };
    for size in [0, HEADER_SIZE as u32 - 1, MAX_SIZE as u32 + 1, u32::MAX] {
        assert_eq!(with(1, size), Err("has a size that cannot be right"));
    }
    assert_eq!(with(1, MAX_SIZE as u32), Err("is truncated"));
    assert_eq!(with(2, 58), Err("has a structure that is not aligned"));
    assert_eq!(with(2, 0xffff_fffc), Err("is truncated"));
    assert_eq!(with(3, u32::MAX), Err("is truncated"));
    assert_eq!(with(6, 17), Err("has a format that is too new"));
    assert_eq!(total_size(&board().blob()[..HEADER_SIZE]), Ok(board().blob().len()));
}

#[test]
fn a_tree_cut_anywhere_is_refused() {
    let blob = board().blob();
    for length in 0..blob.len() {
        assert!(ram(&blob[..length]).is_err(), "cut at {length}");
    }
}

/// Names as long as the tree, shared by as many properties as fit, would take minutes if they were looked through.
#[test]
fn the_worst_tree_is_read_in_time() {
    let mut tree = TreeBuilder::new(2, 1);
    for _ in 0..60_000 {
        tree = tree.token(3).token(0).token(0);
    }
    let mut blob = tree.blob();
    blob.resize(MAX_SIZE, b'x');
    blob[4..8].copy_from_slice(&(MAX_SIZE as u32).to_be_bytes());
    let strings = u32::try_from(blob.len() - MAX_SIZE / 2).unwrap();
    blob[12..16].copy_from_slice(&strings.to_be_bytes());
    let before = std::time::Instant::now();
    assert_eq!(ram(&blob), Err("has no RAM"));
    assert!(before.elapsed().as_secs() < 5);
}

proptest! {
    #[test]
    fn a_corrupt_tree_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut blob = board().blob();
        for (index, value) in changes {
            let index = index.index(blob.len());
            blob[index] = value;
        }
        if let Ok(found) = ram(&blob) {
            for (start, end) in found {
                prop_assert!(start < end && end <= 16 * GIB);
            }
        }
    }

    #[test]
    fn any_structure_is_read_to_its_end(words in prop::collection::vec(prop_oneof![0_u32..10, any::<u32>()], 0..200)) {
        let mut tree = TreeBuilder::new(2, 1);
        for word in words {
            tree = tree.token(word);
        }
        let _ = ram(&tree.blob());
    }
}
