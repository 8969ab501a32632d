//! Malformed HTTP/2 and gRPC, made by hand and at random.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::common::random::Random;
use super::frames::*;
use super::{DEADLINE, Fixture};

const LIST: &str = "/csi.v1.Controller/ListVolumes";
/// Connections with random changes of an honest one.
const RANDOM: u64 = 1500;
/// What a broken client may make the agent hold, in KiB, over what it holds by itself.
const MOST_MEMORY: u64 = 24 << 10;

#[tokio::test]
async fn malformed_connections_are_ended_and_cost_nothing() {
    let fixture = Fixture::new().await;
    fixture.serves("at first").await;
    let (memory, descriptors) = (fixture.memory(), fixture.descriptors());
    let sockets = [
        fixture.agent.socket(),
        fixture.agent.kubelet("plugins_registry/csi.berth.dev-reg.sock"),
    ];
    let mut count = 0;
    for (what, bytes) in by_hand() {
        for socket in &sockets {
            insult(socket, what, bytes.clone()).await;
            count += 1;
        }
        fixture.serves(what).await;
    }
    let mut random = Random::new(seed());
    for round in 0..RANDOM {
        let bytes = changed(&mut random);
        insult(&sockets[(round % 2) as usize], "random", bytes).await;
        count += 1;
    }
    fixture.serves("after all").await;
    fixture.descriptors_come_back_to(descriptors);
    let most = fixture.most_memory();
    super::common::isolated::figure(&format!(
        "{count} malformed connections; {memory} KiB before, {most} KiB at the most"
    ));
    assert!(
        most < memory + MOST_MEMORY,
        "{memory} KiB before, {most} KiB at the most"
    );
}

fn seed() -> u64 {
    std::env::var("BERTH_TEST_SEED").map_or(0xbe47, |text| text.parse().expect("a number"))
}

/// Sends the bytes and reads to the end, which has to come.
async fn insult(socket: &Path, what: &'static str, bytes: Vec<u8>) {
    let socket: PathBuf = socket.to_owned();
    let sent = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let since = Instant::now();
        // It may be ended before all is sent.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        match stream.take(1 << 20).read_to_end(&mut answer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("it does not end after {what}: {} bytes answered", answer.len())
            }
            _ => assert!(since.elapsed() < DEADLINE, "{what}"),
        }
    });
    sent.await.unwrap();
}

fn by_hand() -> Vec<(&'static str, Vec<u8>)> {
    let with = |frames: Vec<u8>| [hello(), frames].concat();
    let headers = |block: &[u8]| with(frame(HEADERS, END_HEADERS | END_STREAM, 1, block));
    let body = |body: Vec<u8>| {
        let call = frame(HEADERS, END_HEADERS, 1, &call(LIST));
        with([call, frame(DATA, END_STREAM, 1, &body)].concat())
    };
    let flood = |times: u32, make: &dyn Fn(u32) -> Vec<u8>| with((0..times).flat_map(make).collect());
    let large: Vec<u8> = (0..300).flat_map(|_| frame(DATA, 0, 1, &[0; 16_384])).collect();
    vec![
        ("nothing", Vec::new()),
        ("a NUL", vec![0]),
        ("HTTP/1.1", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("half a preface", PREFACE[..12].to_vec()),
        ("a wrong preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        ("the preface alone", PREFACE.to_vec()),
        (
            "a frame before the settings",
            [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        ("half a frame's header", with(vec![0, 0, 9, 1])),
        (
            "a frame of 16 MiB",
            with(announced(0xff_ffff, HEADERS, END_HEADERS, 1, b"x")),
        ),
        ("a frame of an unknown kind", with(frame(0xee, 0xff, 1, &[7; 100]))),
        ("data on the connection itself", with(frame(DATA, 0, 0, b"x"))),
        ("data on no stream", with(frame(DATA, END_STREAM, 7, b"x"))),
        (
            "headers on an even stream",
            with(frame(HEADERS, END_HEADERS, 2, &call(LIST))),
        ),
        (
            "a pushed promise",
            with(frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
        ),
        ("settings of an odd length", with(frame(SETTINGS, 0, 0, &[0; 5]))),
        (
            "settings that cannot be",
            with(frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])),
        ),
        ("settings on a stream", with(frame(SETTINGS, 0, 1, &[]))),
        (
            "a window that overflows",
            with(frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ),
        (
            "a window that grows by nothing",
            with(frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ),
        (
            "a stream that depends on itself",
            with(frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 16])),
        ),
        ("a ping of an odd length", with(frame(PING, 0, 0, &[0; 7]))),
        ("good-bye", with(frame(GO_AWAY, 0, 0, &[0; 8]))),
        (
            "a continuation of nothing",
            with(frame(CONTINUATION, END_HEADERS, 1, b"\x82")),
        ),
        ("an index of nothing", headers(b"\xff\xff\xff\xff\x0f")),
        ("an integer without end", headers(&[0xff; 64])),
        ("a string longer than the block", headers(b"\x00\x7f\xff\xff\x03abc")),
        ("a wrong Huffman code", headers(b"\x00\x84\xff\xff\xff\xff\x00")),
        (
            "a table of 4 GiB",
            headers(&[b"\x3f\xe1\xff\xff\xff\x0f".as_slice(), &call(LIST)].concat()),
        ),
        (
            "more padding than payload",
            with(frame(HEADERS, END_HEADERS | 8, 1, &[0xff, 0x82])),
        ),
        ("no path", headers(b"\x83\x86")),
        ("two paths", headers(&[call(LIST), b"\x04\x02/x".to_vec()].concat())),
        ("a path that is none", headers(&call("*"))),
        (
            "a header with a line break",
            headers(&[call(LIST), b"\x00\x01a\x05b\r\nc:".to_vec()].concat()),
        ),
        ("a header of 60 KiB", with(large_header(4))),
        ("a header of 1 MiB", with(large_header(64))),
        ("a header that grows a thousandfold", with(header_bomb())),
        (
            "continuations without end",
            flood(20_000, &|at| match at {
                0 => frame(HEADERS, 0, 1, b"\x82"),
                _ => frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"),
            }),
        ),
        (
            "empty continuations",
            flood(50_000, &|at| match at {
                0 => frame(HEADERS, 0, 1, b"\x82"),
                _ => frame(CONTINUATION, 0, 1, b""),
            }),
        ),
        (
            "settings without end",
            flood(20_000, &|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])),
        ),
        ("pings without end", flood(20_000, &|_| frame(PING, 0, 0, &[1; 8]))),
        (
            "calls that are given up at once",
            flood(10_000, &|at| {
                let stream = 2 * at + 1;
                [whole_call(stream, LIST), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            }),
        ),
        ("calls without end", flood(5_000, &|at| whole_call(2 * at + 1, LIST))),
        (
            "calls of what is not there",
            flood(1_000, &|at| whole_call(2 * at + 1, &format!("/x{at}/y"))),
        ),
        (
            "empty data without end",
            flood(20_000, &|at| match at {
                0 => frame(HEADERS, END_HEADERS, 1, &call(LIST)),
                _ => frame(DATA, 0, 1, b""),
            }),
        ),
        ("no message", body(Vec::new())),
        ("half a message's header", body(vec![0, 0])),
        ("a message of 4 GiB", body(message(0, u32::MAX, b"x"))),
        (
            "a message of 5 MiB",
            with([frame(HEADERS, END_HEADERS, 1, &call(LIST)), large].concat()),
        ),
        ("a message that is compressed", body(message(1, 3, b"xyz"))),
        ("a message with a strange flag", body(message(7, 0, b""))),
        ("two messages", body([message(0, 0, b""), message(0, 0, b"")].concat())),
        ("a field that ends early", body(message(0, 2, b"\x12\x7f"))),
        ("a field without a number", body(message(0, 2, b"\x00\x00"))),
        ("groups within groups", body(message(0, 4096, &[0x0b; 4096]))),
        ("messages within messages", body(nested())),
    ]
}

/// A block of so many fields of 16 KiB, over as many frames.
fn large_header(fields: u32) -> Vec<u8> {
    let field = [b"\x00\x01a\x7f\x81\x7f".as_slice(), &[b'x'; 16_384]].concat();
    let block = [call(LIST), (0..fields).flat_map(|_| field.clone()).collect()].concat();
    let parts: Vec<_> = block.chunks(16_384).collect();
    let part = |(at, part): (usize, &&[u8])| {
        let kind = if at == 0 { HEADERS } else { CONTINUATION };
        let flags = if at + 1 == parts.len() { END_HEADERS } else { 0 };
        frame(kind, flags, 1, part)
    };
    parts.iter().enumerate().flat_map(part).collect()
}

/// One entry of 4 KiB in the table, and many references to it.
fn header_bomb() -> Vec<u8> {
    let entry = [b"\x40\x01a\x7f\x81\x1e".as_slice(), &[b'x'; 4000]].concat();
    frame(
        HEADERS,
        END_HEADERS,
        1,
        &[call(LIST), entry, vec![0xbe; 12_000]].concat(),
    )
}

/// `volume_capability` within itself, as deep as it goes.
fn nested() -> Vec<u8> {
    let mut inner = Vec::new();
    for _ in 0..500 {
        let length = inner.len();
        let mut outer = vec![0x22];
        prost::encoding::encode_varint(length as u64, &mut outer);
        outer.extend(inner);
        inner = outer;
    }
    message(0, inner.len() as u32, &inner)
}

/// What an honest client sends, with bits turned, parts lost, doubled and moved.
fn changed(random: &mut Random) -> Vec<u8> {
    let mut bytes = hello();
    for call in 0..random.within(1..5) as u32 {
        bytes.extend(whole_call(2 * call + 1, LIST));
    }
    // The preface stays most of the time, else everything ends there.
    let from = if random.once_in(10) { 0 } else { PREFACE.len() as u64 };
    super::common::mutate::bytes(&mut bytes, from as usize, random);
    bytes
}
