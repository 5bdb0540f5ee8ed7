//! TinyOS: memory management, events, and the binary interface to debuggers. This library runs on the host as well. The
//! `kernel` binary adds boot, exceptions, tasks and the shell.

#![cfg_attr(target_os = "none", no_std)]

pub mod board;
pub mod console_input;
pub mod debugger;
pub mod events;
pub mod hardware;
pub mod memory;
pub mod probes;
pub mod sequence_lock;
pub mod tasks;
pub mod text;
