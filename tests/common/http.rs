//! A small HTTP client for the agent's own pages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer over HTTP.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// Asks for `path` at `host:port`.
pub fn get(address: &str, path: &str) -> Page {
    request(address, "GET", path)
}

/// Sends a request without a body.
pub fn request(address: &str, method: &str, path: &str) -> Page {
    let mut stream = TcpStream::connect(address).expect("the agent listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer in UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .unwrap_or_default()
    };
    Page {
        status: head.split(' ').nth(1).expect("a status").parse().expect("a number"),
        content_type: header("content-type"),
        body: body.to_owned(),
    }
}
