//! What the firmware says about the board: RAM in the device tree, clocks by the mailbox. Pure, so that the host can
//! test it; the kernel's `firmware.rs` reads memory and registers.

pub mod device_tree;
pub mod mailbox;
pub mod ram;

#[cfg(test)]
mod tests;

/// Why an answer of the firmware cannot be used.
pub type Reason = &'static str;
