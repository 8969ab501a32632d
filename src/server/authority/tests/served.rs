//! Proves that tonic answers a client that sends the socket's path, and reads the right header fields.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use super::{DATA, END_HEADERS, END_STREAM, HEADERS, PATH, PREFACE, SETTINGS, frame, string};
use crate::proto::registration::registration_server::{Registration, RegistrationServer};
use crate::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use crate::server::authority::LocalAuthority;

const RST_STREAM: u8 = 3;
const PROTOCOL_ERROR: &[u8] = &[0, 0, 0, 1];

/// Answers with the metadata `x-test` of the request.
struct Echo;

#[tonic::async_trait]
impl Registration for Echo {
    async fn get_info(&self, request: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        assert!(request.extensions().get::<UdsConnectInfo>().is_some());
        let value = request.metadata().get("x-test").and_then(|value| value.to_str().ok());
        Ok(Response::new(PluginInfo {
            name: value.unwrap_or("nothing").to_owned(),
            ..PluginInfo::default()
        }))
    }

    async fn notify_registration_status(
        &self,
        _: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

/// A client that writes its frames by hand.
struct Client {
    stream: UnixStream,
}

impl Client {
    fn connect(socket: &Path) -> Self {
        let mut stream = UnixStream::connect(socket).expect("a server");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a socket");
        stream
            .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
            .expect("a server");
        Self { stream }
    }

    /// Calls GetInfo with those further header fields.
    fn call(&mut self, stream: u32, fields: &[u8]) {
        self.call_resized(stream, b"", fields);
    }

    /// Does so after a change of the dynamic table's size, which must be in front of the first field.
    fn call_resized(&mut self, stream: u32, resize: &[u8], fields: &[u8]) {
        let path = string(b"/pluginregistration.Registration/GetInfo", false);
        let others = b"\x0f\x10\x10application/grpc\x00\x02te\x08trailers";
        let block = [resize, b"\x83\x86\x04", &path, fields, others];
        let frames = [
            frame(HEADERS, END_HEADERS, stream, &block.concat()),
            frame(DATA, END_STREAM, stream, &[0; 5]),
        ];
        self.stream.write_all(&frames.concat()).expect("a server");
    }

    /// The first frame of that kind on that stream.
    fn awaited(&mut self, kind: u8, stream: u32) -> Vec<u8> {
        loop {
            let mut header = [0; 9];
            self.stream.read_exact(&mut header).expect("a frame");
            let [l1, l2, l3, seen, _, s1, s2, s3, s4] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, l1, l2, l3]).try_into().expect("64 bits")];
            self.stream.read_exact(&mut payload).expect("a frame");
            if u32::from_be_bytes([s1, s2, s3, s4]) != stream {
                continue;
            }
            if seen == kind {
                return payload;
            }
            assert_ne!(seen, RST_STREAM, "stream {stream} is reset: {payload:x?}");
        }
    }

    /// Proves that the answer is the status 200 and that the server has read this value of `x-test`.
    fn expect(&mut self, stream: u32, value: &[u8]) {
        let headers = self.awaited(HEADERS, stream);
        assert_eq!(headers.first(), Some(&0x88), "no 200: {headers:x?}");
        let message = self.awaited(DATA, stream);
        assert!(message.ends_with(value), "{message:x?}");
    }
}

/// Runs `client` against a server with the adapter, or without.
async fn with_server(is_adapted: bool, client: impl FnOnce(Client) + Send + 'static) {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("x.sock");
    let connections = UnixListenerStream::new(UnixListener::bind(&socket).expect("a socket"));
    let service = RegistrationServer::new(Echo);
    let server = if is_adapted {
        let adapted = connections.map(|stream| stream.map(LocalAuthority::new));
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(adapted))
    } else {
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(connections))
    };
    tokio::task::spawn_blocking(move || client(Client::connect(&socket)))
        .await
        .expect("the client's checks hold");
    server.abort();
}

fn indexed(authority: &[u8], is_huffman: bool) -> Vec<u8> {
    [b"\x41".as_slice(), &string(authority, is_huffman)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_the_path_is_served() {
    with_server(true, |mut client| {
        client.call(1, &[indexed(PATH, false).as_slice(), b"\x40\x06x-test\x03one"].concat());
        client.expect(1, b"one");
        // Both now come from the table.
        client.call(3, b"\xbf\xbe");
        client.expect(3, b"one");
        client.call(5, &[indexed(b"/var/lib/y.sock", true).as_slice(), b"\xbf"].concat());
        client.expect(5, b"one");
        client.call(
            7,
            b"\x00\x88\xb8\x3b\x53\x39\xec\x32\x7d\x7f\x10%2Fnever-indexed\x7f\x00\x05other",
        );
        client.expect(7, b"other");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_stays_right_while_the_client_evicts() {
    with_server(true, |mut client| {
        let paths: [&[u8]; 4] = [PATH, b"/", b"/run/a-socket-with-a-long-name/x.sock", b"%2Fa"];
        let mut stream = 1;
        for round in 100..140_u8 {
            let path = *paths.get(usize::from(round) % paths.len()).expect("in range");
            let value = round.to_string().into_bytes();
            // Room for the two new entries as the client counts them, and not for an octet more: a server that
            // counted more would drop the older one.
            let room = (32 + ":authority".len() + path.len()) + (32 + "x-test".len() + value.len());
            let resize = [0x3f, u8::try_from(room - 31).expect("small")];
            let new = [indexed(path, round % 3 == 0).as_slice(), b"\x40\x06x-test\x03", &value].concat();
            client.call_resized(stream, &resize, &new);
            client.expect(stream, &value);
            client.call(stream + 2, b"\xbf\xbe");
            client.expect(stream + 2, &value);
            stream += 4;
        }
    })
    .await;
}

/// The reason for the adapter: if this fails, h2 has learned to cope.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_adapter_h2_refuses_the_path() {
    with_server(false, |mut client| {
        client.call(1, &indexed(PATH, false));
        assert_eq!(client.awaited(RST_STREAM, 1), PROTOCOL_ERROR);
    })
    .await;
}
