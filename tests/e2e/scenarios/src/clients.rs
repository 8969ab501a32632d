//! As much of three databases' protocols as it takes to store a thing and to ask for it. Their own clients are in no
//! registry of packages, or are many times as large as this program.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(address: &str) -> Result<TcpStream> {
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
    stream?.with_context(|| format!("connecting to {address}"))
}

/// One command to Redis, as its clients send one line, and the first line of the answer; for a string, the string.
pub async fn redis(host: &str, command: &str) -> Result<String> {
    let talk = async {
        let mut stream = BufReader::new(connect(&format!("{host}:6379")).await?);
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        if answer.starts_with('$') {
            answer.clear();
            stream.read_line(&mut answer).await?;
        }
        ensure!(answer.ends_with('\n'), "the connection broke");
        ensure!(!answer.starts_with('-'), "Redis says {answer}");
        Ok(answer.trim_end().to_owned())
    };
    tokio::time::timeout(PATIENCE, talk).await?
}

/// One statement to Cassandra (native protocol 4), and whether `wanted` is in the answer.
pub async fn cassandra(host: &str, statement: &str, wanted: &str) -> Result<()> {
    const STARTUP: u8 = 1;
    const QUERY: u8 = 7;
    const ONE: [u8; 2] = [0, 1];
    let talk = async {
        let mut stream = connect(&format!("{host}:9042")).await?;
        let options = [&[0, 1][..], &short("CQL_VERSION"), &short("3.0.0")].concat();
        cassandra_frame(&mut stream, STARTUP, &options).await?;
        let length = u32::try_from(statement.len())?.to_be_bytes();
        let query = [&length, statement.as_bytes(), &ONE, &[0]].concat();
        let answer = cassandra_frame(&mut stream, QUERY, &query).await?;
        ensure!(
            contains(&answer, wanted),
            "{statement}: {wanted} is not in {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    };
    tokio::time::timeout(PATIENCE, talk).await?
}

async fn cassandra_frame(stream: &mut TcpStream, operation: u8, body: &[u8]) -> Result<Vec<u8>> {
    const ERROR: u8 = 0;
    let length = u32::try_from(body.len())?.to_be_bytes();
    stream
        .write_all(&[&[4, 0, 0, 0, operation], &length[..], body].concat())
        .await?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [_, _, _, _, answer, length @ ..] = head;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).await?;
    if answer == ERROR {
        bail!("Cassandra says {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

fn short(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or_default().to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// BSON's types of values.
const STRING: u8 = 2;
const DOCUMENT: u8 = 3;
const ARRAY: u8 = 4;

/// Stores a document that is one string in the collection `berth`.
pub async fn mongodb_insert(host: &str, text: &str) -> Result<()> {
    let document = bson(&[(STRING, "text", bson_string(text))]);
    let documents = bson(&[(DOCUMENT, "0", document)]);
    let answer = mongodb(
        host,
        &[
            (STRING, "insert", bson_string("berth")),
            (ARRAY, "documents", documents),
        ],
    )
    .await?;
    // {n: 1}, an int32.
    ensure!(
        contains_bytes(&answer, b"\x10n\0\x01\0\0\0"),
        "not stored: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// Looks for it.
pub async fn mongodb_find(host: &str, text: &str) -> Result<()> {
    let answer = mongodb(host, &[(STRING, "find", bson_string("berth"))]).await?;
    ensure!(
        contains(&answer, text),
        "{text} is not in {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// A command in an OP_MSG, and the document of the answer.
async fn mongodb(host: &str, command: &[(u8, &str, Vec<u8>)]) -> Result<Vec<u8>> {
    const OP_MSG: u32 = 2013;
    let talk = async {
        let mut stream = connect(&format!("{host}:27017")).await?;
        let document = bson(&[command, &[(STRING, "$db", bson_string("test"))]].concat());
        let length = u32::try_from(16 + 4 + 1 + document.len())?;
        let head = [length, 1, 0, OP_MSG, 0].map(u32::to_le_bytes).concat();
        stream.write_all(&[&head[..], &[0], &document].concat()).await?;
        let length = stream.read_u32_le().await? as usize;
        let mut answer = vec![0; length.saturating_sub(4)];
        stream.read_exact(&mut answer).await?;
        // {ok: 1.0}, a double.
        let fine = contains_bytes(&answer, b"\x01ok\0\0\0\0\0\0\0\xf0\x3f");
        ensure!(fine, "MongoDB says {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, talk).await?
}

/// A document of elements: type, name, value.
fn bson(elements: &[(u8, &str, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, name, value) in elements {
        body.push(*kind);
        body.extend([name.as_bytes(), &[0], value].concat());
    }
    let length = u32::try_from(body.len() + 5).unwrap_or_default().to_le_bytes();
    [&length, &body[..], &[0]].concat()
}

fn bson_string(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 1).unwrap_or_default().to_le_bytes();
    [&length, text.as_bytes(), &[0]].concat()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    text.is_empty() || contains_bytes(bytes, text.as_bytes())
}

fn contains_bytes(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
