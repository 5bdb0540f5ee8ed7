//! Takes the machine back: checkpoints while it runs, and runs again from one of them to an exact instruction.
//!
//! It needs `-icount`: then a run from a snapshot is the same each time, while one core works. QEMU's snapshots hold the
//! devices and registers; the memory, which is a shared file, is copied here (`x-ignore-shared`).

mod replay;
mod snapshots;

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoint, Store};
use crate::console::Console;
use crate::gate;
use crate::options::Travel;
use crate::protocol::{Event, Protocol};
use crate::recorder::Recorder;
use crate::ring::Wanted;
use core::sync::atomic::Ordering;

/// QEMU's blocks have fewer instructions.
const MOST_IN_BLOCK: u64 = 512;
/// Where the first checkpoint is prepared. Before, the other cores wait by WFE, which QEMU does not wait at: how often each
/// looks whether it is to start depends on the host.
const FIRST: u64 = 1_000_000;
/// What all cores execute, at most, until the others wait.
const OTHERS_BEGIN: u64 = 100_000;
const TURN: Duration = Duration::from_millis(1);
const LOOKS_OF_WAIT: u32 = 20;
const MOST_LOOKS: u32 = 10_000;
/// Of the PL011 (DDI 0183, 3.3.3): the flag register, and its flag for a receiver that is full.
const FLAGS: u64 = 0x18;
const RECEIVER_FULL: u64 = 1 << 6;

/// What was typed at a moment.
struct Input {
    position: u64,
    /// Whether the guest was held before a block; else it waited for an interrupt.
    is_held: bool,
    bytes: Vec<u8>,
}

pub struct Traveller {
    recorder: &'static Recorder,
    protocol: Protocol,
    console: Option<Console>,
    uart: u64,
    ram: File,
    store: Store,
    checkpoints: Vec<Checkpoint>,
    made: u64,
    inputs: Vec<Input>,
    /// How many of the inputs lie before the machine's moment.
    given: usize,
    waiting: VecDeque<u8>,
    /// Whether a debugger has stopped it since the last checkpoint.
    is_disturbed: bool,
    /// Whether it is to be held soon after it runs again, for a checkpoint.
    is_awaited: bool,
    /// Whether the first checkpoint was taken, or tried.
    has_begun: bool,
    /// How often ranges were named.
    named: u64,
    /// Where the machine was before it went into the past.
    end: Option<u64>,
    began: Instant,
    last: Instant,
    /// Not before then, as interrupts were masked just now.
    retry: Instant,
    cost: Duration,
    /// Why a checkpoint cannot be taken by itself any longer.
    problem: String,
}

impl Traveller {
    /// Does all this until QEMU ends.
    pub fn run(recorder: &'static Recorder, options: &Travel) -> Result<(), String> {
        let named = |path: &Path, error| format!("{}: {error}", path.display());
        let store = Store::create(&options.store, options.pages).map_err(|error| named(&options.store, error))?;
        let ram = File::open(&options.ram).map_err(|error| named(&options.ram, error))?;
        let console = options.console.map(|(line, listener)| Console::open(line, listener));
        let console = console.transpose().map_err(|error| error.to_string())?;
        let mut protocol = Protocol::connect(&options.protocol)?;
        protocol.monitor("migrate_set_capability x-ignore-shared on")?;
        let now = Instant::now();
        let mut this = Traveller {
            recorder,
            protocol,
            console,
            uart: options.uart,
            ram,
            store,
            checkpoints: Vec::new(),
            made: 0,
            inputs: Vec::new(),
            given: 0,
            waiting: VecDeque::new(),
            is_disturbed: false,
            is_awaited: false,
            has_begun: false,
            named: 0,
            end: None,
            began: now,
            last: now,
            retry: now,
            cost: Duration::ZERO,
            problem: String::new(),
        };
        gate::set_goal(FIRST);
        this.recorder.header().can_go_back.store(1, Ordering::Relaxed);
        if options.starts {
            this.resume()?;
        }
        while !this.protocol.is_closed {
            if let Err(problem) = this.turn() {
                // What was to be done is not done; whoever waits for something else still gets it.
                gate::open();
                (this.is_disturbed, this.is_awaited) = (true, false);
                eprintln!("recorder: {problem}");
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), String> {
        while let Some(event) = self.protocol.event(TURN)? {
            // A debugger lets it run again, after breakpoints or steps, which QEMU executes without timers.
            self.is_disturbed |= event == Event::Resume;
            self.is_awaited &= event != Event::Stop;
        }
        self.await_resume();
        // A replay names no ranges: let it begin after that.
        let named = self.recorder.named();
        self.is_disturbed |= named != self.named;
        self.named = named;
        if !self.has_begun && gate::arrived().is_some() {
            self.has_begun = true;
            if let Err(problem) = self.begin() {
                self.recorder.header().can_go_back.store(0, Ordering::Relaxed);
                return Err(problem);
            }
        }
        if let Some((request, wanted)) = self.recorder.requested() {
            let outcome = match wanted {
                Wanted::Ranges(_) => return Ok(()),
                Wanted::Checkpoint(name, is_unmasked) => self.checkpoint(&name, Some(is_unmasked)),
                Wanted::Travel(position) => self.travel(position),
            };
            self.recorder.publish_counts();
            self.recorder.header().answer(request, outcome);
        } else if self.end.is_some() && gate::arrived().is_some() {
            self.begin_future();
        }
        let typed = self.console.iter().flat_map(|console| console.typed.try_iter());
        self.waiting.extend(typed.flatten());
        if !self.waiting.is_empty() && self.has_begun {
            self.give_waiting()?;
        }
        if self.is_due() {
            self.problem = self.checkpoint("", None).err().unwrap_or_default();
        }
        if self.is_awaited && self.protocol.is_running && gate::arrived().is_some() {
            self.go_on();
        }
        Ok(())
    }

    /// Takes the first checkpoint. A stop before it has the other cores executed next, as after a snapshot is loaded: else
    /// QEMU would let them begin much later than in a replay.
    fn begin(&mut self) -> Result<(), String> {
        self.halt()?;
        self.run_to(FIRST + OTHERS_BEGIN)?;
        let kept = self.snapshot_running(1)?;
        self.add(kept.ok_or("QEMU was late")?, "start", true);
        Ok(())
    }

    /// Holds the running guest before its next block. Whether it is held: else it is stopped, or waits for an interrupt,
    /// and no timer is going to give it one, as QEMU's main loop would have moved the clock to it.
    fn hold(&mut self) -> Result<bool, String> {
        gate::close();
        let mut waits = 0;
        for _ in 0..MOST_LOOKS {
            if gate::wait(TURN).is_some() {
                return Ok(true);
            }
            waits = if gate::is_waiting() { waits + 1 } else { 0 };
            if waits == LOOKS_OF_WAIT {
                return Ok(false);
            }
            self.protocol.execute(r#"{"execute": "query-status"}"#)?;
            if !self.protocol.is_running {
                // A debugger has stopped it.
                return Ok(false);
            }
        }
        gate::open();
        Err("the machine neither runs nor waits".to_owned())
    }

    /// Gives what was typed to the guest, as much as its receiver has room for. Meanwhile the guest does not go on: it is
    /// held before a block, or waits for an interrupt.
    fn give_waiting(&mut self) -> Result<(), String> {
        if self.end.is_some() {
            self.begin_future();
        }
        let is_held = self.protocol.is_running && self.hold()?;
        let (position, mut bytes) = (gate::position(), Vec::new());
        while !self.is_full()?
            && let Some(byte) = self.waiting.pop_front()
        {
            bytes.push(byte);
            self.give(&[byte])?;
        }
        if !bytes.is_empty() {
            self.inputs.push(Input { position, is_held, bytes });
            self.given = self.inputs.len();
        }
        self.go_on();
        Ok(())
    }

    /// Gives bytes to the guest; the device has taken them, and asked for an interrupt, when this returns.
    fn give(&mut self, bytes: &[u8]) -> Result<(), String> {
        for &byte in bytes {
            self.console.as_mut().map_or(Ok(()), |console| console.give(byte))?;
        }
        self.protocol.execute(r#"{"execute": "query-status"}"#).map(drop)
    }

    fn is_full(&mut self) -> Result<bool, String> {
        let said = self.protocol.ask(&format!("xp /1wx {:#x}", self.uart + FLAGS))?;
        let flags = said.trim().rsplit("0x").next().and_then(|word| u64::from_str_radix(word, 16).ok());
        Ok(flags.ok_or_else(|| format!("the serial line's flags cannot be read: {said}"))? & RECEIVER_FULL != 0)
    }
}
