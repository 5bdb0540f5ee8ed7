//! Takes checkpoints of the machine, stopped or running.
//!
//! A snapshot is of no use while an interrupt is pending: QEMU forgets it when it loads the snapshot, as it sets the timer
//! before the interrupt controller has its state. None is where interrupts are not masked. So the machine is held
//! before a block of instructions there, and QEMU told to take the snapshot, before it goes on. Where a debugger has stopped
//! the machine with interrupts masked, the checkpoint is the one before, and the way from there.

use core::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{MOST_IN_BLOCK, TURN, Traveller};
use crate::checkpoint::{Checkpoint, DataPages, Memory, superfluous};
use crate::gate;
use crate::main_loop;
use crate::protocol::{Event, Said};
use crate::ring::{Entry, MOST_CHECKPOINTS, set_text};
use crate::state::Saved;

/// Automatic checkpoints may take one part in so many of the time.
const SHARE: u32 = 10;
const LEAST_INTERVAL: Duration = Duration::from_millis(300);
const LEAST_INTERVAL_DISTURBED: Duration = Duration::from_millis(100);
const LEAST_INSTRUCTIONS: u64 = 1_000_000;
/// How long the guest may take until it has interrupts unmasked, and when that is tried again.
const UNMASKED_SOON: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_millis(20);

impl Traveller {
    pub(super) fn is_due(&self) -> bool {
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

    /// After a debugger's stop a replay from before it may differ, so the machine is held soon after it runs again, for a
    /// checkpoint: before its second block, as a step is one.
    pub(super) fn await_resume(&mut self) {
        let may_be = self.has_begun && self.end.is_none() && self.problem.is_empty();
        if may_be && !self.protocol.is_running && !self.is_awaited && self.last.elapsed() >= LEAST_INTERVAL_DISTURBED {
            (self.is_awaited, self.retry) = (true, Instant::now());
            gate::set_goal(gate::position() + 2);
        }
    }

    /// Holds the machine no longer.
    pub(super) fn go_on(&mut self) {
        self.is_awaited = false;
        gate::open();
    }

    /// Whether a debugger has stopped it since that was last asked.
    fn has_stopped(&mut self) -> Result<bool, String> {
        let mut has_stopped = !self.protocol.is_running;
        while let Some(event) = self.protocol.event(TURN)? {
            has_stopped |= event == Event::Stop;
        }
        self.is_disturbed |= has_stopped;
        Ok(has_stopped)
    }

    /// Takes a checkpoint, by itself or for somebody, who says whether a stopped machine has interrupts unmasked.
    pub(super) fn checkpoint(&mut self, name: &str, asked: Option<bool>) -> Result<(), String> {
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
                let is_held = gate::close_unmasked(UNMASKED_SOON);
                if !is_held || self.has_stopped()? {
                    self.go_on();
                    self.retry = Instant::now() + RETRY;
                    return asked
                        .map_or(Ok(()), |_| Err("the machine has interrupts masked: stop it first".to_owned()));
                }
                self.is_awaited = false;
                let Some(kept) = self.snapshot_running(number)? else {
                    self.retry = Instant::now() + RETRY;
                    return asked.map_or(Ok(()), |_| Err("QEMU was late: try again".to_owned()));
                };
                kept
            }
        };
        self.add(kept, name, asked.is_none());
        self.cost = started.elapsed();
        Ok(())
    }

    pub(super) fn add(&mut self, kept: Kept, name: &str, is_automatic: bool) {
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
    pub(super) fn snapshot_running(&mut self, number: u64) -> Result<Option<Kept>, String> {
        let held = gate::position();
        let sent = self.protocol.send_monitor(&format!("savevm tinyos-{number}"));
        main_loop::wait_until_stopping();
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
        let is_there = gate::position() < held + MOST_IN_BLOCK && !gate::has_waited_since(held);
        let kept = if is_there { self.keep().map(Some) } else { Ok(None) };
        gate::open();
        self.protocol.silent_answer()?;
        if !matches!(kept, Ok(Some(_))) {
            self.protocol.monitor(&format!("delvm tinyos-{number}"))?;
        }
        kept
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

    pub(super) fn forget(&mut self, number: u64, memory: Option<&Memory>) -> Result<(), String> {
        let Some(memory) = memory else { return Ok(()) };
        self.store.remove(memory);
        self.protocol.monitor(&format!("delvm tinyos-{number}"))
    }

    /// Says to readers what checkpoints there are.
    pub(super) fn show(&self) {
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
}

/// What a checkpoint keeps of the moment.
pub(super) struct Kept {
    position: u64,
    memory: Option<Memory>,
    known: Saved,
}
