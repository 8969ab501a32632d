//! Changes at random, for whatever has to read what it did not write.

#![allow(clippy::cast_possible_truncation, reason = "positions in a few bytes")]

use super::random::Random;

/// Changes `bytes` from `from` on in one to four places: a bit turned, a byte replaced, the end lost, a
/// part lost, doubled or put elsewhere.
pub fn bytes(bytes: &mut Vec<u8>, from: usize, random: &mut Random) {
    for _ in 0..random.within(1..5) {
        if bytes.len() <= from + 1 {
            return;
        }
        let place = |random: &mut Random| random.within(from as u64..bytes.len() as u64) as usize;
        let (a, b) = (place(random), place(random));
        let (start, end) = (a.min(b), a.max(b));
        match random.within(0..7) {
            0 | 1 => bytes[a] ^= 1 << random.within(0..8),
            2 => bytes[a] = random.next() as u8,
            3 => bytes.truncate(a),
            4 => drop(bytes.drain(start..end)),
            5 => {
                let part = bytes[start..end].to_vec();
                bytes.splice(end..end, part);
            }
            _ => {
                let part: Vec<_> = bytes.drain(start..end).collect();
                let at = random.within(from as u64..bytes.len() as u64 + 1) as usize;
                bytes.splice(at..at, part);
            }
        }
    }
}
