//! Malformed HTTP/1 on the port of the pages.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::common::http::get;
use super::common::{mutate, random::Random};
use super::{DEADLINE, Fixture};

const HONEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: node:9808\r\nAccept: */*\r\nConnection: close\r\n\r\n";
const RANDOM: usize = 500;
const MOST_MEMORY: u64 = 16 << 10;

#[tokio::test]
async fn malformed_requests_for_pages_are_ended_and_cost_nothing() {
    let fixture = Fixture::new().await;
    fixture.serves("at first").await;
    let (memory, descriptors) = (fixture.memory(), fixture.descriptors());
    let address = fixture.agent.http_address();
    let mut random = Random::new(0xbe47);
    let mut requests: Vec<Vec<u8>> = vec![
        b"\0".repeat(100),
        b"GET".to_vec(),
        [b"GET /".as_slice(), &b"x".repeat(1 << 20), b" HTTP/1.1\r\n\r\n"].concat(),
        [b"GET /metrics HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(200_000)].concat(),
        [b"GET /metrics HTTP/1.1\r\na: ".as_slice(), &b"x".repeat(4 << 20)].concat(),
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n".to_vec(),
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        HONEST.repeat(1000),
    ];
    requests.extend((0..RANDOM).map(|_| {
        let mut bytes = HONEST.to_vec();
        mutate::bytes(&mut bytes, 0, &mut random);
        bytes
    }));
    for request in &requests {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // It may be ended before all is sent, and by force.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let hangs = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        let shown = String::from_utf8_lossy(&request[..request.len().min(100)]);
        assert!(!hangs, "no end after {shown:?}");
    }
    assert_eq!(get(&address, "/metrics").status, 200);
    fixture.serves("after all").await;
    fixture.descriptors_come_back_to(descriptors);
    let most = fixture.most_memory();
    super::common::isolated::figure(&format!(
        "{} malformed requests; {memory} KiB before, {most} KiB at the most",
        requests.len()
    ));
    assert!(
        most < memory + MOST_MEMORY,
        "{memory} KiB before, {most} KiB at the most"
    );
}
