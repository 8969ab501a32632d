//! What each type accepts and refuses.

use super::*;

const CLAIM: &str = "pvc-0f9c1f4e-8a53-4c4e-9d0a-5b8f3d7f2c11";

fn name(text: &str) -> VolumeName {
    VolumeName::parse(text).expect("legal name")
}

#[test]
fn a_claim_name_is_its_own_id_and_anything_else_is_hashed() {
    assert_eq!(VolumeId::for_name(&name(CLAIM), 0).as_str(), CLAIM);
    for other in ["mysql", "../../etc", "PVC-1", &CLAIM.to_uppercase(), "pvc-x", "ü\n"] {
        let id = VolumeId::for_name(&name(other), 0);
        assert!(id.as_str().starts_with("vol-"), "{other:?} became {id}");
        assert_eq!(VolumeId::parse(id.as_str()), Ok(id));
    }
    assert_ne!(VolumeId::for_name(&name(CLAIM), 1), VolumeId::for_name(&name(CLAIM), 2));
    assert_ne!(VolumeId::for_name(&name("a"), 0), VolumeId::for_name(&name("b"), 0));
}

#[test]
fn an_id_is_one_harmless_path_component() {
    for good in ["a", "0", CLAIM, &"a".repeat(63)] {
        assert!(VolumeId::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "-a",
        "a-",
        "A",
        "a\0",
        "a\n",
        "é",
        &"a".repeat(64),
    ] {
        assert!(VolumeId::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_name_is_at_most_128_characters_of_any_script() {
    assert!(VolumeName::parse(&"ü".repeat(128)).is_ok());
    assert!(VolumeName::parse(&"ü".repeat(129)).is_err());
    assert!(VolumeName::parse("with\ttab and\nnewline").is_ok());
    for bad in ["", "nul\0", "bell\u{7}", "del\u{7f}", "c1\u{9f}"] {
        assert!(VolumeName::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_range_chooses_what_is_required_and_respects_the_limit() {
    let capacity = |bytes| Capacity::new(bytes).ok();
    let range = |required, limit| CapacityRange { required, limit };
    assert_eq!(range(None, None).choose(), CapacityRange::DEFAULT);
    assert_eq!(range(capacity(5), capacity(9)).choose().bytes(), 5);
    assert_eq!(range(None, capacity(9)).choose().bytes(), 9);
    assert!(range(capacity(5), None).accepts(Capacity(6)));
    assert!(!range(capacity(5), None).accepts(Capacity(4)));
    assert!(!range(None, capacity(9)).accepts(Capacity(10)));
    assert!(Capacity::new(0).is_err());
    assert!(Capacity::new(1 << 63).is_err());
}

#[test]
fn mount_options_come_from_the_list_and_nowhere_else() {
    let parse = |flags: &[&str]| MountOption::parse_all(flags.iter().copied());
    assert_eq!(
        parse(&["noatime,ro", "ro", "nodev"]),
        Ok(vec![MountOption::ReadOnly, MountOption::NoAtime])
    );
    assert_eq!(parse(&["rw"]), Ok(vec![]));
    for bad in ["suid", "dev", "exec", "bind", "remount", "context=x", "RO", "uid=0"] {
        assert!(parse(&[bad]).is_err(), "{bad}");
    }
    assert!(parse(&["ro", "rw"]).is_err());
}

#[test]
fn a_claim_cannot_leave_its_directory() {
    assert!(Claim::parse("default", "data-mysql-0").is_ok());
    assert!(Claim::parse("default", "a.b").is_ok());
    for (namespace, name) in [
        ("..", "a"),
        ("a", ".."),
        ("a", "a/b"),
        ("", "a"),
        ("a", ""),
        ("a", "a..b"),
        ("A", "a"),
    ] {
        assert!(Claim::parse(namespace, name).is_err(), "{namespace:?} {name:?}");
    }
}
