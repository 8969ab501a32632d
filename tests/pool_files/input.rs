//! Inputs: what the corpus holds, and JSON that changes but keeps its form.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::common::random::Random;

/// Every file of a kind, and the golden ones.
pub fn corpus(kind: &str) -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let in_directory = |directory: &Path, prefix: &str| {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut paths: Vec<_> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        paths
    };
    let mut paths = in_directory(&tests.join("fuzz-corpus").join(kind), "");
    paths.extend(in_directory(&tests.join("golden"), kind));
    assert!(paths.len() > 2, "no corpus of {kind}");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The ID that a record speaks of.
pub fn named_json(bytes: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let id = value.pointer("/body/id")?.as_str()?;
    (id.len() < 64 && !id.is_empty()).then(|| id.to_owned())
}

/// The file with another body, in which a few values have changed, and the right checksum. What has no
/// body that can be changed stays as it is.
pub fn reseal(bytes: &[u8], id: &str, random: &mut Random) -> Vec<u8> {
    let Ok(mut file) = serde_json::from_slice::<Value>(bytes) else {
        return bytes.to_vec();
    };
    let Some(body) = file.get_mut("body").filter(|body| body.is_object()) else {
        return bytes.to_vec();
    };
    if body.get("id").is_some() {
        body["id"] = id.into();
    }
    for _ in 0..random.within(0..4) {
        change(body, random);
    }
    let format: u32 = if random.once_in(100) { 2 } else { 1 };
    let body = serde_json::to_string(body).unwrap();
    let digest = Sha256::new()
        .chain_update(format.to_be_bytes())
        .chain_update(&body)
        .finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{{\"format\":{format},\"checksum\":\"sha256:{hex}\",\"body\":{body}}}\n").into_bytes()
}

/// Changes one value somewhere within.
fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !random.once_in(12) => {
            let keys: Vec<_> = fields.keys().cloned().collect();
            let key = &keys[random.within(0..keys.len() as u64) as usize];
            match random.within(0..10) {
                0 => drop(fields.remove(key)),
                1 => drop(fields.insert("unknown".to_owned(), json!(1))),
                2 => {
                    let taken = fields[key].clone();
                    fields.insert(keys[0].clone(), taken);
                }
                _ => change(&mut fields[key], random),
            }
        }
        Value::Array(items) if !items.is_empty() && !random.once_in(4) => {
            let at = random.within(0..items.len() as u64) as usize;
            match random.within(0..4) {
                0 => drop(items.remove(at)),
                1 => items.extend(vec![items[at].clone(); 100]),
                _ => change(&mut items[at], random),
            }
        }
        other => *other = strange(random),
    }
}

fn strange(random: &mut Random) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u32::MAX),
        json!(253_402_300_800_u64),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!(".."),
        json!("../../etc/passwd"),
        json!("a\u{0}b"),
        json!("\u{1b}[2J\n"),
        json!("7777"),
        json!("37777777777"),
        json!("+0770"),
        json!("single_node_writer"),
        json!("noatime"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!({"namespace": "..", "name": "a"}),
        json!({"namespace": "shop", "name": "data"}),
        json!(random.next()),
        json!(format!("{:o}", random.within(0..0o20000))),
    ];
    values[random.within(0..values.len() as u64) as usize].clone()
}
