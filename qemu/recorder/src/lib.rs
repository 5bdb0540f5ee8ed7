//! A TCG plugin for QEMU that records what the guest writes to chosen pages of physical memory, and the instructions
//! that concern translation, without a change of what the guest executes.
//!
//! Arguments: `ring=FILE` (made anew), `ram=FILE` (the file of the guest's memory), `records=N` (what the ring has room
//! for), `watch=START-END` (physical, hexadecimal; may be given several times), `all=on` (each store to memory, without
//! a filter).

mod api;
mod checkpoint;
mod console;
mod gate;
mod instructions;
mod main_loop;
mod memory;
mod options;
mod pages;
mod protocol;
mod recorder;
mod ring;
mod state;
mod travel;
