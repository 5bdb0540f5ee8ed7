//! Every shape of type that a layout has to describe. Compiled for the host by the tests, never run.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64};

#[repr(u8)]
#[derive(Clone, Copy)]
pub enum Policy {
    Low = 0,
    High = 3,
}

#[repr(i16)]
#[derive(Clone, Copy)]
pub enum Signed {
    Minus = -2,
    Plus = 5,
}

pub enum Shape {
    Point,
    Line(u32),
    Rectangle { width: u16, height: u64 },
}

#[repr(C)]
pub struct Cell<T> {
    sequence: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: only a debugger ever looks.
unsafe impl<T> Sync for Cell<T> {}

#[repr(C)]
pub struct Everything {
    byte: u8,
    niche_none: Option<NonZeroU32>,
    niche_some: Option<NonZeroU32>,
    policy_none: Option<Policy>,
    policy_some: Option<Policy>,
    tagged_none: Option<u64>,
    tagged_some: Option<u64>,
    policies: [Policy; 3],
    uninit: MaybeUninit<u64>,
    tuple: (u8, u32),
    point: Shape,
    line: Shape,
    rectangle: Shape,
    nested_none: Option<Shape>,
    nested_some: Option<Shape>,
    signed: Signed,
    pointer: &'static u8,
    flag: bool,
    letter: char,
    float: f64,
    negative: i32,
    matrix: [[u16; 2]; 3],
    nothing: (),
    good: Result<u8, Policy>,
    bad: Result<u8, Policy>,
    huge: u128,
    atomic: AtomicU8,
    name: [u8; 4],
}

static BYTE: u8 = 1;

#[used]
#[unsafe(no_mangle)]
pub static EVERYTHING: Cell<Everything> = Cell {
    sequence: AtomicU64::new(6),
    value: UnsafeCell::new(Everything {
        byte: 200,
        niche_none: None,
        niche_some: NonZeroU32::new(9),
        policy_none: None,
        policy_some: Some(Policy::High),
        tagged_none: None,
        tagged_some: Some(77),
        policies: [Policy::Low, Policy::High, Policy::Low],
        uninit: MaybeUninit::new(4),
        tuple: (1, 2),
        point: Shape::Point,
        line: Shape::Line(3),
        rectangle: Shape::Rectangle { width: 4, height: 5 },
        nested_none: None,
        nested_some: Some(Shape::Line(6)),
        signed: Signed::Minus,
        pointer: &BYTE,
        flag: true,
        letter: 'x',
        float: 1.5,
        negative: -7,
        matrix: [[1, 2], [3, 4], [5, 6]],
        nothing: (),
        good: Ok(8),
        bad: Err(Policy::High),
        huge: 1 << 100,
        atomic: AtomicU8::new(42),
        name: *b"abcd",
    }),
};

pub mod deep {
    use super::*;

    #[used]
    pub static LOCKED: Mutex<[u32; 4]> = Mutex::new([1, 2, 3, 4]);
}

fn main() {
    // Keeps the variants alive that no static is made of.
    let _ = (Shape::Point, Signed::Plus, deep::LOCKED.lock());
}
