//! What is known of the guest while it runs, and the records that follow from it.

use core::sync::atomic::Ordering;

use crate::instructions::{Control, control};
use crate::memory::{Controls, Ram, Root};
use crate::options::Options;
use crate::pages::{Filter, Kept, Pages};
use crate::ring::{FRAMES, HAS_FRAMES, MOST_CORES, Position, Record, Ring, STORE};

/// Return addresses of a record of the kind `FRAMES`.
const MOST_FRAMES: usize = 6;
/// Instructions between two stores to memory that is no table, for both to have their return addresses.
const FRAMES_INTERVAL: u64 = 256;

/// Where and when something happens: on which core, after how many of its instructions, at which of them.
#[derive(Clone, Copy)]
pub struct Moment {
    pub core: usize,
    pub count: u64,
    pub pc: u64,
}

/// Where a store was: its addresses and bytes, within an aligned word.
#[derive(Clone, Copy)]
pub struct Place {
    pub address: u64,
    pub physical: u64,
    pub size: u64,
}

/// What the callbacks change, one at a time.
pub struct State {
    pub ring: Ring,
    memory: Option<(Ram, Pages)>,
    cores: [Core; MOST_CORES],
    /// The tables in the TTBRs of all cores.
    roots: [u64; 2 * MOST_CORES],
}

#[derive(Clone, Copy, Default)]
struct Core {
    controls: Controls,
    vectors: u64,
    /// The frame pointer and the link register when the return addresses were last read, and those.
    pointers: (u64, u64),
    frames: [u64; MOST_FRAMES],
    /// How many instructions it had executed then.
    frames_count: u64,
}

/// What was known at a checkpoint.
#[derive(Default)]
pub struct Saved {
    pub position: Position,
    pages: Vec<Kept>,
    cores: [Core; MOST_CORES],
    roots: [u64; 2 * MOST_CORES],
}

impl State {
    pub fn new(ring: Ring) -> State {
        State { ring, memory: None, cores: Default::default(), roots: Default::default() }
    }

    pub fn save(&self) -> Saved {
        let pages = self.memory.as_ref().map_or_else(Vec::new, |(_, pages)| pages.save());
        Saved { position: self.ring.position(), pages, cores: self.cores, roots: self.roots }
    }

    /// Makes all as it was; the guest's memory is what it was already. `marks` are the later checkpoints.
    pub fn restore(&mut self, saved: &Saved, marks: Vec<Position>, filter: &Filter) {
        if let Some((_, pages)) = &mut self.memory {
            pages.restore(&saved.pages, filter);
        }
        (self.cores, self.roots) = (saved.cores, saved.roots);
        self.ring.go_back(&saved.position, marks);
    }

    /// The vectors of each core.
    pub fn vectors(&self) -> [u64; MOST_CORES] {
        self.cores.map(|core| core.vectors)
    }

    pub fn ram(&self) -> Option<Ram> {
        self.memory.as_ref().map(|&(ram, _)| ram)
    }

    /// Whether the guest's memory is known.
    pub fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    pub fn set_memory(&mut self, ram: Ram, options: &Options, filter: &Filter) {
        let mut pages = Pages::new(ram);
        pages.name(&options.ranges, filter);
        self.memory = Some((ram, pages));
    }

    /// Records the pages of these ranges, and no other but tables.
    pub fn name(&mut self, ranges: &[(u64, u64)], filter: &Filter) {
        if let Some((_, pages)) = &mut self.memory {
            pages.name(ranges, filter);
        }
    }

    /// The aligned word at a physical address.
    pub fn word(&self, address: u64) -> Option<u64> {
        self.memory.as_ref()?.0.word(address)
    }

    /// The physical address of a virtual one on a core.
    pub fn translate(&self, core: usize, address: u64) -> Option<u64> {
        self.cores[core].controls.translate(&self.memory.as_ref()?.0, address)
    }

    pub fn push(&mut self, moment: Moment, record: Record) {
        let ttbr0 = self.cores[moment.core].controls.ttbr0;
        self.ring.push(Record { core: moment.core as u8, count: moment.count, pc: moment.pc, ttbr0, ..record });
    }

    /// Records the change of an aligned word, or of a part of one. `new` is the whole word's value; `pointers` reads the
    /// frame pointer and the link register, which takes longer than all else here.
    pub fn change(
        &mut self,
        moment: Moment,
        place: Place,
        new: u64,
        options: &Options,
        filter: &Filter,
        pointers: impl FnOnce() -> (u64, u64),
    ) {
        let Some((_, pages)) = &mut self.memory else { return };
        let change = pages.update(place.physical & !7, new, &self.roots, filter);
        let (old, table) = change.map_or((0, None), |change| (change.old, change.table));
        if old == new && !options.all {
            let unchanged = &self.ring.header().unchanged;
            unchanged.store(unchanged.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return;
        }
        if options.roots.iter().any(|roots| roots.has(place.physical)) {
            self.follow_root(moment.core, old, new, filter);
        }
        let core = &mut self.cores[moment.core];
        let has_frames = table.is_some() || moment.count - core.frames_count >= FRAMES_INTERVAL;
        if has_frames {
            core.frames_count = moment.count;
            self.push_frames(moment, pointers());
        }
        let record = Record {
            virtual_address: place.address,
            physical_address: place.physical,
            old,
            new,
            kind: STORE,
            size: place.size as u8 | if has_frames { HAS_FRAMES } else { 0 },
            ..Record::default()
        };
        let table = table.map(|table| (table.level + 1, table.input, table.root));
        let (level, input, root) = table.unwrap_or_default();
        self.push(moment, Record { level, input, root, ..record });
    }

    /// Takes over a write to a register that controls translation; returns its value before, 0 if that is not known.
    pub fn control(&mut self, core: usize, code: u32, value: u64, filter: &Filter) -> u64 {
        let one = &mut self.cores[core];
        let place = match control(code) {
            Control::Ttbr0 => &mut one.controls.ttbr0,
            Control::Ttbr1 => &mut one.controls.ttbr1,
            Control::Tcr => &mut one.controls.tcr,
            Control::Vbar => &mut one.vectors,
            Control::Other => return 0,
        };
        let old = core::mem::replace(place, value);
        let roots = [false, true].map(|is_upper| one.controls.root(is_upper));
        for (place, root) in self.roots[2 * core..].iter_mut().zip(roots) {
            *place = root.table;
        }
        if let Some((_, pages)) = &mut self.memory {
            for root in roots.iter().filter(|root| root.table != 0) {
                pages.add_root(root, filter);
            }
        }
        old
    }

    /// Begins to follow a root that was written where the kernel keeps those of its address spaces, and ends with the
    /// one that it replaces.
    fn follow_root(&mut self, core: usize, old: u64, new: u64, filter: &Filter) {
        let root = self.cores[core].controls.root(false);
        let Some((_, pages)) = &mut self.memory else { return };
        if old != 0 {
            pages.remove_root(old, filter);
        }
        if new != 0 {
            pages.add_root(&Root { table: new, ..root }, filter);
        }
    }

    /// Adds the return addresses of the frame records, if they are not those of the record before.
    fn push_frames(&mut self, moment: Moment, pointers: (u64, u64)) {
        let Some((ram, _)) = &self.memory else { return };
        let core = &mut self.cores[moment.core];
        if core::mem::replace(&mut core.pointers, pointers) == pointers {
            return;
        }
        let found = return_addresses(ram, &core.controls, pointers);
        if core::mem::replace(&mut core.frames, found) == found {
            return;
        }
        let [virtual_address, physical_address, old, new, input, root] = found;
        self.push(
            moment,
            Record { kind: FRAMES, virtual_address, physical_address, old, new, input, root, ..Record::default() },
        );
    }
}

/// The link register, then the return addresses of the frame records (AAPCS64, 6.4.6) from the frame pointer on.
fn return_addresses(ram: &Ram, controls: &Controls, pointers: (u64, u64)) -> [u64; MOST_FRAMES] {
    let (mut frame, link) = pointers;
    let mut found = [0; MOST_FRAMES];
    found[0] = link;
    for place in &mut found[1..] {
        let Some(address) = controls.translate(ram, frame) else { break };
        let (Some(next), Some(returns)) = (ram.word(address), ram.word(address + 8)) else { break };
        *place = returns;
        if next <= frame {
            break;
        }
        frame = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn return_addresses_follow_the_frame_records_upwards() {
        let memory: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
        let memory: &'static [AtomicU64] = Box::leak(memory.into_boxed_slice());
        let ram = Ram::of(memory);
        let set = |address: usize, value: u64| memory[address / 8].store(value, Ordering::Relaxed);
        let controls = Controls::default();
        for (address, next, returns) in [(0x100, 0x140, 0x81000), (0x140, 0x180, 0x82000), (0x180, 0, 0x83000)] {
            set(address, next);
            set(address + 8, returns);
        }
        assert_eq!(return_addresses(&ram, &controls, (0x100, 9)), [9, 0x81000, 0x82000, 0x83000, 0, 0]);
        // A record that leads downwards, or to itself, is the last; one beyond memory there is not.
        set(0x140, 0x140);
        assert_eq!(return_addresses(&ram, &controls, (0x100, 9)), [9, 0x81000, 0x82000, 0, 0, 0]);
        assert_eq!(return_addresses(&ram, &controls, (0x1000, 9)), [9, 0, 0, 0, 0, 0]);
        assert_eq!(return_addresses(&ram, &controls, (0x101, 9)), [9, 0, 0, 0, 0, 0]);
    }
}
