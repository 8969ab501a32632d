//! Clients that ask for much and read nothing, and such as send octet by octet.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::frames::{END_STREAM, HEADERS, hello, whole_call};
use super::{DEADLINE, Fixture};

const VOLUMES: usize = 60;
const CLIENTS: usize = 8;
const CALLS: u32 = 500;
/// What they may make the agent hold, in KiB.
const MOST_MEMORY: u64 = 64 << 10;

#[tokio::test]
async fn clients_that_read_nothing_fill_no_memory() {
    let fixture = Fixture::new().await;
    for volume in 0..VOLUMES {
        fixture
            .clients
            .create(&format!("a volume with a long name, {volume}"))
            .await
            .unwrap();
    }
    fixture.serves("at first").await;
    let (memory, descriptors) = (fixture.memory(), fixture.descriptors());
    let socket = fixture.agent.socket();
    let deaf = tokio::task::spawn_blocking(move || {
        let shout = |_| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let calls = (0..CALLS).flat_map(|call| whole_call(2 * call + 1, "/csi.v1.Controller/ListVolumes"));
            // The agent may well stop reading.
            let _ = stream.write_all(&[hello(), calls.collect()].concat());
            stream
        };
        (0..CLIENTS).map(shout).collect::<Vec<_>>()
    });
    let deaf = deaf.await.unwrap();
    fixture.serves("while others read nothing").await;
    let id = fixture.clients.create("meanwhile").await.expect("a volume");
    fixture.clients.delete(&id).await.unwrap();
    let most = fixture.most_memory();
    super::common::isolated::figure(&format!(
        "{} deaf clients, {CALLS} calls each: {memory} KiB before, {most} KiB at the most, pool in {}",
        deaf.len(),
        fixture.home.path().display()
    ));
    assert!(
        most < memory + MOST_MEMORY,
        "{memory} KiB before, {most} KiB at the most"
    );
    // They are still connected, and asked in vain whether they are there.
    fixture.descriptors_come_back_to(descriptors);
    drop(deaf);
    fixture.serves("after they went").await;
}

#[tokio::test]
async fn a_client_that_sends_octet_by_octet_is_served_as_any_other() {
    let fixture = Fixture::new().await;
    let socket = fixture.agent.socket();
    let slow = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        for octet in [hello(), whole_call(1, "/csi.v1.Identity/Probe")].concat() {
            stream.write_all(&[octet]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        // Headers that end the stream are the end of the answer.
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).expect("an answer");
            let [l1, l2, l3, kind, flags, ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, l1, l2, l3]) as usize];
            stream.read_exact(&mut payload).expect("an answer");
            if kind == HEADERS && flags & END_STREAM != 0 {
                break;
            }
        }
    });
    fixture.serves("while one is slow").await;
    slow.await.unwrap();
}
