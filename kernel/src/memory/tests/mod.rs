//! Tests of memory management on the host. Most compare a module with a naive model of it.

mod audit;
mod machine;
mod support;

mod asid;
mod dynamic;
mod faults;
mod frames;
mod growth;
mod lazy;
mod pressure;
mod stacks;
mod strategies;
mod switcher;
mod tables;
