//! TinyOS: the part of the kernel that does not depend on how it is started: memory management, events, and the
//! binary interface to debuggers. The `kernel` binary adds boot, exceptions, tasks and the shell.

#![cfg_attr(target_os = "none", no_std)]

pub mod debugger;
pub mod events;
pub mod hardware;
pub mod memory;
pub mod probes;
pub mod sequence_lock;
pub mod tasks;
pub mod text;
