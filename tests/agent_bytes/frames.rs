//! HTTP/2 by hand (RFC 9113): what clients send, and what they must not.

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GO_AWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    announced(payload.len(), kind, flags, stream, payload)
}

/// A frame that says it is of another length than it is.
pub fn announced(length: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [.., l1, l2, l3] = (length as u64).to_be_bytes();
    let mut bytes = vec![l1, l2, l3, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The preface with the client's settings.
pub fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The header block of a call, with no field that needs a table.
pub fn call(path: &str) -> Vec<u8> {
    let mut block = b"\x83\x86\x04".to_vec();
    block.push(u8::try_from(path.len()).unwrap());
    block.extend(path.as_bytes());
    block.extend(b"\x01\x09localhost\x0f\x10\x10application/grpc\x00\x02te\x08trailers");
    block
}

/// A gRPC message with a length in front.
pub fn message(compressed: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[compressed][..], &length.to_be_bytes(), body].concat()
}

/// A whole call of `path` with an empty message.
pub fn whole_call(stream: u32, path: &str) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, stream, &call(path));
    [headers, frame(DATA, END_STREAM, stream, &message(0, 0, b""))].concat()
}
