//! Tests of memory management on the host: each module against a naive model of what it promises.

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
