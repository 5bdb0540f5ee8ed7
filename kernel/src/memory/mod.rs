//! Memory management: physical frames, translation tables, dynamic stacks, lazy pages, pressure, address spaces.
//!
//! All of it runs on the host as well (`cargo test --lib`): it uses the hardware only through [`crate::hardware`].

pub mod asid;
pub mod audit;
pub mod dynamic;
pub mod faults;
pub mod frames;
pub mod growth;
pub mod layout;
pub mod lazy;
pub mod map;
pub mod pressure;
pub mod quotas;
pub mod stacks;
pub mod strategies;
pub mod switcher;
pub mod tables;

#[cfg(test)]
mod tests;
