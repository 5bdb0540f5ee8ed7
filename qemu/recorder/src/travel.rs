//! Takes the machine back: checkpoints while it runs, and runs again from one of them to an exact instruction.
//!
//! It needs `-icount`: then a run from a snapshot is the same each time, while one core works. QEMU's snapshots hold the
//! devices and registers; the memory, which is a shared file, is copied here (`x-ignore-shared`).
//!
//! A snapshot is of no use while an interrupt is pending: QEMU forgets it when it loads the snapshot, as it sets the timer
//! before the interrupt controller has its state. At EL0 none is pending, as it would have been taken. So the machine is held
//! before a block of instructions there, and QEMU told to take the snapshot, before it goes on. Where a debugger has stopped
//! the machine elsewhere, the checkpoint is the one before, and the way from there.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoint, DataPages, Memory, Store, superfluous};
use crate::console::{self, Console};
use crate::gate;
use crate::options::Travel;
use crate::protocol::{Event, Protocol, Said};
use crate::recorder::Recorder;
use crate::ring::{Entry, MOST_CHECKPOINTS, Wanted, set_text};
use crate::state::Saved;
use core::sync::atomic::Ordering;

/// QEMU's blocks have fewer instructions.
const MOST_IN_BLOCK: u64 = 512;
const MARGIN: u64 = 2 * MOST_IN_BLOCK;
/// An automatic checkpoint may take this part of the time.
const SHARE: u32 = 10;
const LEAST_INTERVAL: Duration = Duration::from_millis(300);
/// Where the first checkpoint is prepared. Before, the other cores wait by WFE, which QEMU does not wait at: how often each
/// looks whether it is to start depends on the host.
const FIRST: u64 = 1_000_000;
/// What all cores execute, at most, until the others wait.
const OTHERS_BEGIN: u64 = 100_000;
const LEAST_INTERVAL_DISTURBED: Duration = Duration::from_millis(100);
const LEAST_INSTRUCTIONS: u64 = 1_000_000;
/// How long the guest may take to execute something at EL0, and when that is tried again.
const EL0_SOON: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_millis(20);
const TURN: Duration = Duration::from_millis(1);
const LOOKS_OF_WAIT: u32 = 20;
const MOST_LOOKS: u32 = 10_000;
/// How long a core that does nothing more is waited for.
const STUCK: Duration = Duration::from_secs(2);
/// Between the command to stop and the moment that a held core goes on: in it the main loop takes the command.
const PATIENCES: [Duration; 3] = [Duration::from_millis(2), Duration::from_millis(10), Duration::from_millis(50)];
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
    /// Whether the first checkpoint was taken, or tried.
    has_begun: bool,
    /// How often ranges were named.
    named: u64,
    /// How often QEMU was late with a snapshot.
    late: usize,
    /// Where the machine was before it went into the past.
    end: Option<u64>,
    began: Instant,
    last: Instant,
    /// Not before then, as nothing was executed at EL0 just now.
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
            has_begun: false,
            named: 0,
            late: 0,
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
                this.is_disturbed = true;
                eprintln!("recorder: {problem}");
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), String> {
        while let Some(event) = self.protocol.event(TURN)? {
            // A debugger lets it run again, after breakpoints or steps, which QEMU executes without timers.
            self.is_disturbed |= event == Event::Resume;
        }
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
                Wanted::Checkpoint(name, is_at_el0) => self.checkpoint(&name, Some(is_at_el0)),
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
        if self.is_due()
            && let Err(problem) = self.checkpoint("", None)
        {
            self.problem = problem;
        }
        Ok(())
    }

    /// Takes the first checkpoint. A stop before it has the other cores executed next, as after a snapshot is loaded: else
    /// QEMU would let them begin much later than in a replay.
    fn begin(&mut self) -> Result<(), String> {
        self.halt(PATIENCES[0])?;
        self.run_to(FIRST + OTHERS_BEGIN)?;
        let kept = self.snapshot_running(1, PATIENCES[0])?;
        self.add(kept.ok_or("QEMU was late")?, "start", true);
        Ok(())
    }

    fn is_due(&self) -> bool {
        let may_be = self.has_begun && self.end.is_none() && self.problem.is_empty();
        if !may_be || !self.protocol.is_running || Instant::now() < self.retry {
            return false;
        }
        if self.is_disturbed && !self.checkpoints.is_empty() {
            return self.last.elapsed() >= LEAST_INTERVAL_DISTURBED;
        }
        let has_executed = |last: &Checkpoint| gate::position() - last.position > LEAST_INSTRUCTIONS;
        self.last.elapsed() >= LEAST_INTERVAL.max(self.cost * SHARE) && self.checkpoints.last().is_none_or(has_executed)
    }

    /// Takes a checkpoint, by itself or for somebody, who says whether a stopped machine is at EL0.
    fn checkpoint(&mut self, name: &str, asked: Option<bool>) -> Result<(), String> {
        if !self.protocol.is_running && self.end == Some(gate::position()) {
            // It came back to the latest moment: nothing would be forgotten.
            self.begin_future();
        }
        if self.end.is_some() {
            return Err("the machine is in the past: let it run on first".to_owned());
        }
        if self.checkpoints.len() == MOST_CHECKPOINTS {
            self.drop_one()?;
        }
        let (started, number) = (Instant::now(), self.made + 1);
        let kept = match asked {
            Some(true) if !self.protocol.is_running => {
                self.protocol.monitor(&format!("savevm tinyos-{number}"))?;
                self.keep()?
            }
            Some(false) if !self.protocol.is_running => {
                Kept { position: gate::position(), memory: None, known: self.recorder.save() }
            }
            _ => {
                if !gate::close_at_el0(EL0_SOON) {
                    self.retry = Instant::now() + RETRY;
                    return asked
                        .map_or(Ok(()), |_| Err("the machine executes nothing at EL0: stop it first".to_owned()));
                }
                let Some(kept) = self.snapshot_running(number, PATIENCES[self.late % PATIENCES.len()])? else {
                    self.late += 1;
                    return asked.map_or(Ok(()), |_| Err("QEMU was late: try again".to_owned()));
                };
                kept
            }
        };
        self.add(kept, name, asked.is_none());
        self.cost = started.elapsed();
        Ok(())
    }

    fn add(&mut self, kept: Kept, name: &str, is_automatic: bool) {
        self.made += 1;
        let Kept { position, memory, known } = kept;
        let time = self.began.elapsed().as_millis() as u64;
        let (number, name, inputs) = (self.made, name.to_owned(), self.given);
        if memory.is_some() {
            // A position alone is no place from which a replay may begin.
            (self.last, self.is_disturbed) = (Instant::now(), false);
        }
        self.checkpoints.push(Checkpoint { number, name, is_automatic, position, time, inputs, memory, known });
        self.show();
    }

    /// Takes a snapshot of the running machine, which is held; None if QEMU is late. QEMU stops the cores itself, without a
    /// word to the debugger. None goes on before the copy is there.
    fn snapshot_running(&mut self, number: u64, patience: Duration) -> Result<Option<Kept>, String> {
        let held = gate::position();
        let sent = self.protocol.send_monitor(&format!("savevm tinyos-{number}"));
        std::thread::sleep(patience);
        gate::open();
        sent?;
        loop {
            match self.protocol.next()? {
                Said::Event(Event::Stop) => break,
                Said::Event(_) => {}
                said => return Err(format!("QEMU takes no snapshot: {said:?}")),
            }
        }
        gate::close();
        // Stopped at the end of the block before which it was held: else QEMU was late, or this thread was.
        let is_there = gate::position() < held + MOST_IN_BLOCK && !gate::is_waking();
        let kept = if is_there { self.keep().map(Some) } else { Ok(None) };
        gate::open();
        self.protocol.silent_answer()?;
        if !matches!(kept, Ok(Some(_))) {
            self.protocol.monitor(&format!("delvm tinyos-{number}"))?;
        }
        kept
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

    /// Copies what a checkpoint keeps, while no core runs.
    fn keep(&mut self) -> Result<Kept, String> {
        // First: a core may go on, to be held at once, before the copy is there.
        let (position, known) = (gate::position() - gate::arrived().is_some() as u64, self.recorder.save());
        let ram = self.recorder.ram().ok_or("the guest's memory is not mapped")?;
        let before = self.checkpoints.iter().rev().find_map(|one| one.memory.as_ref());
        let memory = self.store.copy(&ram, DataPages::of(&self.ram), before);
        let memory = memory.ok_or("there is no room for the guest's memory")?;
        Ok(Kept { position, memory: Some(memory), known })
    }

    fn drop_one(&mut self) -> Result<(), String> {
        let now = self.began.elapsed().as_millis() as u64;
        let index = superfluous(&self.checkpoints, now).ok_or("there is no room for more checkpoints")?;
        let Checkpoint { number, memory, .. } = self.checkpoints.remove(index);
        self.forget(number, memory.as_ref())
    }

    fn forget(&mut self, number: u64, memory: Option<&Memory>) -> Result<(), String> {
        let Some(memory) = memory else { return Ok(()) };
        self.store.remove(memory);
        self.protocol.monitor(&format!("delvm tinyos-{number}"))
    }

    /// Says to readers what checkpoints there are.
    fn show(&self) {
        let header = self.recorder.header();
        for (Entry { number, written, time, is_automatic, position, name }, one) in
            header.checkpoints.iter().zip(&self.checkpoints)
        {
            number.store(one.number, Ordering::Relaxed);
            written.store(one.known.position.written, Ordering::Relaxed);
            time.store(one.time, Ordering::Relaxed);
            is_automatic.store(one.is_automatic as u64, Ordering::Relaxed);
            position.store(one.position, Ordering::Relaxed);
            set_text(name, &one.name);
        }
        header.checkpoint_count.store(self.checkpoints.len() as u64, Ordering::Release);
    }

    /// Takes the machine, which is stopped, to where it had executed so many instructions.
    fn travel(&mut self, position: u64) -> Result<(), String> {
        if self.protocol.is_running {
            return Err("the machine runs: stop it first".to_owned());
        }
        let end = *self.end.get_or_insert_with(gate::position);
        if position > end {
            return Err(format!("it has executed {end} instructions only"));
        }
        let header = self.recorder.header();
        header.end.store(end, Ordering::Relaxed);
        header.is_past.store(1, Ordering::Relaxed);
        console::set_replay(true);
        gate::set_paced(false);
        let mut outcome = Ok(());
        for patience in PATIENCES {
            outcome = self.go(position, patience);
            match &outcome {
                // The command to stop came too late.
                Ok(()) if gate::position() > position => outcome = Err("it could not be stopped in time".to_owned()),
                _ => break,
            }
        }
        if self.protocol.is_running {
            gate::close();
            outcome = outcome.and(self.halt(PATIENCES[0]));
        }
        // What the guest wrote is on its way through QEMU's main loop.
        let flushed = self.protocol.execute(r#"{"execute": "query-status"}"#).map(drop);
        console::set_replay(false);
        gate::set_paced(true);
        gate::close();
        outcome.and(flushed)
    }

    fn go(&mut self, position: u64, patience: Duration) -> Result<(), String> {
        gate::open();
        let fits = |one: &Checkpoint| one.position <= position && one.memory.is_some();
        self.restore(self.checkpoints.iter().rposition(fits).ok_or("there is no checkpoint before it")?)?;
        while let Some(input) = self.inputs.get(self.given).filter(|input| input.position <= position) {
            let Input { position, is_held, ref bytes } = *input;
            let bytes = bytes.clone();
            self.run_to_input(position, is_held)?;
            self.give(&bytes)?;
            self.given += 1;
        }
        if self.protocol.is_running || gate::position() + 2 * MARGIN < position {
            self.run_to(position.saturating_sub(MARGIN))?;
            self.halt(patience)?;
        }
        if gate::position() < position {
            // Each instruction is a block of its own: so the machine can be stopped after any.
            self.protocol.monitor("one-insn-per-tb on")?;
            let arrived = self.run_to(position);
            let halted = self.halt(patience);
            self.protocol.monitor("one-insn-per-tb off")?;
            arrived.and(halted)?;
        }
        Ok(())
    }

    fn restore(&mut self, index: usize) -> Result<(), String> {
        let one = &self.checkpoints[index];
        let memory = one.memory.as_ref().ok_or("it has no snapshot")?;
        self.protocol.monitor(&format!("loadvm tinyos-{}", one.number))?;
        let ram = self.recorder.ram().ok_or("the guest's memory is not mapped")?;
        self.store.restore(&ram, DataPages::of(&self.ram), memory);
        let marks = self.checkpoints[index + 1..].iter().map(|one| one.known.position).collect();
        self.recorder.restore(&one.known, marks);
        gate::set_position(one.position);
        self.given = one.inputs;
        Ok(())
    }

    /// Lets the machine run until it is held before its instruction `goal`, or a later one that begins a block.
    fn run_to(&mut self, goal: u64) -> Result<(), String> {
        gate::set_goal(goal);
        self.resume()?;
        self.wait_until(|| gate::arrived().is_some_and(|count| count >= goal))
    }

    fn resume(&mut self) -> Result<(), String> {
        if !self.protocol.is_running {
            self.protocol.execute(r#"{"execute": "cont"}"#)?;
        }
        Ok(())
    }

    /// Lets the machine run until something was typed: see `give_waiting`.
    fn run_to_input(&mut self, position: u64, is_held: bool) -> Result<(), String> {
        if is_held {
            return self.run_to(position);
        }
        if gate::position() < position {
            gate::open();
            self.resume()?;
            self.wait_until(|| gate::position() >= position)?;
        }
        Ok(())
    }

    fn wait_until(&self, is_there: impl Fn() -> bool) -> Result<(), String> {
        let (mut before, mut since) = (gate::position(), Instant::now());
        while !is_there() {
            gate::wait(Duration::from_micros(200));
            if self.recorder.header().cancel.load(Ordering::Relaxed) != 0 {
                return Err("it was interrupted".to_owned());
            }
            let now = gate::position();
            if now != before {
                (before, since) = (now, Instant::now());
            } else if since.elapsed() > STUCK {
                return Err(format!("the machine waits at {now} instructions"));
            }
        }
        Ok(())
    }

    /// Stops the machine after the block before which it is held.
    fn halt(&mut self, patience: Duration) -> Result<(), String> {
        self.protocol.send(r#"{"execute": "stop"}"#)?;
        std::thread::sleep(patience);
        gate::open();
        self.protocol.answer().map(drop)
    }

    /// The machine runs on from a moment in the past: what was known after it will not happen.
    fn begin_future(&mut self) {
        self.end = None;
        self.recorder.header().is_past.store(0, Ordering::Relaxed);
        self.recorder.cut();
        self.inputs.truncate(self.given);
        // Held, it has counted the instruction that it is about to execute.
        let now = gate::position() - gate::arrived().is_some() as u64;
        let count = self.checkpoints.partition_point(|one| one.position <= now);
        let dropped = self.checkpoints.split_off(count);
        self.show();
        gate::open();
        for one in &dropped {
            if let Err(problem) = self.forget(one.number, one.memory.as_ref()) {
                self.problem = problem;
            }
        }
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
        gate::open();
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

/// What a checkpoint keeps of the moment.
struct Kept {
    position: u64,
    memory: Option<Memory>,
    known: Saved,
}
