//! Framing (RFC 9113, section 4): finds the header blocks in what a client sends.

use std::borrow::Cow;

use super::hpack::{self, Malformed};

/// What a client's connection starts with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most that is held back of one header block, frame headers and padding included.
pub const MAX_BLOCK: usize = 64 << 10;

/// The largest payload that every receiver takes (RFC 9113, section 4.2).
const MAX_PAYLOAD: usize = 16_384;

const HEADERS: u8 = 0x1;
const PUSH_PROMISE: u8 = 0x5;
const CONTINUATION: u8 = 0x9;

const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Tells octet by octet what becomes of a client's connection.
///
/// From the first octet on that it does not understand, it lets everything pass: to refuse is h2's part.
#[derive(Debug)]
pub struct Frames {
    state: State,
}

/// What becomes of the octets looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// As many go on as they are.
    Pass(usize),
    /// As many were a header block. What goes on in its stead has been written.
    Replaced(usize),
    /// That cannot be told before more are there: look at the same ones again, with more behind them.
    Wait,
}

#[derive(Debug)]
enum State {
    /// Within the preface, and this is still to come.
    Preface(&'static [u8]),
    /// Where a frame starts.
    Frame,
    /// Within a frame that passes, with as much still to come.
    Payload(usize),
    /// Where a header block starts, the first `seen` octets of which are whole frames.
    Block { stream: u32, seen: usize },
    /// All the rest passes.
    Raw,
}

impl Frames {
    /// Starts where a connection does.
    pub fn new() -> Self {
        Self {
            state: State::Preface(PREFACE),
        }
    }

    /// Says what becomes of the first octets of `input`, which is not empty, and writes replacements to
    /// `output`.
    pub fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Step {
        match self.state {
            State::Preface(awaited) => self.preface(awaited, input),
            State::Frame => self.frame(input, output),
            State::Payload(left) => self.payload(left, input.len()),
            State::Block { stream, seen } => self.block(stream, seen, input, output),
            State::Raw => Step::Pass(input.len()),
        }
    }

    fn preface(&mut self, awaited: &'static [u8], input: &[u8]) -> Step {
        let length = awaited.len().min(input.len());
        let (now, later) = awaited.split_at(length);
        if !input.starts_with(now) {
            return self.give_up(input);
        }
        self.state = if later.is_empty() {
            State::Frame
        } else {
            State::Preface(later)
        };
        Step::Pass(length)
    }

    fn frame(&mut self, input: &[u8], output: &mut Vec<u8>) -> Step {
        let Some(frame) = FrameHeader::read(input) else {
            return Step::Wait;
        };
        match frame.kind {
            HEADERS => self.block(frame.stream, 0, input, output),
            // A block must start with HEADERS, and no client may push.
            CONTINUATION | PUSH_PROMISE => self.give_up(input),
            _ => self.payload(frame.end(), input.len()),
        }
    }

    fn payload(&mut self, left: usize, there: usize) -> Step {
        self.state = if left > there {
            State::Payload(left - there)
        } else {
            State::Frame
        };
        Step::Pass(left.min(there))
    }

    /// Waits for the whole header block, for a field may go across its frames.
    fn block(&mut self, stream: u32, mut seen: usize, input: &[u8], output: &mut Vec<u8>) -> Step {
        loop {
            self.state = State::Block { stream, seen };
            let Some(frame) = input.get(seen..).and_then(FrameHeader::read) else {
                return Step::Wait;
            };
            let awaited = if seen == 0 { HEADERS } else { CONTINUATION };
            let end = seen + frame.end();
            if frame.kind != awaited || frame.stream != stream || end > MAX_BLOCK {
                return self.give_up(input);
            }
            if end > input.len() {
                return Step::Wait;
            }
            seen = end;
            if frame.flags & END_HEADERS != 0 {
                break;
            }
        }
        self.state = State::Frame;
        match localize(input.get(..seen).unwrap_or_default(), output) {
            Ok(true) => Step::Replaced(seen),
            Ok(false) => Step::Pass(seen),
            Err(Malformed) => self.give_up(input),
        }
    }

    fn give_up(&mut self, input: &[u8]) -> Step {
        self.state = State::Raw;
        Step::Pass(input.len())
    }
}

/// Writes the frames of a header block anew if it has an authority to replace, and says whether it has.
fn localize(block: &[u8], output: &mut Vec<u8>) -> Result<bool, Malformed> {
    let (headers, payload, mut rest) = FrameHeader::split(block).ok_or(Malformed)?;
    let (priority, fragment) = headers.contents(payload).ok_or(Malformed)?;
    let mut fields = Cow::Borrowed(fragment);
    while let Some((_, fragment, tail)) = FrameHeader::split(rest) {
        fields.to_mut().extend_from_slice(fragment);
        rest = tail;
    }
    let Some(localized) = hpack::localize(&fields)? else {
        return Ok(false);
    };
    write_block(&headers, priority, &localized, output);
    Ok(true)
}

/// Writes a header block, without padding, in as few frames as it takes.
fn write_block(headers: &FrameHeader, priority: &[u8], fields: &[u8], output: &mut Vec<u8>) {
    let mut frame = FrameHeader {
        flags: headers.flags & !(PADDED | END_HEADERS),
        ..*headers
    };
    let (mut priority, mut fields) = (priority, fields);
    loop {
        let (fragment, rest) = fields.split_at(fields.len().min(MAX_PAYLOAD - priority.len()));
        frame.length = priority.len() + fragment.len();
        if rest.is_empty() {
            frame.flags |= END_HEADERS;
        }
        frame.write(output);
        output.extend_from_slice(priority);
        output.extend_from_slice(fragment);
        if rest.is_empty() {
            return;
        }
        (frame.kind, frame.flags, priority, fields) = (CONTINUATION, 0, &[], rest);
    }
}

/// The nine octets in front of each frame (RFC 9113, section 4.1).
#[derive(Debug)]
struct FrameHeader {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHeader {
    const LENGTH: usize = 9;

    fn read(input: &[u8]) -> Option<Self> {
        let &[l1, l2, l3, kind, flags, s1, s2, s3, s4] = input.first_chunk::<{ Self::LENGTH }>()?;
        Some(Self {
            length: usize::from(l1) << 16 | usize::from(l2) << 8 | usize::from(l3),
            kind,
            flags,
            stream: u32::from_be_bytes([s1, s2, s3, s4]),
        })
    }

    /// Splits `input` into the first frame's header, its payload, and the rest.
    fn split(input: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let frame = Self::read(input)?;
        let (payload, rest) = input.get(Self::LENGTH..)?.split_at_checked(frame.length)?;
        Some((frame, payload, rest))
    }

    /// Where the frame ends, counted from where it starts.
    fn end(&self) -> usize {
        Self::LENGTH + self.length
    }

    /// The priority fields, if any, and the fragment of the header block in the payload of this HEADERS frame
    /// (RFC 9113, section 6.2).
    fn contents<'a>(&self, payload: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (padding, payload) = match self.flags & PADDED {
            0 => (0, payload),
            _ => payload
                .split_first()
                .map(|(length, payload)| (usize::from(*length), payload))?,
        };
        let (priority, payload) = payload.split_at_checked(if self.flags & PRIORITY == 0 { 0 } else { 5 })?;
        let fragment = payload.get(..payload.len().checked_sub(padding)?)?;
        Some((priority, fragment))
    }

    fn write(&self, output: &mut Vec<u8>) {
        let [.., l1, l2, l3] = self.length.to_be_bytes();
        output.extend_from_slice(&[l1, l2, l3, self.kind, self.flags]);
        output.extend_from_slice(&self.stream.to_be_bytes());
    }
}
