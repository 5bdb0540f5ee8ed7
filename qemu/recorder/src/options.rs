//! The plugin's arguments.

use std::path::PathBuf;

const DEFAULT_RECORDS: u64 = 1 << 20;
const MOST_RECORDS: u64 = 1 << 28;

#[derive(Debug)]
pub struct Options {
    /// The file that becomes the recording.
    pub ring: PathBuf,
    /// Records that it has room for.
    pub records: u64,
    /// How the file of the guest's memory is called in `/proc/self/maps`.
    pub ram: String,
    /// Physical ranges to be recorded: start and end.
    pub ranges: Vec<(u64, u64)>,
    pub roots: Vec<RootPlaces>,
    /// Whether each store to memory is recorded, also one that changes nothing.
    pub all: bool,
    /// What going back needs; None, if it is not wanted.
    pub travel: Option<Travel>,
}

/// What going back needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Travel {
    /// The socket of a machine protocol that nobody else uses.
    pub protocol: PathBuf,
    /// The file that the guest's memory is in.
    pub ram: PathBuf,
    /// The file for the memory of checkpoints, and for how many pages it has room.
    pub store: PathBuf,
    pub pages: usize,
    /// A connection to the guest's serial line, and a socket that listens for those at the console, as descriptors.
    pub console: Option<(i32, i32)>,
    /// The physical address of the serial line's device.
    pub uart: u64,
    /// Whether the machine is to run once the first checkpoint is taken.
    pub starts: bool,
}

/// The words in which the kernel keeps the root tables of its address spaces: the first, the end, and the bytes from
/// one to the next. Physical addresses.
#[derive(Debug, PartialEq, Eq)]
pub struct RootPlaces {
    start: u64,
    end: u64,
    stride: u64,
}

impl RootPlaces {
    pub fn has(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address) && (address - self.start).is_multiple_of(self.stride)
    }
}

impl Options {
    /// Reads arguments of the form `NAME=VALUE`; the error says what is wrong with them.
    pub fn parse<T: AsRef<str>>(arguments: impl IntoIterator<Item = T>) -> Result<Options, String> {
        let mut found = Options {
            ring: PathBuf::new(),
            records: DEFAULT_RECORDS,
            ram: String::new(),
            ranges: Vec::new(),
            roots: Vec::new(),
            all: false,
            travel: None,
        };
        for argument in arguments {
            let argument = argument.as_ref();
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            let wrong = |what| format!("{argument}: it must be {what}");
            match name {
                "ring" => found.ring = PathBuf::from(value),
                "ram" => found.ram = value.to_owned(),
                "records" => {
                    let number = value.parse().ok().filter(|number| (1..=MOST_RECORDS).contains(number));
                    found.records = number.ok_or_else(|| wrong("a number from 1 to 268435456"))?;
                }
                "watch" => found.ranges.push(range(value).ok_or_else(|| wrong("START-END"))?),
                "roots" => found.roots.push(root_places(value).ok_or_else(|| wrong("START-END/STRIDE"))?),
                "protocol" => found.travel().protocol = PathBuf::from(value),
                "memory" => found.travel().ram = PathBuf::from(value),
                "checkpoints" => found.travel().store = PathBuf::from(value),
                "pages" => found.travel().pages = value.parse().map_err(|_| wrong("a number"))?,
                "console" => {
                    let ends =
                        value.split_once('-').and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
                    found.travel().console = Some(ends.ok_or_else(|| wrong("DESCRIPTOR-DESCRIPTOR"))?);
                }
                "uart" => found.travel().uart = number(value).ok_or_else(|| wrong("an address"))?,
                "starts" if value == "on" || value == "off" => found.travel().starts = value == "on",
                "all" if value == "on" || value == "off" => found.all = value == "on",
                _ => return Err(format!("there is no argument {argument}")),
            }
        }
        if found.ring.as_os_str().is_empty() || found.ram.is_empty() {
            return Err("ring=FILE or ram=FILE is missing".to_owned());
        }
        Ok(found)
    }

    fn travel(&mut self) -> &mut Travel {
        self.travel.get_or_insert_with(Travel::default)
    }
}

/// `START-END`, in hexadecimal.
fn range(text: &str) -> Option<(u64, u64)> {
    let (start, end) = text.split_once('-')?;
    Some((number(start)?, number(end)?))
}

/// `START-END/STRIDE`, in hexadecimal.
fn root_places(text: &str) -> Option<RootPlaces> {
    let (places, stride) = text.split_once('/')?;
    let (start, end) = range(places)?;
    let stride = number(stride).filter(|&stride| stride > 0)?;
    Some(RootPlaces { start, end, stride })
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let given = ["ring=/a b/c", "ram=/memfd:x (deleted)", "records=10", "watch=0x80000-90000", "watch=1-2"];
        let found = Options::parse(given.into_iter().chain(["roots=100-140/20", "all=on"])).unwrap();
        assert_eq!((found.ring.to_str(), found.ram.as_str()), (Some("/a b/c"), "/memfd:x (deleted)"));
        assert_eq!((found.records, found.ranges, found.all), (10, vec![(0x80000, 0x90000), (1, 2)], true));
        let places: Vec<_> = (0xf0..0x150).filter(|&address| found.roots[0].has(address)).collect();
        assert_eq!(places, [0x100, 0x120]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (argument, said) in [
            ("records=0", "records=0: it must be a number from 1 to 268435456"),
            ("records=many", "records=many: it must be a number from 1 to 268435456"),
            ("watch=1", "watch=1: it must be START-END"),
            ("watch=x-y", "watch=x-y: it must be START-END"),
            ("roots=1-2", "roots=1-2: it must be START-END/STRIDE"),
            ("roots=1-2/0", "roots=1-2/0: it must be START-END/STRIDE"),
            ("all=perhaps", "there is no argument all=perhaps"),
            ("colour=red", "there is no argument colour=red"),
        ] {
            assert_eq!(Options::parse(["ring=a", "ram=b", argument]).unwrap_err(), said);
        }
        for given in [&["ring=a"][..], &["ram=a"], &["ring=", "ram=a"]] {
            assert_eq!(Options::parse(given).unwrap_err(), "ring=FILE or ram=FILE is missing");
        }
    }
}
