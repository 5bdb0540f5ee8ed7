//! Reads a flattened device tree (Devicetree Specification 0.4, chapter 5), as far as it says where RAM is. The tree
//! comes from outside and is not trusted: every access is checked, and every step takes at least four bytes of it.

use super::Reason;
use super::ram::RamRanges;

/// Bytes of the header.
pub const HEADER_SIZE: usize = 40;
/// The largest tree that is read, in bytes; as Linux limits it for this architecture.
pub const MAX_SIZE: usize = 2 * 1024 * 1024;

const MAGIC: u32 = 0xd00d_feed;
/// The version of the format, if a tree is compatible with it.
const VERSION: u32 = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

// The reasons end a sentence about the tree.
const TRUNCATED: Reason = "is truncated";

/// The size in bytes that a tree has by its header. Checks the header's magic number.
pub fn total_size(header: &[u8]) -> Result<usize, Reason> {
    if word(header, 0)? != MAGIC {
        return Err("does not begin as one");
    }
    match word(header, 1)? as usize {
        size @ HEADER_SIZE..=MAX_SIZE => Ok(size),
        _ => Err("has a size that cannot be right"),
    }
}

/// A device tree whose header is valid.
pub struct DeviceTree<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

impl<'a> DeviceTree<'a> {
    /// `blob` may be longer than the tree.
    pub fn new(blob: &'a [u8]) -> Result<Self, Reason> {
        let blob = blob.get(..total_size(blob)?).ok_or(TRUNCATED)?;
        if word(blob, 6)? > VERSION {
            return Err("has a format that is too new");
        }
        let structure = word(blob, 2)? as usize;
        if !structure.is_multiple_of(4) {
            return Err("has a structure that is not aligned");
        }
        Ok(DeviceTree {
            // The sizes of the two parts are not needed: each read ends with the tree.
            structure: blob.get(structure..).ok_or(TRUNCATED)?,
            strings: blob.get(word(blob, 3)? as usize..).ok_or(TRUNCATED)?,
        })
    }

    /// The RAM by the nodes with `device_type = "memory"` (chapter 3.4), in whole blocks of 2 MiB.
    pub fn ram(&self) -> Result<RamRanges, Reason> {
        let mut ram = RamRanges::NONE;
        let mut cells = Cells { address: 2, size: 1 };
        let mut node = Node::default();
        let mut depth = 0_usize;
        let mut tokens = Tokens { rest: self.structure, strings: self.strings };
        while let Some(token) = tokens.next()? {
            match token {
                Token::Begin => {
                    depth += 1;
                    if depth == 2 {
                        node = Node::default();
                    }
                }
                Token::Property { name, value } => match depth {
                    1 => cells.learn(name, value)?,
                    2 => node.learn(name, value),
                    _ => {}
                },
                Token::End => {
                    if depth == 2 {
                        node.add_ram(cells, &mut ram)?;
                    }
                    depth = depth.checked_sub(1).ok_or("ends a node that did not begin")?;
                }
            }
        }
        match ram.whole_blocks() {
            RamRanges::NONE => Err("has no RAM"),
            ram => Ok(ram),
        }
    }
}

/// The number of 32-bit cells of an address, and of a size, in the children of the root.
#[derive(Clone, Copy)]
struct Cells {
    address: usize,
    size: usize,
}

impl Cells {
    fn learn(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reason> {
        let cells = if name.starts_with(b"#address-cells\0") {
            &mut self.address
        } else if name.starts_with(b"#size-cells\0") {
            &mut self.size
        } else {
            return Ok(());
        };
        match word(value, 0)? {
            count @ 1..=2 => *cells = count as usize,
            _ => return Err("has addresses or sizes of neither 32 nor 64 bits"),
        }
        Ok(())
    }
}

/// What matters of a child of the root.
#[derive(Default)]
struct Node<'a> {
    is_memory: bool,
    is_disabled: bool,
    /// Addresses and sizes.
    reg: &'a [u8],
}

impl<'a> Node<'a> {
    fn learn(&mut self, name: &[u8], value: &'a [u8]) {
        if name.starts_with(b"device_type\0") {
            self.is_memory = value == b"memory\0";
        } else if name.starts_with(b"status\0") {
            self.is_disabled = value != b"okay\0" && value != b"ok\0";
        } else if name.starts_with(b"reg\0") {
            self.reg = value;
        }
    }

    fn add_ram(&self, cells: Cells, ram: &mut RamRanges) -> Result<(), Reason> {
        if !self.is_memory || self.is_disabled {
            return Ok(());
        }
        let entries = self.reg.chunks_exact((cells.address + cells.size) * 4);
        if !entries.remainder().is_empty() {
            return Err("has a memory node with a part of an entry");
        }
        for entry in entries {
            let (address, size) = entry.split_at(cells.address * 4);
            ram.add(number(address), number(size));
        }
        Ok(())
    }
}

enum Token<'a> {
    Begin,
    End,
    /// `name` begins with the property's name and a zero. How long it is nobody looks: many properties could share one
    /// that is as long as the tree.
    Property {
        name: &'a [u8],
        value: &'a [u8],
    },
}

/// The structure of a tree from `rest` on.
struct Tokens<'a> {
    rest: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, Reason> {
        loop {
            return Ok(Some(match self.word()? {
                BEGIN_NODE => {
                    let length = self.rest.iter().position(|&byte| byte == 0).ok_or(TRUNCATED)?;
                    self.take(length + 1)?;
                    Token::Begin
                }
                END_NODE => Token::End,
                PROPERTY => {
                    let (length, name) = (self.word()? as usize, self.word()? as usize);
                    let name = self.strings.get(name..).ok_or(TRUNCATED)?;
                    Token::Property { name, value: self.take(length)? }
                }
                NOP => continue,
                END => return Ok(None),
                _ => return Err("has an unknown token"),
            }));
        }
    }

    fn word(&mut self) -> Result<u32, Reason> {
        word(self.take(4)?, 0)
    }

    /// Takes `length` bytes and those up to the next multiple of 4.
    fn take(&mut self, length: usize) -> Result<&'a [u8], Reason> {
        let taken = self.rest.get(..length).ok_or(TRUNCATED)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).ok_or(TRUNCATED)?;
        Ok(taken)
    }
}

/// The big-endian word with this index.
fn word(bytes: &[u8], index: usize) -> Result<u32, Reason> {
    Ok(number(bytes.get(index * 4..index * 4 + 4).ok_or(TRUNCATED)?) as u32)
}

/// A big-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
