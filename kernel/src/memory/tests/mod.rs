//! Tests of memory management on the host. Most compare a module with a naive model of it.
//!
//! Miri, which interprets the kernel a thousand times slower, runs those that reach `unsafe` code: not the modules that
//! only compute, and not the tests that take it minutes.

mod audit;
mod machine;
mod support;

#[cfg(not(miri))]
mod asid;
mod design;
mod dynamic;
mod faults;
#[cfg(not(miri))]
mod frames;
#[cfg(not(miri))]
mod growth;
#[cfg(not(miri))]
mod lazy;
mod moving;
#[cfg(not(miri))]
mod pressure;
mod quotas;
#[cfg(not(miri))]
mod stacks;
mod strategies;
mod switcher;
mod tables;
