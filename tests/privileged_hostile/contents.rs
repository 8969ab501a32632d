//! What a pod may leave in its volume: all of it goes, nothing beyond it does, and nothing in it is run,
//! opened or waited for.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknod};

use super::canary::Canary;
use super::common::disk::run;
use super::common::{Clients, Node, eventually, on_every_filesystem};
use super::soon;

/// How deep, with names so long that no path leads to the end.
const DEEP: usize = 1000;

#[test]
fn privileged_whatever_a_pod_left_in_its_volume_goes_with_it_and_nothing_else_does() {
    let name = "contents::privileged_whatever_a_pod_left_in_its_volume_goes_with_it_and_nothing_else_does";
    on_every_filesystem(name, async |node| {
        let canary = Canary::new(node.home().join("canary"));
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = clients
            .create_with("pod", &[("berth.dev/trash-retention", "1s")])
            .await
            .unwrap();
        leave_everything(&node.volume(&id), canary.path());
        let reader = held_open(&node.volume(&id));
        // Undeleting measures it: every directory is read, and nothing else is opened.
        soon("delete", clients.delete(&id)).await.unwrap();
        soon("undelete", clients.undelete(&id)).await.unwrap();
        soon("delete", clients.delete(&id)).await.unwrap();
        gone(&node, &id).await;
        drop(reader);
        canary.check("the purge");
        soon("the agent works as before", clients.create("next")).await.unwrap();
    });
}

#[test]
fn privileged_a_hard_link_into_another_volume_leaves_that_one_as_it_is() {
    let name = "contents::privileged_a_hard_link_into_another_volume_leaves_that_one_as_it_is";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients: Clients = agent.clients().await;
        let (mine, yours) = (
            clients.create("mine").await.unwrap(),
            clients.create("yours").await.unwrap(),
        );
        for (file, flag) in [("plain", None), ("immutable", Some("+i")), ("append", Some("+a"))] {
            let path = node.volume(&yours).join(file);
            std::fs::write(&path, "yours").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4751)).unwrap();
            std::fs::hard_link(&path, node.volume(&mine).join(file)).unwrap();
            if let Some(flag) = flag {
                run(Command::new("chattr").arg(flag).arg(&path));
            }
        }
        let before = attributes(&node, &yours);
        clients.delete(&mine).await.unwrap();
        gone(&node, &mine).await;
        assert_eq!(attributes(&node, &yours), before);
        for file in ["plain", "immutable", "append"] {
            let path = node.volume(&yours).join(file);
            assert_eq!(std::fs::read(&path).unwrap(), b"yours");
            let found = std::fs::metadata(&path).unwrap();
            assert_eq!((found.mode() & 0o7777, found.nlink()), (0o4751, 1), "{file}");
        }
        // And it goes when its own time has come.
        clients.delete(&yours).await.unwrap();
        gone(&node, &yours).await;
    });
}

fn attributes(node: &Node, id: &str) -> String {
    let output = Command::new("lsattr").arg(node.volume(id)).output().expect("lsattr");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.lines().count() == 3 && text.contains("i-") && text.contains("a-"),
        "{text}"
    );
    text
}

async fn gone(node: &Node, id: &str) {
    eventually("the volume is purged", async || {
        !node.trash(id).exists() && !node.record(id).exists()
    })
    .await;
    assert!(!node.volume(id).exists());
}

fn leave_everything(volume: &Path, canary: &Path) {
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    // Set-user-ID, set-group-ID, nobody's, closed to everybody, sticky.
    for (file, bits) in [("suid", 0o4777), ("sgid", 0o2777), ("both", 0o6000), ("none", 0)] {
        std::fs::write(volume.join(file), "#!/bin/sh\n").unwrap();
        chown(volume.join(file), Some(4_000_000_000), Some(7)).unwrap();
        mode(&volume.join(file), bits);
    }
    for (directory, bits) in [
        ("closed", 0),
        ("sticky", 0o1777),
        ("readonly", 0o555),
        ("group", 0o2000),
    ] {
        let path = volume.join(directory);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), "data").unwrap();
        std::fs::create_dir(path.join("inner")).unwrap();
        std::fs::write(path.join("inner/file"), "data").unwrap();
        for path in [path.join("file"), path.join("inner"), path.clone()] {
            chown(path, Some(1234), Some(1234)).unwrap();
        }
        mode(&path.join("inner"), bits);
        mode(&path, bits);
    }
    // Devices, of which some do something when they are opened; fifos; sockets.
    let directory = volume.join("special");
    std::fs::create_dir(&directory).unwrap();
    for (name, kind, major, minor) in [
        ("null", SFlag::S_IFCHR, 1, 3),
        ("memory", SFlag::S_IFCHR, 1, 1),
        ("watchdog", SFlag::S_IFCHR, 10, 130),
        ("tape", SFlag::S_IFCHR, 9, 0),
        ("disk", SFlag::S_IFBLK, 7, 0),
        ("none", SFlag::S_IFBLK, 250, 250),
        ("fifo", SFlag::S_IFIFO, 0, 0),
    ] {
        let path = directory.join(name);
        mknod(&path, kind, Mode::from_bits_truncate(0o666), makedev(major, minor)).unwrap();
    }
    drop(UnixListener::bind(directory.join("socket")).unwrap());
    for (name, target) in [
        ("out", canary),
        ("file", &canary.join("inner/file")),
        ("loop", Path::new("loop")),
    ] {
        std::os::unix::fs::symlink(target, directory.join(name)).unwrap();
    }
    strange_names(volume);
    deep(volume);
}

fn strange_names(volume: &Path) {
    let names: [&[u8]; 9] = [
        b"new\nline",
        b"\xff\xfe",
        b" ",
        b"-rf",
        b"...",
        b"\x1b[2J",
        b".berth-purge-0",
        "\u{202e}gpj".as_bytes(),
        &[b'x'; 255],
    ];
    for name in names {
        let path = volume.join(OsStr::from_bytes(name));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(OsStr::from_bytes(name)), "data").unwrap();
    }
}

/// Directories within directories that no path is long enough for, with protected ones among them.
fn deep(volume: &Path) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = nix::fcntl::open(volume, flags, Mode::empty()).unwrap();
    let name = "d".repeat(100);
    for _ in 0..DEEP {
        mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
        at = nix::fcntl::openat(at.as_fd(), name.as_str(), flags, Mode::empty()).unwrap();
    }
    let end = nix::fcntl::openat(&at, "end", OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRWXU).unwrap();
    nix::unistd::write(&end, b"data").unwrap();
}

/// A process that has its working directory and an open file in the volume.
struct Reader(Child);

fn held_open(volume: &Path) -> Reader {
    let mut command = Command::new("sleep");
    command.arg("1000").current_dir(volume.join("sticky"));
    command.stdin(std::fs::File::open(volume.join("sticky/file")).unwrap());
    Reader(command.spawn().unwrap())
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
