//! Memory management: physical frames, translation tables, dynamic stacks, lazy pages, pressure, address spaces.
//!
//! Everything here runs on the host as well (`cargo test --lib`): what touches the hardware goes through
//! [`crate::hardware`].

pub mod asid;
pub mod audit;
pub mod dynamic;
pub mod faults;
pub mod frames;
pub mod growth;
pub mod layout;
pub mod lazy;
pub mod pressure;
pub mod stacks;
pub mod strategies;
pub mod switcher;
pub mod tables;

#[cfg(test)]
mod tests;
