//! What there is on the disk and in the mount table, line by line, in the model's words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::caller;
use super::step::Site;
use crate::common::disk::mounts_beneath;

/// Mount options that the model knows.
const OPTIONS: [&str; 4] = ["noatime", "noexec", "nosuid", "ro"];

/// Looks at a node at `home`.
pub fn lines(home: &Path) -> BTreeSet<String> {
    let pool = home.join("pool");
    let mut lines = BTreeSet::new();
    let mut purging = BTreeSet::new();
    for name in names(&pool.join(".berth/records")) {
        let (id, state) = name.split_once('.').unwrap_or((&name, ""));
        let state = state.split('.').next().unwrap_or_default();
        if state == "purging" {
            purging.insert(id.to_owned());
            lines.insert(format!("record {id} {state}"));
        } else if let Ok(bytes) = fs::read(pool.join(".berth/records").join(&name)) {
            lines.insert(format!("record {id} {state} {}", record(&bytes, id)));
        }
    }
    for (area, path) in [("volumes", "volumes"), ("trash", ".berth/trash")] {
        for id in names(&pool.join(path)) {
            let line = if area == "trash" && purging.contains(&id) {
                Some(format!("trash/{id}"))
            } else {
                directory(&pool.join(path).join(&id)).map(|line| format!("{area}/{id} {line}"))
            };
            lines.extend(line);
        }
    }
    lines.extend(
        names(&pool.join(".berth/staging"))
            .into_iter()
            .map(|name| format!("staging/{name}")),
    );
    lines.extend(links(&pool));
    let mounts = mounts(home);
    lines.extend(Site::REAL.map(|site| format!("{site:?}: {}", place(home, site, &mounts))));
    if names(&home.join("outside")) != ["canary"] {
        lines.insert("somebody was outside".to_owned());
    }
    lines
}

/// When the volumes were made, as their records tell.
pub fn times(home: &Path) -> BTreeMap<String, u64> {
    let records = home.join("pool/.berth/records");
    let mut times = BTreeMap::new();
    for name in names(&records) {
        let body = fs::read(records.join(&name)).ok().and_then(|bytes| body(&bytes));
        if let (Some(body), Some((id, _))) = (body, name.split_once('.')) {
            times.insert(id.to_owned(), body["created_at"].as_u64().unwrap_or_default());
        }
    }
    times
}

fn body(bytes: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .ok()
        .map(|mut sealed| sealed["body"].take())
}

/// Whether a record is sound, the checksum tells: the harness damages no more than that.
fn record(bytes: &[u8], id: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    match body(bytes) {
        Some(body) if !text.contains(super::world::DAMAGE) => format!(
            "{:?} of {} MiB{}",
            body["name"].as_str().unwrap_or_default(),
            body["capacity_bytes"].as_u64().unwrap_or_default() >> 20,
            if body["id"] == id {
                ""
            } else {
                ", but speaks of another volume"
            }
        ),
        _ => "damaged".to_owned(),
    }
}

/// A volume's directory; `None` if it goes at this moment.
fn directory(path: &Path) -> Option<String> {
    let status = fs::symlink_metadata(path).ok()?;
    let content = fs::read_to_string(path.join("data")).unwrap_or_default();
    let kind = if status.is_dir() { "" } else { ", no directory" };
    let mode = status.mode() & 0o7777;
    Some(format!(
        "{mode:04o} {}:{} {content:?}{kind}",
        status.uid(),
        status.gid()
    ))
}

fn links(pool: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for namespace in names(&pool.join("by-claim")) {
        lines.push(format!("by-claim/{namespace}"));
        for name in names(&pool.join("by-claim").join(&namespace)) {
            let leads = fs::read_link(pool.join("by-claim").join(&namespace).join(&name)).unwrap_or_default();
            lines.push(format!("by-claim/{namespace}/{name} -> {}", leads.display()));
        }
    }
    lines
}

/// What is mounted beneath the kubelet's directory: where, the name of the directory it shows, and
/// its options.
fn mounts(home: &Path) -> Vec<(PathBuf, String)> {
    if mounts_beneath(&home.join("kubelet")).is_empty() {
        return Vec::new();
    }
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let mut found = Vec::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let point = PathBuf::from(fields[4]);
        if point.starts_with(home.join("kubelet")) {
            let shown: Vec<_> = fields[5].split(',').collect();
            let id = fields[3].rsplit('/').next().unwrap_or_default();
            let options: BTreeSet<_> = OPTIONS.into_iter().filter(|option| shown.contains(option)).collect();
            let devices = if shown.contains(&"nodev") { "" } else { " with devices" };
            found.push((point, format!("mount of {id} {options:?}{devices}")));
        }
    }
    found
}

fn place(home: &Path, site: Site, mounts: &[(PathBuf, String)]) -> String {
    let path = caller::path(home, site);
    let here: Vec<_> = mounts.iter().filter(|(point, _)| *point == path).collect();
    match (here.as_slice(), fs::symlink_metadata(&path)) {
        ([(_, mount)], _) => mount.clone(),
        ([_, _, ..], _) => format!("{} mounts on each other", here.len()),
        ([], Err(_)) => "nothing".to_owned(),
        ([], Ok(status)) if !status.is_dir() => "foreign".to_owned(),
        ([], Ok(_)) if names(&path).is_empty() => "directory".to_owned(),
        ([], Ok(_)) => "full".to_owned(),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
