//! Proves what comes out for what goes in, and that tonic then answers.

mod served;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

use super::LocalAuthority;
use super::hpack::tests::string;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &[u8] = b"%2Fvar%2Flib%2Fx.sock";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Numbers without pattern, the same ones each time (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).expect("32 bits") % limit
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// A stream that yields its chunks one by one, with nothing there before each.
struct Chunks {
    chunks: VecDeque<Vec<u8>>,
    is_there: bool,
}

impl AsyncRead for Chunks {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.is_there = !self.is_there;
        if !self.is_there {
            return Poll::Pending;
        }
        if let Some(mut chunk) = self.chunks.pop_front() {
            let later = chunk.split_off(chunk.len().min(target.remaining()));
            target.put_slice(&chunk);
            if !later.is_empty() {
                self.chunks.push_front(later);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What comes out for `input` that arrives in pieces of `chunk` octets, to a reader with as much `room`.
fn through(input: &[u8], chunk: usize, room: usize) -> Vec<u8> {
    let chunks = input.chunks(chunk).map(<[u8]>::to_vec).collect();
    let mut adapter = LocalAuthority::new(Chunks {
        chunks,
        is_there: false,
    });
    let mut output = Vec::new();
    let mut storage = vec![0; room];
    loop {
        let mut target = ReadBuf::new(&mut storage);
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut adapter).poll_read(&mut context, &mut target);
        assert!(
            adapter.held.len() <= super::frames::MAX_BLOCK + room,
            "{} octets held",
            adapter.held.len()
        );
        match polled {
            Poll::Pending => assert!(target.filled().is_empty()),
            Poll::Ready(result) => {
                result.expect("a stream without errors");
                if target.filled().is_empty() {
                    return output;
                }
                output.extend_from_slice(target.filled());
            }
        }
    }
}

/// Proves that pieces and room of any size make no difference, and returns what comes out.
fn rewritten(input: &[u8]) -> Vec<u8> {
    let output = through(input, usize::MAX, 1 << 20);
    for (chunk, room) in [(1, 1), (1, 8192), (2, 3), (7, 8192), (24, 9), (100, 64), (8192, 8192)] {
        assert!(
            through(input, chunk, room) == output,
            "pieces of {chunk}, room for {room}"
        );
    }
    output
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, l1, l2, l3] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[l1, l2, l3, kind, flags], stream.to_be_bytes().as_slice(), payload].concat()
}

/// A connection of those frames.
fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frames.concat()].concat()
}

/// A request's header fields, with this value of the authority.
fn fields(authority: &[u8]) -> Vec<u8> {
    [b"\x83\x86\x41", authority, b"\x40\x02te\x08trailers\xbe"].concat()
}

fn localized() -> Vec<u8> {
    fields(b"\x09localhost")
}

#[test]
fn a_path_is_replaced_raw_and_huffman_coded() {
    for is_huffman in [false, true] {
        let sent = connection(&[
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &fields(&string(PATH, is_huffman))),
            frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"),
            frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x83\x86\xbf\xbe"),
        ]);
        let expected = connection(&[
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &localized()),
            frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"),
            frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x83\x86\xbf\xbe"),
        ]);
        assert_eq!(rewritten(&sent), expected);
    }
}

#[test]
fn padding_goes_and_priority_stays() {
    let fields = fields(&string(PATH, true));
    let priority = b"\x80\0\0\x05\x10";
    for padding in [0_u8, 1, 9, 255] {
        let trailing = vec![0; usize::from(padding)];
        let padded = [&[padding], fields.as_slice(), &trailing].concat();
        let sent = connection(&[frame(HEADERS, END_HEADERS | PADDED, 1, &padded)]);
        assert_eq!(
            rewritten(&sent),
            connection(&[frame(HEADERS, END_HEADERS, 1, &localized())])
        );

        let both = [&[padding], priority.as_slice(), &fields, &trailing].concat();
        let sent = connection(&[frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITY, 1, &both)]);
        let expected = [priority.as_slice(), &localized()].concat();
        assert_eq!(
            rewritten(&sent),
            connection(&[frame(HEADERS, END_HEADERS | END_STREAM | PRIORITY, 1, &expected)])
        );
    }
}

#[test]
fn a_block_may_be_split_anywhere() {
    let expected = connection(&[
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &localized()),
        frame(SETTINGS, 0, 0, &[]),
    ]);
    for is_huffman in [false, true] {
        let fields = fields(&string(PATH, is_huffman));
        for split in 0..=fields.len() {
            let (head, tail) = fields.split_at(split);
            let middle = tail.len() / 2;
            let (tail, last) = tail.split_at(middle);
            let sent = connection(&[
                frame(HEADERS, END_STREAM | PADDED, 1, &[b"\x02", head, b"\0\0"].concat()),
                frame(CONTINUATION, 0, 1, tail),
                frame(CONTINUATION, END_HEADERS, 1, last),
                frame(SETTINGS, 0, 0, &[]),
            ]);
            assert_eq!(rewritten(&sent), expected, "split at {split}");
        }
    }
}

#[test]
fn a_large_block_is_written_in_frames_that_every_receiver_takes() {
    let large = [b"\x00\x01a\x7f\x81\xef\x01".as_slice(), &vec![b'v'; 30_720]].concat();
    let whole = [large.as_slice(), &fields(&string(PATH, false))].concat();
    let (first, second) = whole.split_at(10_000);
    let (second, third) = second.split_at(15_000);
    let priority = b"\0\0\0\0\x01";
    let sent = connection(&[
        frame(HEADERS, PRIORITY, 1, &[priority, first].concat()),
        frame(CONTINUATION, 0, 1, second),
        frame(CONTINUATION, END_HEADERS, 1, third),
    ]);

    let expected = [large.as_slice(), &localized()].concat();
    let (first, second) = expected.split_at(16_384 - 5);
    assert_eq!(
        rewritten(&sent),
        connection(&[
            frame(HEADERS, PRIORITY, 1, &[priority, first].concat()),
            frame(CONTINUATION, END_HEADERS, 1, second),
        ])
    );
}

#[test]
fn what_holds_no_path_passes_as_it_is() {
    let mut random = Random(3);
    let legal = fields(&string(b"localhost", true));
    let (head, tail) = legal.split_at(5);
    let sent = connection(&[
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(HEADERS, END_HEADERS, 1, &legal),
        frame(DATA, 0, 1, &random.octets(16_384)),
        frame(
            DATA,
            END_STREAM,
            1,
            &frame(HEADERS, END_HEADERS, 1, &fields(&string(PATH, false))),
        ),
        frame(
            HEADERS,
            PADDED | PRIORITY,
            3,
            &[b"\x02\0\0\0\0\x05", head, b"\0\0"].concat(),
        ),
        frame(CONTINUATION, 0, 3, &[]),
        frame(CONTINUATION, END_HEADERS, 3, tail),
        frame(DATA, END_STREAM, 3, &[]),
        frame(0xfa, 0xff, 3, &random.octets(100_000)),
        frame(HEADERS, END_HEADERS | END_STREAM, 5, b"\x83\x86\xbf\xbe"),
    ]);
    assert_eq!(rewritten(&sent), sent);
    for end in 0..200 {
        let cut = sent.get(..end).expect("in range");
        assert_eq!(through(cut, 8, 64), cut, "cut at {end}");
    }
}

#[test]
fn what_is_read_in_one_piece_and_not_replaced_is_not_copied() {
    let sent = connection(&[
        frame(HEADERS, END_HEADERS, 1, &fields(&string(b"localhost", true))),
        frame(DATA, END_STREAM, 1, &[0; 1000]),
    ]);
    let chunks = VecDeque::from([sent.clone()]);
    let mut adapter = LocalAuthority::new(Chunks {
        chunks,
        is_there: false,
    });
    let mut storage = vec![0; 8192];
    let mut target = ReadBuf::new(&mut storage);
    assert!(
        Pin::new(&mut adapter)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut target)
            .is_ready()
    );
    assert_eq!(target.filled(), sent);
    assert_eq!((adapter.held.capacity(), adapter.ready.capacity()), (0, 0));
}

#[test]
fn what_is_not_well_formed_passes_to_the_end() {
    let path = frame(HEADERS, END_HEADERS, 1, &fields(&string(PATH, false)));
    let bad: [&[Vec<u8>]; 8] = [
        // A block without a start, in a push, interrupted, on two streams.
        &[frame(CONTINUATION, END_HEADERS, 1, &fields(&string(PATH, false)))],
        &[frame(5, END_HEADERS, 1, &fields(&string(PATH, false)))],
        &[frame(HEADERS, 0, 1, b"\x83"), frame(DATA, 0, 1, b"x")],
        &[
            frame(HEADERS, 0, 1, b"\x83"),
            frame(CONTINUATION, END_HEADERS, 3, b"\x86"),
        ],
        // More padding than there is, no room for the priority, a field cut short.
        &[frame(HEADERS, END_HEADERS | PADDED, 1, b"\x02\x83")],
        &[frame(HEADERS, END_HEADERS | PRIORITY, 1, b"\0\0\0\0")],
        &[frame(HEADERS, END_HEADERS, 1, b"\x41\x09%2Fx")],
        // More than is held back, in one frame.
        &[frame(
            HEADERS,
            END_HEADERS,
            1,
            &[b"\x41\x7f\xf1\xa3\x04".as_slice(), &[b'/'; 70_000]].concat(),
        )],
    ];
    for bad in bad {
        let sent = connection(&[bad.concat(), path.clone()]);
        assert!(rewritten(&sent) == sent, "{:x?}", bad.concat().get(..20));
    }

    // More than is held back, in many frames.
    let mut frames = vec![frame(HEADERS, 0, 1, b"\x41\x7f\xf1\xa3\x04")];
    frames.extend((0..70).map(|_| frame(CONTINUATION, 0, 1, &[b'/'; 1000])));
    let sent = connection(&frames);
    assert!(through(&sent, 1000, 8192) == sent);
    let mut frames = vec![frame(HEADERS, 0, 1, b"\x41")];
    frames.extend((0..8000).map(|_| frame(CONTINUATION, 0, 1, &[])));
    let sent = connection(&frames);
    assert!(through(&sent, 1000, 8192) == sent);
}

#[test]
fn random_octets_pass_when_they_are_no_http_2() {
    let mut random = Random(11);
    for _ in 0..300 {
        let length = random.below(3000);
        let mut sent = random.octets(length);
        assert_eq!(through(&sent, 1 + random.below(500), 1 + random.below(500)), sent);

        let kept = random.below(PREFACE.len());
        sent.splice(..0, PREFACE.iter().copied().take(kept));
        assert_eq!(through(&sent, 1 + random.below(500), 1 + random.below(500)), sent);
    }
}

#[test]
fn random_frames_neither_panic_nor_grow_nor_depend_on_the_pieces() {
    let mut random = Random(5);
    for _ in 0..2000 {
        let mut frames = Vec::new();
        for _ in 0..random.below(8) {
            let length = random.below(60);
            let mut payload = random.octets(length);
            if random.below(2) == 0 {
                let authority = string(PATH, random.below(2) == 0);
                payload = [fields(&authority), payload].concat();
                payload.truncate(random.below(100));
            }
            let kind = [DATA, HEADERS, HEADERS, SETTINGS, CONTINUATION]
                .get(random.below(5))
                .copied()
                .expect("in range");
            let flags = random.next().to_be_bytes()[0] & random.next().to_be_bytes()[0] | END_HEADERS;
            let flags = if random.below(4) == 0 {
                flags & !END_HEADERS
            } else {
                flags
            };
            frames.push(frame(kind, flags, 1, &payload));
        }
        let sent = connection(&frames);
        let whole = through(&sent, usize::MAX, 1 << 20);
        assert!(whole.len() <= 2 * sent.len());
        assert!(through(&sent, 1 + random.below(40), 1 + random.below(40)) == whole);
    }
}
