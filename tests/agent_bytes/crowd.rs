//! Very many connections that say nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::common::http::get;
use super::frames::hello;
use super::{DEADLINE, Fixture};

const CROWD: usize = 10_000;
/// What the crowd may cost, in KiB: a DaemonSet that allows 128 MiB keeps its agent.
const MOST_MEMORY: u64 = 64 << 10;

#[tokio::test]
async fn ten_thousand_idle_connections_keep_nobody_from_being_served() {
    let fixture = Fixture::new().await;
    fixture.serves("at first").await;
    let (memory, descriptors) = (fixture.memory(), fixture.descriptors());
    for greeted in [false, true] {
        let socket = fixture.agent.socket();
        let crowd = tokio::task::spawn_blocking(move || {
            let enter = |_| {
                let mut stream = UnixStream::connect(&socket).expect("the agent listens");
                if greeted {
                    // An agent that turns it away may have done so already.
                    let _ = stream.write_all(&hello());
                }
                stream
            };
            (0..CROWD).map(enter).collect::<Vec<_>>()
        });
        let crowd = crowd.await.unwrap();
        fixture.serves("in a crowd").await;
        let id = fixture.clients.create(&format!("in the crowd {greeted}")).await;
        fixture.clients.delete(&id.expect("a volume")).await.unwrap();
        assert!(fixture.descriptors() < CROWD, "all of them are still there");
        assert_eq!(get(&fixture.agent.http_address(), "/readyz").status, 200);
        super::common::isolated::figure(&format!(
            "{} connections: {memory} KiB before, {} KiB now; {descriptors} descriptors before, {} now",
            crowd.len(),
            fixture.memory(),
            fixture.descriptors()
        ));
        drop(crowd);
        fixture.descriptors_come_back_to(descriptors);
        fixture.serves("after the crowd").await;
    }
    let most = fixture.most_memory();
    assert!(
        most < memory + MOST_MEMORY,
        "{memory} KiB before, {most} KiB at the most"
    );
}

/// Every pod of the cluster may reach that port.
#[tokio::test]
async fn a_crowd_of_strangers_on_the_pages_port_is_sent_away() {
    let fixture = Fixture::new().await;
    fixture.serves("at first").await;
    let (memory, descriptors) = (fixture.memory(), fixture.descriptors());
    let address = fixture.agent.http_address();
    for said in [
        "",
        "GET /metrics HTTP/1.1\r\n",
        "POST /metrics HTTP/1.1\r\nContent-Length: 999999\r\n\r\n",
    ] {
        let mut crowd = Vec::new();
        for _ in 0..2000 {
            let mut stream = TcpStream::connect(&address).expect("the agent listens");
            let _ = stream.write_all(said.as_bytes());
            crowd.push(stream);
        }
        assert_eq!(get(&address, "/healthz").status, 200);
        assert_eq!(get(&address, "/readyz").status, 200);
        fixture.serves("in a crowd of strangers").await;
        let until = Instant::now() + DEADLINE;
        while fixture.descriptors() > descriptors + 80 {
            assert!(Instant::now() < until, "{} descriptors", fixture.descriptors());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let most = fixture.most_memory();
    super::common::isolated::figure(&format!("6000 strangers: {memory} KiB before, {most} KiB at the most"));
    assert!(
        most < memory + MOST_MEMORY / 4,
        "{memory} KiB before, {most} KiB at the most"
    );
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_sent_away_after_a_while() {
    let fixture = Fixture::new().await;
    let address = fixture.agent.http_address();
    for said in [
        "",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!end.as_ref().is_err_and(timed_out), "still connected after {said:?}");
    }
}
