//! Brings the machine to a moment of its past, and lets it run on from there.

use core::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Input, MOST_IN_BLOCK, Traveller};
use crate::checkpoint::{Checkpoint, DataPages};
use crate::console;
use crate::gate;
use crate::main_loop;

const MARGIN: u64 = 2 * MOST_IN_BLOCK;
/// How long a core that does nothing more is waited for.
const STUCK: Duration = Duration::from_secs(2);
/// How often a moment is tried to be reached: QEMU may be late with a stop.
const TRIES: u32 = 3;

impl Traveller {
    /// Takes the machine, which is stopped, to where it had executed so many instructions.
    pub(super) fn travel(&mut self, position: u64) -> Result<(), String> {
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
        for _ in 0..TRIES {
            outcome = self.go(position);
            match &outcome {
                // The command to stop came too late.
                Ok(()) if gate::position() > position => outcome = Err("it could not be stopped in time".to_owned()),
                _ => break,
            }
        }
        if self.protocol.is_running {
            gate::close();
            outcome = outcome.and(self.halt());
        }
        // What the guest wrote is on its way through QEMU's main loop.
        let flushed = self.protocol.execute(r#"{"execute": "query-status"}"#).map(drop);
        console::set_replay(false);
        gate::set_paced(true);
        gate::close();
        outcome.and(flushed)
    }

    fn go(&mut self, position: u64) -> Result<(), String> {
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
            self.halt()?;
        }
        if gate::position() < position {
            // Each instruction is a block of its own: so the machine can be stopped after any.
            self.protocol.monitor("one-insn-per-tb on")?;
            let arrived = self.run_to(position);
            let halted = self.halt();
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

    /// Lets the machine run until it is held before its instruction `goal`, or a later one that begins a block.
    pub(super) fn run_to(&mut self, goal: u64) -> Result<(), String> {
        gate::set_goal(goal);
        self.resume()?;
        self.wait_until(|| gate::arrived().is_some_and(|count| count >= goal))
    }

    pub(super) fn resume(&mut self) -> Result<(), String> {
        if !self.protocol.is_running {
            self.protocol.execute(r#"{"execute": "cont"}"#)?;
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
    pub(super) fn halt(&mut self) -> Result<(), String> {
        self.protocol.send(r#"{"execute": "stop"}"#)?;
        if gate::arrived().is_some() {
            main_loop::wait_until_stopping();
        }
        gate::open();
        self.protocol.answer().map(drop)
    }

    /// The machine runs on from a moment in the past: what was known after it will not happen.
    pub(super) fn begin_future(&mut self) {
        self.end = None;
        self.recorder.header().is_past.store(0, Ordering::Relaxed);
        self.recorder.cut();
        self.inputs.truncate(self.given);
        // Held, it has counted the instruction that it is about to execute.
        let now = gate::position() - gate::arrived().is_some() as u64;
        let count = self.checkpoints.partition_point(|one| one.position <= now);
        let dropped = self.checkpoints.split_off(count);
        self.show();
        // It is held, or will be as soon as it runs, for a checkpoint.
        self.is_awaited = true;
        for one in &dropped {
            if let Err(problem) = self.forget(one.number, one.memory.as_ref()) {
                self.problem = problem;
            }
        }
    }
}
