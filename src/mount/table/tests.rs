#[path = "../../../tests/common/mutate.rs"]
mod mutate;
#[path = "../../../tests/common/random.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod random;

use std::path::Path;

use super::*;
use random::Random;

/// Inputs made of each text of the corpus.
const INPUTS: u64 = 4000;

#[test]
fn mountinfo_is_read_with_its_escapes() {
    let text = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\nnonsense\n\
                37 35 0:44 / / rw - xfs /dev/sda rw\n";
    let mounts: Vec<_> = parse(text).collect();
    assert_eq!(mounts.len(), 2);
    assert_eq!(mounts[0].mount_point, Path::new("/mnt 2"));
    assert_eq!(mounts[0].device, (98, 0));
    assert_eq!(mounts[1].root, Path::new("/"));
}

/// Both ways of reading agree about this very namespace.
#[test]
fn listmount_and_mountinfo_tell_the_same() {
    let mut fast = Mounts::default();
    if mount_table::list().is_err() {
        // Kernels before 6.8 have one way only, so there is nothing to compare.
        return;
    }
    fast.refresh().expect("listmount");
    let mut slow = Mounts::default();
    slow.refresh_from_text().expect("mountinfo");
    let sorted = |state: &Mounts| {
        let mut all: Vec<_> = state
            .by_id
            .values()
            .map(|m| (m.mount_point.clone(), m.root.clone(), m.device))
            .collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&fast), sorted(&slow));
    assert!(!fast.by_id.is_empty());
}
/// Whoever may mount something can name a mount point so. On a kernel without listmount(2) that must not
/// hide what else is mounted.
#[test]
fn a_mount_point_that_is_no_text_hides_no_other() {
    let text = include_bytes!("../../../tests/fuzz-corpus/mountinfo/no-text.txt");
    let mounts: Vec<_> = parse(text).collect();
    let points: Vec<_> = mounts
        .iter()
        .map(|mount| mount.mount_point.as_os_str().as_encoded_bytes())
        .collect();
    assert_eq!(points, [&b"/run/user/1000/\xff\xfe\xc0\xaf"[..], b"/mnt/data"]);
}

/// Whatever stands in mountinfo is read without a panic, and no more comes out than went in.
#[test]
fn changed_tables_are_read_within_bounds() {
    let mut random = Random::new(0xbe47);
    let (mut inputs, mut found) = (0, 0);
    for text in [
        &include_bytes!("../../../tests/fuzz-corpus/mountinfo/container.txt")[..],
        include_bytes!("../../../tests/fuzz-corpus/mountinfo/escapes.txt"),
        include_bytes!("../../../tests/fuzz-corpus/mountinfo/no-text.txt"),
        include_bytes!("../../../tests/fuzz-corpus/mountinfo/numbers.txt"),
    ] {
        for _ in 0..INPUTS {
            let mut text = text.to_vec();
            mutate::bytes(&mut text, 0, &mut random);
            let length = |path: &Path| path.as_os_str().len();
            let mounts: Vec<_> = parse(&text).collect();
            let paths: usize = mounts
                .iter()
                .map(|mount| length(&mount.root) + length(&mount.mount_point))
                .sum();
            assert!(paths <= text.len(), "{paths} of {}", text.len());
            inputs += 1;
            found += mounts.len();
        }
    }
    println!("{inputs} tables, {found} mounts in them");
    assert!(found > 0);
}
