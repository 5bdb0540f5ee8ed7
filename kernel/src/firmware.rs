//! Asks the firmware about the board: RAM from the device tree, the UART's clock by the mailbox. What it does not say is
//! assumed, and the console says so.

use core::cell::UnsafeCell;
use core::fmt;
use tinyos::board::Reason;
use tinyos::board::device_tree::{DeviceTree, HEADER_SIZE, total_size};
use tinyos::board::mailbox::{self, Message, PROPERTY_CHANNEL, Registers, UART_CLOCK};
use tinyos::board::ram::RamRanges;
use tinyos::memory::layout::{
    DEVICE_OFFSET, IMAGE_OFFSET, LEAST_RAM, LINEAR_OFFSET, PAGE_SIZE, POOL_BASE, POOL_FRAMES,
};

/// The firmware's default, in Hz (`init_uart_clock` in `config.txt`).
pub const DEFAULT_UART_CLOCK: u32 = 48_000_000;

const ASSUMED_RAM: RamRanges = RamRanges::one(LEAST_RAM);
/// The RAM that the kernel cannot do without: the image, and the pool after it.
const NEEDED_RAM: (u64, u64) = (0, POOL_BASE + (POOL_FRAMES * PAGE_SIZE) as u64);
/// The tables of `boot.s` map the first GiB.
const READABLE: u64 = 1 << 30;

/// The board's RAM, and where it is known from.
pub struct Ram {
    device_tree: u64,
    by_tree: Result<RamRanges, Reason>,
}

/// Reads the RAM from the device tree at a physical address; 0 if there is none.
///
/// # Safety
///
/// The tables are those of `boot.s`, and nothing writes to memory meanwhile but this core to its stack.
pub unsafe fn ram(device_tree: u64) -> Ram {
    // SAFETY: the caller promises the same.
    let by_tree = unsafe { read_tree(device_tree) }.and_then(|blob| DeviceTree::new(blob)?.ram());
    Ram { device_tree, by_tree }
}

/// # Safety
///
/// As for `ram`, as long as the bytes are used.
unsafe fn read_tree<'a>(address: u64) -> Result<&'a [u8], Reason> {
    // SAFETY: the caller promises the same.
    unsafe {
        let size = total_size(boot_memory(address, HEADER_SIZE)?)?;
        boot_memory(address, size)
    }
}

/// # Safety
///
/// As for `ram`, as long as the bytes are used.
unsafe fn boot_memory<'a>(address: u64, size: usize) -> Result<&'a [u8], Reason> {
    match address.checked_add(size as u64) {
        // SAFETY: the tables of `boot.s` map these addresses, where every board has RAM.
        Some(..=READABLE) => Ok(unsafe { core::slice::from_raw_parts((address + LINEAR_OFFSET) as *const u8, size) }),
        _ => Err("is not in the first GiB"),
    }
}

impl Ram {
    /// What the kernel maps.
    pub fn usable(&self) -> &RamRanges {
        match &self.by_tree {
            Ok(ram) if ram.contains(NEEDED_RAM.0, NEEDED_RAM.1) => ram,
            _ => &ASSUMED_RAM,
        }
    }

    /// Panics if the device tree has no RAM where the kernel must have some. To be called when the console works.
    pub fn check(&self) {
        if let Ok(ram) = &self.by_tree {
            let (start, end) = NEEDED_RAM;
            assert!(ram.contains(start, end), "the kernel needs RAM from {start:#x} to {end:#x}");
        }
    }
}

impl fmt::Display for Ram {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let address = self.device_tree;
        match &self.by_tree {
            Ok(ram) => write!(out, "{ram}, by the device tree at {address:#x}"),
            Err(_) if address == 0 => write!(out, "{ASSUMED_RAM}, assumed: there is no device tree"),
            Err(reason) => write!(out, "{ASSUMED_RAM}, assumed: the device tree at {address:#x} {reason}"),
        }
    }
}

/// A clock, and where its rate is known from.
pub struct Clock {
    pub hz: u32,
    by: Result<(), Reason>,
}

impl Clock {
    pub fn default_because(reason: Reason) -> Self {
        Clock { hz: DEFAULT_UART_CLOCK, by: Err(reason) }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self.by {
            Ok(()) => write!(out, "{} Hz, by the firmware", self.hz),
            Err(reason) => write!(out, "{} Hz, assumed: {reason}", self.hz),
        }
    }
}

/// The rate of the UART's clock.
pub fn uart_clock() -> Clock {
    // SAFETY: these are the mailbox's registers.
    let answer = unsafe { ask(MAILBOX, &mailbox::clock_rate_request(UART_CLOCK)) };
    match answer.and_then(|answer| mailbox::clock_rate(&answer, UART_CLOCK)) {
        Ok(hz) => Clock { hz, by: Ok(()) },
        Err(reason) => Clock::default_because(reason),
    }
}

const MAILBOX: u64 = 0xfe00_b880 + DEVICE_OFFSET;
/// Where the VideoCore sees RAM past its caches.
const BUS_OFFSET: u64 = 0xc000_0000;

/// A message where the firmware can read and write it: alone in a cache line.
#[repr(C, align(64))]
struct Buffer(UnsafeCell<Message>);

// SAFETY: only `ask` uses it, on core 0, during the boot.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer = Buffer(UnsafeCell::new([0; 8]));

/// Sends a property message by a mailbox, and returns the answer.
///
/// # Safety
///
/// The mailbox's registers are at `registers`, mapped as device memory.
#[inline(never)]
unsafe fn ask(registers: u64, message: &Message) -> Result<Message, Reason> {
    let buffer = BUFFER.0.get();
    let address = buffer as u64 - IMAGE_OFFSET + BUS_OFFSET;
    // SAFETY: nothing else uses the buffer. The firmware does not see the caches.
    unsafe {
        buffer.write_volatile(*message);
        clean_and_invalidate(buffer);
    }
    mailbox::exchange(&mut Port(registers), address as u32 | PROPERTY_CHANNEL)?;
    // SAFETY: the firmware has written its answer. The line was read again, perhaps, before that.
    unsafe {
        clean_and_invalidate(buffer);
        Ok(buffer.read_volatile())
    }
}

/// # Safety
///
/// `buffer` is mapped.
unsafe fn clean_and_invalidate(buffer: *mut Message) {
    // SAFETY: the caller promises that the address is mapped. The line's content does not change.
    unsafe { core::arch::asm!("dc civac, {}", "dsb sy", in(reg) buffer, options(nostack)) };
}

/// The mailbox's registers.
struct Port(u64);

impl Port {
    const READ: u64 = 0x00;
    const STATUS_OF_ANSWERS: u64 = 0x18;
    const WRITE: u64 = 0x20;
    const STATUS_OF_MESSAGES: u64 = 0x38;
    const FULL: u32 = 1 << 31;
    const EMPTY: u32 = 1 << 30;

    fn get(&self, register: u64) -> u32 {
        // SAFETY: this is a register of the mailbox, mapped as device memory; nothing else uses it.
        unsafe { ((self.0 + register) as *const u32).read_volatile() }
    }
}

impl Registers for Port {
    fn is_full(&mut self) -> bool {
        self.get(Self::STATUS_OF_MESSAGES) & Self::FULL != 0
    }

    fn is_empty(&mut self) -> bool {
        self.get(Self::STATUS_OF_ANSWERS) & Self::EMPTY != 0
    }

    fn write(&mut self, message: u32) {
        // SAFETY: as above.
        unsafe { ((self.0 + Self::WRITE) as *mut u32).write_volatile(message) }
    }

    fn read(&mut self) -> u32 {
        self.get(Self::READ)
    }
}
