//! What the MMU knows, on the host: follows each descriptor that the kernel writes, and panics where the kernel breaks
//! a rule of the architecture that a CPU punishes only now and then.
//!
//! - Break-before-make (Arm Architecture Reference Manual DDI 0487, D8.16.1 or D8.17.1 by issue, RWHZWS): a valid
//!   descriptor is not replaced by one with another output address, memory type, cacheability or shareability, nor
//!   global instead of not global. Between break and make, the TLB is invalidated for it. The access flag and the
//!   permissions may change in place. The manual also allows another output address if both are read-only and the
//!   contents are the same, and asks for all this only in tables that several CPUs use. The kernel needs neither
//!   exception, so both are refused.
//! - A frame is not copied while a descriptor or the TLB still lets a task write to it, or the walker use it as a
//!   table.
//! - A frame is not zeroed or copied to, as all frames are that are given out, while a descriptor, the TLB or TTBR0
//!   still leads to it.
//! - A descriptor or TTBR0 points to a frame only after a barrier has completed the stores to it.
//! - Before a task runs again, the TLB is invalidated for each descriptor that was cleared or that allows less than
//!   before, and a barrier has completed the stores of new ones of pages (RGPPYH, IWZCBG).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const VALID: u64 = 1;
const READ_ONLY: u64 = 1 << 7;
const ACCESS_FLAG: u64 = 1 << 10;
const OUTPUT: u64 = 0x0000_ffff_ffff_f000;
/// What of a valid descriptor may change in place: AP[2:1], the access flag, DBM, PXN, UXN, and what is for software.
const CHANGEABLE: u64 = 0b11 << 6 | ACCESS_FLAG | 1 << 51 | 0b11 << 53 | 0b1111 << 55;
const OFFSET: u64 = 0xfff;

/// A translation that the TLB may still hold, though its descriptor has changed.
#[derive(Clone, Copy, Debug)]
struct Stale {
    asid: u16,
    place: Place,
    descriptor: u64,
}

/// What a descriptor translates: the level of its table, and the first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    level: u32,
    address: u64,
}

#[derive(Default)]
struct Model {
    /// The valid descriptors, by their physical address.
    descriptors: BTreeMap<u64, u64>,
    /// The physical addresses of the descriptors that point to a frame.
    pointing: HashMap<u64, BTreeSet<u64>>,
    ttbr0: u64,
    /// The root that the walker may have used with each ASID since that ASID was last invalidated.
    walked: BTreeMap<u16, u64>,
    stale: Vec<Stale>,
    /// Frames with new contents that no barrier has completed.
    incomplete: BTreeSet<u64>,
    /// The physical addresses of new descriptors that no barrier has completed.
    unpublished: BTreeSet<u64>,
}

thread_local! {
    static MODEL: RefCell<Model> = RefCell::default();
}

fn with<T>(body: impl FnOnce(&mut Model) -> T) -> T {
    MODEL.with_borrow_mut(body)
}

/// Forgets everything: a new kernel boots.
pub fn restart() {
    MODEL.take();
}

/// The kernel writes `descriptor` at physical address `entry`.
pub fn write(entry: u64, descriptor: u64) {
    with(|model| model.write(entry, descriptor));
}

/// The kernel fills a frame with zeros.
pub fn zero(frame: u64) {
    with(|model| {
        model.check_unused(frame);
        model.take_descriptors(frame);
        model.incomplete.insert(frame);
    });
}

/// The kernel copies a frame. The descriptors in it, if it is a table, count as moved.
pub fn copy(from: u64, to: u64) {
    with(|model| {
        model.check_unwritable(from);
        model.check_unused(to);
        model.take_descriptors(to);
        for (entry, descriptor) in model.take_descriptors(from) {
            model.insert(to + (entry - from), descriptor);
        }
        model.incomplete.insert(to);
    });
}

/// A barrier completes all stores.
pub fn publish() {
    with(Model::complete_stores);
}

/// The TLB is invalidated for one page of an ASID. As with the other invalidations, a barrier comes first.
pub fn invalidate_address(asid: u16, address: u64) {
    with(|model| {
        let place = Place { level: 3, address: address & !OFFSET };
        model.stale.retain(|stale| (stale.asid, stale.place) != (asid, place));
        model.complete_stores();
    });
}

/// The TLB is invalidated for an ASID.
pub fn invalidate_asid(asid: u16) {
    with(|model| {
        model.stale.retain(|stale| stale.asid != asid);
        model.walked.remove(&asid);
        model.walk();
        model.complete_stores();
    });
}

/// The whole TLB is invalidated.
pub fn invalidate_everything() {
    with(|model| {
        model.stale.clear();
        model.walked.clear();
        model.walk();
        model.complete_stores();
    });
}

/// The kernel writes TTBR0.
pub fn write_ttbr0(value: u64) {
    with(|model| {
        let root = value & OUTPUT;
        assert!(!model.incomplete.contains(&root), "TTBR0 leads to {root:#x} before its contents are complete");
        model.ttbr0 = value;
        model.walk();
    });
}

/// Checks that a task may run now.
pub fn check_settled() {
    with(|model| {
        let stale = &model.stale;
        assert!(stale.is_empty(), "a task runs, and the TLB may hold what is not valid any more: {stale:x?}");
        // A table may wait for the barrier that completes the descriptor of its first page.
        let is_page = |&entry: &u64| model.place_of(entry).is_some_and(|(_, place)| place.level == 3);
        let unpublished = model.unpublished.iter().copied().find(is_page);
        assert_eq!(unpublished, None, "a task runs, and the walker may not see a new descriptor");
    });
}

impl Model {
    fn write(&mut self, entry: u64, descriptor: u64) {
        let former = self.descriptors.get(&entry).copied();
        let is_valid = descriptor & VALID != 0;
        match former {
            Some(former) if former == descriptor => return,
            Some(former) => {
                let change = (former ^ descriptor) & !CHANGEABLE;
                assert!(
                    !is_valid || change == 0,
                    "the descriptor at {entry:#x} changes from {former:#x} to {descriptor:#x} without break-before-make"
                );
                self.remember_stale(entry, former);
            }
            None if is_valid => self.check_make(entry, descriptor),
            None => return,
        }
        self.remove(entry);
        if is_valid {
            self.insert(entry, descriptor);
            // The CPU walks the tables again for what was not valid, or had its access flag clear.
            if former.is_none_or(|former| former & ACCESS_FLAG == 0) {
                self.unpublished.insert(entry);
            }
        }
    }

    /// Checks what must be true before `entry`, which is not valid, gets a valid descriptor.
    fn check_make(&self, entry: u64, descriptor: u64) {
        let frame = descriptor & OUTPUT;
        assert!(!self.incomplete.contains(&frame), "{frame:#x} is mapped before its contents are complete");
        let Some((root, place)) = self.place_of(entry) else { return };
        let mut stale = self.stale.iter().filter(|stale| stale.place == place);
        let held = stale.find(|stale| self.walked.get(&stale.asid) == Some(&root));
        assert!(
            held.is_none(),
            "{descriptor:#x} is written, and the TLB was not invalidated after the break: {held:x?}"
        );
    }

    /// A descriptor changes that the TLB may hold. It never holds a page whose access flag is clear.
    fn remember_stale(&mut self, entry: u64, former: u64) {
        let Some((root, place)) = self.place_of(entry) else { return };
        if place.level == 3 && former & ACCESS_FLAG == 0 {
            return;
        }
        let asids = self.walked.iter().filter(|&(_, &walked)| walked == root);
        self.stale.extend(asids.map(|(&asid, _)| Stale { asid, place, descriptor: former }));
    }

    /// The root above the descriptor at `entry`, and what it translates. None while its table belongs to no tree of
    /// four levels.
    fn place_of(&self, entry: u64) -> Option<(u64, Place)> {
        let (mut entry, mut address, mut level) = (entry, 0, 0);
        let mut indexes = [0; 4];
        loop {
            *indexes.get_mut(level)? = (entry & OFFSET) / 8;
            match self.pointing.get(&(entry & !OFFSET)).and_then(|pointing| pointing.first()) {
                Some(&above) => (entry, level) = (above, level + 1),
                None => break,
            }
        }
        for (place, index) in indexes[..=level].iter().rev().enumerate() {
            address |= index << (39 - 9 * place);
        }
        Some((entry & !OFFSET, Place { level: level as u32, address }))
    }

    /// Checks that nothing leads to a frame.
    fn check_unused(&self, frame: u64) {
        if let Some(entry) = self.pointing.get(&frame).and_then(|pointing| pointing.first()) {
            panic!("{frame:#x} is given out, and the descriptor at {entry:#x} points to it");
        }
        let held = self.stale.iter().find(|stale| stale.descriptor & OUTPUT == frame);
        assert!(held.is_none(), "{frame:#x} is given out, and the TLB may hold it: {held:x?}");
        self.check_no_root(frame);
    }

    /// Checks that no task can write to a frame, and that the walker does not use it.
    fn check_unwritable(&self, frame: u64) {
        let writable = |descriptor: u64| descriptor & READ_ONLY == 0;
        for entry in self.pointing.get(&frame).into_iter().flatten() {
            assert!(!writable(self.descriptors[entry]), "{frame:#x} is copied, and is still mapped at {entry:#x}");
        }
        let held = self.stale.iter().find(|s| s.descriptor & OUTPUT == frame && writable(s.descriptor));
        assert!(held.is_none(), "{frame:#x} is copied, and the TLB may still hold it: {held:x?}");
        self.check_no_root(frame);
    }

    fn check_no_root(&self, frame: u64) {
        let asid = self.walked.iter().find(|&(_, &root)| root == frame);
        assert!(asid.is_none(), "the walker may use {frame:#x} as the root of an ASID: {asid:x?}");
    }

    /// From now on the walker may use the root in TTBR0.
    fn walk(&mut self) {
        if self.ttbr0 != 0 {
            self.walked.insert((self.ttbr0 >> 48) as u16, self.ttbr0 & OUTPUT);
        }
    }

    fn complete_stores(&mut self) {
        self.incomplete.clear();
        self.unpublished.clear();
    }

    fn insert(&mut self, entry: u64, descriptor: u64) {
        self.descriptors.insert(entry, descriptor);
        self.pointing.entry(descriptor & OUTPUT).or_default().insert(entry);
    }

    fn remove(&mut self, entry: u64) {
        if let Some(descriptor) = self.descriptors.remove(&entry)
            && let Some(pointing) = self.pointing.get_mut(&(descriptor & OUTPUT))
        {
            pointing.remove(&entry);
        }
    }

    /// Removes all descriptors in a frame, and returns them with their physical addresses.
    fn take_descriptors(&mut self, frame: u64) -> Vec<(u64, u64)> {
        let inside = self.descriptors.range(frame..=frame | OFFSET);
        let taken: Vec<(u64, u64)> = inside.map(|(&entry, &descriptor)| (entry, descriptor)).collect();
        taken.iter().for_each(|&(entry, _)| self.remove(entry));
        taken
    }
}
