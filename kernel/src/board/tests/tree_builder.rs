//! Device trees for tests, as `dtc` would write them.

#[derive(Default)]
pub struct TreeBuilder {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl TreeBuilder {
    /// A tree whose root has begun.
    pub fn new(address_cells: u32, size_cells: u32) -> Self {
        TreeBuilder::default()
            .begin("")
            .property("#address-cells", &address_cells.to_be_bytes())
            .property("#size-cells", &size_cells.to_be_bytes())
            .property("compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0")
    }

    pub fn begin(mut self, name: &str) -> Self {
        self.word(1);
        self.bytes(name.as_bytes());
        self.structure.push(0);
        self.pad();
        self
    }

    pub fn property(mut self, name: &str, value: &[u8]) -> Self {
        let offset = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        for word in [3, value.len() as u32, offset] {
            self.word(word);
        }
        self.bytes(value);
        self.pad();
        self
    }

    /// The words of `reg`, each of one cell.
    pub fn reg(self, cells: &[u32]) -> Self {
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.property("reg", &bytes)
    }

    pub fn token(mut self, token: u32) -> Self {
        self.word(token);
        self
    }

    pub fn end(self) -> Self {
        self.token(2)
    }

    /// A whole memory node.
    pub fn memory(self, name: &str, cells: &[u32]) -> Self {
        self.begin(name).property("device_type", b"memory\0").reg(cells).end()
    }

    /// Ends the root, and gives the blob.
    pub fn blob(self) -> Vec<u8> {
        let TreeBuilder { structure, strings } = self.end().token(9);
        let reservations = 56;
        let total = reservations + structure.len() + strings.len();
        let mut blob = Vec::new();
        for word in [
            0xd00d_feed,
            total,
            reservations,
            reservations + structure.len(),
            40,
            17,
            16,
            0,
            strings.len(),
            structure.len(),
        ] {
            blob.extend((word as u32).to_be_bytes());
        }
        blob.resize(reservations, 0);
        blob.extend(structure);
        blob.extend(strings);
        blob
    }

    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
    }

    fn pad(&mut self) {
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }
}
