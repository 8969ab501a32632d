//! Header compression (RFC 7541): finds `:authority` in a header block, and replaces its value where that
//! holds a path.
//!
//! The block is walked field by field without a dynamic table, for a value that has to be replaced comes as a
//! literal first, and an index into the table later finds what was replaced. Invariants:
//!
//! - Each field keeps its representation and its name. So client and server add the same entries in the same
//!   order, and an index, which counts from the newest entry, means the same entry to both.
//! - No value becomes longer, in octets once decoded. Both sides make room in the table by the sizes that they
//!   see, and the server's are never the larger ones: by induction it holds every entry that the client still
//!   holds. It may hold older ones for longer, to which the client never refers. (A longer value would be
//!   wrong: the server could drop an entry that the client goes on to name.)
//!
//! A literal whose name is an index into the dynamic table is not recognised. Nobody sends `:authority` so, as
//! its name is in the static table; if somebody did, the server would refuse that one request.

/// What stands in for a path, cut short where the path is shorter: any beginning of it is a legal authority.
const LOCALHOST: &[u8] = b"localhost";

/// The index of `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;
const AUTHORITY_NAME: &[u8] = b":authority";
const AUTHORITY_NAME_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];

/// A header block that is not as RFC 7541 wants it.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Returns the header block with `localhost` for each authority that holds a path, or `None` if none does.
pub fn localize(block: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut reader = Reader { block, at: 0 };
    let mut localized = None;
    let mut copied = 0;
    while reader.at < block.len() {
        let Some((start, replacement)) = reader.field()? else {
            continue;
        };
        let output = localized.get_or_insert_with(|| Vec::with_capacity(block.len()));
        output.extend_from_slice(block.get(copied..start).ok_or(Malformed)?);
        output.push(u8::try_from(replacement.len()).map_err(|_| Malformed)?);
        output.extend_from_slice(replacement);
        copied = reader.at;
    }
    if let Some(output) = &mut localized {
        output.extend_from_slice(block.get(copied..).ok_or(Malformed)?);
    }
    Ok(localized)
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads one field representation (section 6). If its value has to be replaced, returns where the value
    /// starts, and by what.
    fn field(&mut self) -> Result<Option<(usize, &'static [u8])>, Malformed> {
        let first = self.octet()?;
        let name_mask = match first.leading_zeros() {
            // Indexed.
            0 => return self.integer(first, 0x7f).map(|_| None),
            // Literal with incremental indexing.
            1 => 0x3f,
            // Dynamic table size update.
            2 => return self.integer(first, 0x1f).map(|_| None),
            // Literal without indexing, or never indexed.
            _ => 0x0f,
        };
        let is_authority = match self.integer(first, name_mask)? {
            0 => self.string()?.is_authority(),
            name => name == AUTHORITY,
        };
        let start = self.at;
        let value = self.string()?;
        if !is_authority {
            return Ok(None);
        }
        Ok(value.replacement()?.map(|replacement| (start, replacement)))
    }

    fn octet(&mut self) -> Result<u8, Malformed> {
        let octet = *self.block.get(self.at).ok_or(Malformed)?;
        self.at += 1;
        Ok(octet)
    }

    /// Reads what follows of an integer whose first octet, with the value's bits under `mask`, has been read
    /// (section 5.1). Takes no more than five octets, like h2.
    fn integer(&mut self, first: u8, mask: u8) -> Result<usize, Malformed> {
        let mut value = usize::from(first & mask);
        if value < usize::from(mask) {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let octet = self.octet()?;
            value += usize::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// Reads a string literal (section 5.2).
    fn string(&mut self) -> Result<Literal<'a>, Malformed> {
        let first = self.octet()?;
        let length = self.integer(first, 0x7f)?;
        let octets = self
            .block
            .get(self.at..)
            .and_then(|rest| rest.get(..length))
            .ok_or(Malformed)?;
        self.at += length;
        Ok(Literal {
            octets,
            huffman: first & 0x80 != 0,
        })
    }
}

struct Literal<'a> {
    octets: &'a [u8],
    huffman: bool,
}

impl Literal<'_> {
    fn is_authority(&self) -> bool {
        self.octets
            == if self.huffman {
                AUTHORITY_NAME_HUFFMAN
            } else {
                AUTHORITY_NAME
            }
    }

    /// What this value has to be replaced by, if it holds a path: no longer than the value is, decoded.
    fn replacement(&self) -> Result<Option<&'static [u8]>, Malformed> {
        let value = if self.huffman {
            Value::decode(self.octets)?
        } else {
            Value::raw(self.octets)
        };
        Ok(if value.is_path {
            LOCALHOST.get(..value.length.min(LOCALHOST.len()))
        } else {
            None
        })
    }
}

/// What matters of a value: its length once decoded, and whether it is a path, escaped or not.
#[derive(Debug, PartialEq, Eq)]
struct Value {
    length: usize,
    is_path: bool,
}

impl Value {
    fn raw(octets: &[u8]) -> Self {
        Self {
            length: octets.len(),
            is_path: octets.iter().any(|octet| matches!(octet, b'%' | b'/')),
        }
    }

    /// Reads the Huffman code of RFC 7541, appendix B. It is canonical, each length's codes follow those of
    /// the length before: so the number of codes of each length tells where a code ends.
    fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        // How many codes there are of 0 bits, of 1 bit, and so on up to 30.
        const CODES: [u32; 31] = [
            0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4,
        ];
        const PERCENT: (usize, u32) = (6, 0x15);
        const SLASH: (usize, u32) = (6, 0x18);
        const END_OF_STRING: (usize, u32) = (30, 0x3fff_ffff);

        let mut value = Self {
            length: 0,
            is_path: false,
        };
        let (mut bits, mut code, mut first) = (0, 0, 0);
        for bit in octets
            .iter()
            .flat_map(|octet| (0..8).rev().map(move |at| octet >> at & 1))
        {
            bits += 1;
            code = code << 1 | u32::from(bit);
            first <<= 1;
            let codes = *CODES.get(bits).ok_or(Malformed)?;
            if code >= first + codes {
                first += codes;
                continue;
            }
            match (bits, code) {
                END_OF_STRING => return Err(Malformed),
                PERCENT | SLASH => value.is_path = true,
                _ => {}
            }
            value.length += 1;
            (bits, code, first) = (0, 0, 0);
        }
        // The last octet is filled up with ones.
        if bits < 8 && code == (1 << bits) - 1 {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::VecDeque;

    use super::super::tests::Random;
    use super::*;

    /// Encodes `text`, of the characters with codes of up to 7 bits.
    pub fn huffman(text: &[u8]) -> Vec<u8> {
        const FIVE: &[u8] = b"012aceiost";
        const SIX: &[u8] = b" %-./3456789=A_bdfghlmnpru";
        const SEVEN: &[u8] = b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz";
        let mut bits = String::new();
        for octet in text {
            let code = [(FIVE, 5, 0), (SIX, 6, 0x14), (SEVEN, 7, 0x5c)]
                .into_iter()
                .find_map(|(set, width, first)| {
                    let at = set.iter().position(|known| known == octet)?;
                    Some(format!("{:0width$b}", first + at))
                });
            bits += &code.expect("a character with a short code");
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let octet = |digits| u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), 2).expect("binary");
        bits.as_bytes().chunks(8).map(octet).collect()
    }

    /// A string literal, of less than 127 octets.
    pub fn string(text: &[u8], is_huffman: bool) -> Vec<u8> {
        let octets = if is_huffman { huffman(text) } else { text.to_vec() };
        let length = u8::try_from(octets.len()).expect("short");
        assert!(length < 127);
        [&[length | if is_huffman { 0x80 } else { 0 }], octets.as_slice()].concat()
    }

    fn read(octets: &[u8]) -> (usize, bool) {
        let value = Value::decode(octets).expect("a Huffman code");
        (value.length, value.is_path)
    }

    #[test]
    fn the_lengths_of_huffman_coded_values_are_exact() {
        // RFC 7541, appendices C.4 and C.6.
        assert_eq!(read(b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), (15, false));
        assert_eq!(read(b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"), (12, false));
        assert_eq!(
            read(b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff"),
            (29, false)
        );
        let url = b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3";
        assert_eq!(read(url), (23, true));
        assert_eq!(huffman(b"https://www.example.com"), url);
        assert_eq!(huffman(b":authority"), AUTHORITY_NAME_HUFFMAN);
        for (path, expected) in [
            ("", false),
            ("%", true),
            ("/", true),
            ("localhost:8080", false),
            ("%2Fvar%2Fx", true),
        ] {
            assert_eq!(read(&huffman(path.as_bytes())), (path.len(), expected), "{path}");
        }
    }

    #[test]
    fn a_bad_huffman_code_is_refused() {
        for bad in [
            // Padding of eight bits, padding with a zero, the end of the string as a symbol.
            [0xff].as_slice(),
            &[0x1e],
            &[0xff; 4],
            &[0xff; 64],
        ] {
            assert_eq!(Value::decode(bad), Err(Malformed), "{bad:x?}");
        }
    }

    #[test]
    fn each_representation_of_a_path_is_replaced_and_keeps_its_first_octets() {
        let names: [&[u8]; 6] = [
            b"\x41",
            b"\x01",
            b"\x11",
            b"\x40\x0a:authority",
            b"\x00\x88\xb8\x3b\x53\x39\xec\x32\x7d\x7f",
            b"\x10\x0a:authority",
        ];
        for name in names {
            for is_huffman in [false, true] {
                let (before, after) = (b"\x3f\xe1\x1f\x83\x86".as_slice(), b"\x0f\x10\x02te\xbe".as_slice());
                let sent = string(b"%2Fvar%2Flib%2Fx.sock", is_huffman);
                let block = [before, name, &sent, after].concat();
                let expected = [before, name, b"\x09localhost", after].concat();
                assert_eq!(localize(&block), Ok(Some(expected)), "{name:x?} {is_huffman}");
            }
        }
    }

    #[test]
    fn what_needs_no_replacement_is_left_alone() {
        for value in [b"localhost".as_slice(), b"", b"node-1:50051", b"unix"] {
            for is_huffman in [false, true] {
                assert_eq!(
                    localize(&[b"\x83\x41".as_slice(), &string(value, is_huffman)].concat()),
                    Ok(None)
                );
            }
        }
        assert_eq!(localize(b""), Ok(None));
        // A path in `:path`, in another name, and an authority from the table.
        assert_eq!(localize(b"\x44\x02/x\x40\x02ab\x02/x\xbe\x81"), Ok(None));
    }

    #[test]
    fn no_value_becomes_longer() {
        for length in 1..20 {
            let value = "/".repeat(length);
            let block = [b"\x41".as_slice(), &string(value.as_bytes(), true)].concat();
            let localized = localize(&block).expect("well formed").expect("a path");
            let new = localized.get(2..).expect("a value");
            assert_eq!(new, LOCALHOST.get(..length.min(9)).expect("in range"));
            assert_eq!(localized.get(1), u8::try_from(new.len()).ok().as_ref());
        }
    }

    #[test]
    fn a_bad_block_is_refused() {
        let block = [b"\x83\x41".as_slice(), &string(b"%2Fx.sock", false), b"\x40\x02ab\x01c"].concat();
        let ends = [1, 12, block.len()];
        for end in 0..block.len() {
            let cut = block.get(..end).expect("in range");
            assert_eq!(localize(cut).is_err(), end > 0 && !ends.contains(&end), "cut at {end}");
        }
        for bad in [
            b"\xff\xff\xff\xff\xff\xff\x7f".as_slice(),
            b"\x41\xff",
            b"\x41\x7f\xff\xff\xff\x7f",
            b"\x41\x81\xff",
        ] {
            assert_eq!(localize(bad), Err(Malformed), "{bad:x?}");
        }
    }

    /// A dynamic table (RFC 7541, section 4) of names and values.
    struct Table {
        entries: VecDeque<(u8, Vec<u8>)>,
        room: usize,
    }

    impl Table {
        fn shrink_to(&mut self, room: usize) {
            let size =
                |entries: &VecDeque<(u8, Vec<u8>)>| entries.iter().map(|entry| 1 + entry.1.len() + 32).sum::<usize>();
            while size(&self.entries) > room {
                self.entries.pop_back();
            }
        }

        fn insert(&mut self, name: u8, value: &[u8]) {
            let size = 1 + value.len() + 32;
            self.shrink_to(self.room.saturating_sub(size));
            if size <= self.room {
                self.entries.push_front((name, value.to_vec()));
            }
        }
    }

    /// Client and server keep tables of their own, and the server's holds the shorter values.
    #[test]
    fn an_index_means_the_same_to_both_sides_whatever_they_evict() {
        let mut random = Random(7);
        for _ in 0..200 {
            let mut client = Table {
                entries: VecDeque::new(),
                room: 300,
            };
            let mut server = Table {
                entries: VecDeque::new(),
                room: 300,
            };
            for _ in 0..200 {
                match random.below(8) {
                    0 => {
                        let room = random.below(400);
                        for table in [&mut client, &mut server] {
                            table.room = room;
                            table.shrink_to(room);
                        }
                    }
                    1..4 => {
                        // A name's index in the static table, 1 being the authority's.
                        let name = u8::try_from(1 + random.below(2)).expect("small");
                        let octet = if random.below(2) == 0 { "/" } else { "v" };
                        let value = octet.repeat(random.below(120)).into_bytes();
                        let block = [&[0x40 | name], string(&value, false).as_slice()].concat();
                        let seen = localize(&block).expect("well formed").unwrap_or(block);
                        client.insert(name, &value);
                        server.insert(name, seen.get(2..).expect("a value"));
                    }
                    _ => {
                        let index = random.below(10);
                        let Some((name, sent)) = client.entries.get(index) else {
                            continue;
                        };
                        let (seen_name, seen) = server.entries.get(index).expect("the server still has it");
                        assert_eq!(seen_name, name);
                        if *name == 1 && sent.starts_with(b"/") {
                            assert!(LOCALHOST.starts_with(seen) && !seen.is_empty());
                        } else {
                            assert_eq!(seen, sent);
                        }
                    }
                }
            }
        }
    }
}
