//! Whether the scans of a JPEG hold every block of the picture.
//!
//! Decoders fill what is missing with grey and say nothing, strict ones too, as long as the end marker is there: a frame that lost packets
//! on the wire would be judged as a picture. This walks the entropy-coded data without decoding pixels, at a fraction of a decoder's time.
//! Baseline and extended sequential Huffman coding (ITU-T T.81, annexes B.2 and F.2.2), which is what motion JPEG is; bits that are left
//! over before a marker are padding.

use crate::jpeg;

/// Bits that one look into [`Table::short`] takes.
const SHORT: u32 = 8;

/// A Huffman table in canonical form.
#[derive(Clone, Copy)]
struct Table {
    /// By the next eight bits: length and symbol of a code of at most eight bits; length 0: a longer code, or none.
    short: [(u8, u8); 1 << SHORT],
    /// By length: the first 16-bit pattern behind the codes of this length.
    limit: [u32; 17],
    /// By length: what to add to a code for the place of its symbol.
    offset: [i32; 17],
    symbols: [u8; 256],
}

impl Table {
    const EMPTY: Table =
        Table { short: [(0, 0); 1 << SHORT], limit: [0; 17], offset: [0; 17], symbols: [0; 256] };

    /// From the 16 counts and the symbols of a DHT segment; how many bytes of `body` it took.
    fn read(&mut self, body: &[u8]) -> Option<usize> {
        *self = Table::EMPTY;
        let counts = body.get(..16)?;
        let total: usize = counts.iter().map(|&n| usize::from(n)).sum();
        let symbols = body.get(16..16 + total)?;
        self.symbols.get_mut(..total)?.copy_from_slice(symbols);
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..=16).zip(counts) {
            self.offset[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                if length <= SHORT {
                    let first = (code << (SHORT - length)) as usize;
                    let same = self.short.get_mut(first..first + (1 << (SHORT - length)))?;
                    same.fill((length as u8, self.symbols[place]));
                }
                (code, place) = (code + 1, place + 1);
            }
            if code > 1 << length {
                return None;
            }
            self.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(16 + total)
    }
}

/// The bits of a scan, up to the next marker.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The lowest `count` bits come next.
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Takes whole bytes until 48 bits are there or a marker comes.
    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.data.get(self.at) else { return };
            // A zero is stuffed behind each FF of the data.
            match (byte, self.data.get(self.at + 1)) {
                (0xFF, Some(0)) => self.at += 2,
                (0xFF, _) => return,
                _ => self.at += 1,
            }
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next 16 bits, zeros behind the last.
    fn peek(&mut self) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        let bits = match self.count.checked_sub(16) {
            Some(spare) => self.held >> spare,
            None => self.held << (16 - self.count),
        };
        (bits & 0xFFFF) as u32
    }

    /// Passes over so many bits, at most 16; `None` if there are fewer.
    fn skip(&mut self, bits: u32) -> Option<()> {
        if self.count < bits {
            self.fill();
        }
        self.count = self.count.checked_sub(bits)?;
        Some(())
    }

    fn symbol(&mut self, table: &Table) -> Option<u8> {
        let next = self.peek();
        let (mut length, mut symbol) = table.short[(next >> (16 - SHORT)) as usize];
        if length == 0 {
            length = (SHORT as u8 + 1..=16).find(|&l| next < table.limit[usize::from(l)])?;
            let code = (next >> (16 - length)) as i32;
            symbol = *table.symbols.get((code + table.offset[usize::from(length)]) as usize)?;
        }
        self.skip(length.into())?;
        Some(symbol)
    }

    /// One block of 64 coefficients.
    fn block(&mut self, dc: &Table, ac: &Table) -> Option<()> {
        let size = self.symbol(dc).filter(|&s| s <= 16)?;
        self.skip(size.into())?;
        let mut k = 1;
        while k < 64 {
            let symbol = self.symbol(ac)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => break,
                _ => k += u32::from(run) + 1,
            }
            self.skip(size.into())?;
        }
        (k <= 64).then_some(())
    }

    /// Passes over the restart marker of this number, which must come next.
    fn restart(&mut self, number: u8) -> Option<()> {
        self.fill();
        let rest = self.data.get(self.at..)?;
        let fill = rest.iter().take_while(|&&b| b == 0xFF).count();
        let is_marker = fill > 0 && rest.get(fill) == Some(&(0xD0 + number));
        (self.at, self.held, self.count) = (self.at + fill + 1, 0, 0);
        is_marker.then_some(())
    }
}

/// A component of the frame header: its name and sampling factors.
#[derive(Clone, Copy, Default)]
struct Component {
    id: u8,
    h: u32,
    v: u32,
}

/// What the headers before a scan say.
struct Headers {
    size: (u32, u32),
    components: heapless::Vec<Component, 4>,
    /// DC and AC.
    tables: [[Table; 4]; 2],
    /// Units between two restart markers; 0: none.
    interval: u32,
}

/// Whether every block of every component is there. `None`: no, or the file is of another kind.
pub fn is_whole(bytes: &[u8]) -> Option<()> {
    let mut headers = Headers {
        size: (0, 0),
        components: heapless::Vec::new(),
        tables: [[Table::EMPTY; 4]; 2],
        interval: 0,
    };
    let mut scanned = 0;
    for segment in jpeg::segments(bytes) {
        match segment.marker {
            0xC0 | 0xC1 => headers.frame(segment.body)?,
            0xC4 => headers.huffman(segment.body)?,
            0xDD => {
                headers.interval =
                    u16::from_be_bytes(segment.body.get(..2)?.try_into().ok()?).into();
            }
            0xDA => scanned += headers.scan(segment.body)?,
            0xD9 => break,
            // Progressive, lossless and arithmetic coding.
            0xC2..=0xCF if segment.marker != 0xC8 => return None,
            _ => {}
        }
    }
    (scanned > 0 && scanned == headers.components.len()).then_some(())
}

impl Headers {
    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let field = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
        self.size = (field(3)?.into(), field(1)?.into());
        self.components.clear();
        for c in body.get(6..6 + 3 * usize::from(*body.get(5)?))?.chunks(3) {
            let (h, v) = (u32::from(c[1] >> 4), u32::from(c[1] & 15));
            let sound = (1..=4).contains(&h) && (1..=4).contains(&v);
            self.components.push(Component { id: c[0], h, v }).ok().filter(|()| sound)?;
        }
        Some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&what, rest)) = body.split_first() {
            let tables = self.tables.get_mut(usize::from(what >> 4))?;
            let taken = tables.get_mut(usize::from(what & 15))?.read(rest)?;
            body = &rest[taken..];
        }
        Some(())
    }

    /// Walks one scan; how many components it held.
    fn scan(&self, body: &[u8]) -> Option<usize> {
        let count = usize::from(*body.first()?);
        let mut parts = heapless::Vec::<(Component, &Table, &Table), 4>::new();
        for selector in body.get(1..1 + 2 * count)?.chunks(2) {
            let component = *self.components.iter().find(|c| c.id == selector[0])?;
            let dc = self.tables[0].get(usize::from(selector[1] >> 4))?;
            let ac = self.tables[1].get(usize::from(selector[1] & 15))?;
            parts.push((component, dc, ac)).ok()?;
        }
        let most = |of: fn(&Component) -> u32| self.components.iter().map(of).max();
        let (h, v) = (most(|c| c.h)?, most(|c| c.v)?);
        let (width, height) = self.size;
        // A component alone comes block by block of its own size, several come in units of h by v blocks.
        let units = match parts.first_mut()? {
            (c, ..) if count == 1 => {
                let blocks =
                    |side: u32, own: u32, most: u32| (side * own).div_ceil(most).div_ceil(8);
                let units = blocks(width, c.h, h) * blocks(height, c.v, v);
                (c.h, c.v) = (1, 1);
                units
            }
            _ => width.div_ceil(8 * h) * height.div_ceil(8 * v),
        };
        let mut bits = Bits { data: body.get(4 + 2 * count..)?, at: 0, held: 0, count: 0 };
        for unit in 0..units {
            if self.interval > 0 && unit > 0 && unit % self.interval == 0 {
                bits.restart(((unit / self.interval - 1) % 8) as u8)?;
            }
            for (component, dc, ac) in &parts {
                for _ in 0..component.h * component.v {
                    bits.block(dc, ac)?;
                }
            }
        }
        Some(count)
    }
}
