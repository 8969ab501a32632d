//! Values that mean harm, for any field that takes a string: bytes, because a caller may send any.

use super::common::random::Random;

/// How many of the values are put together at random.
const RANDOM: usize = 40;
/// What those are put together of.
const PIECES: [&[u8]; 14] = [
    b"..",
    b"/",
    b".",
    b"\0",
    b"\n",
    b"a",
    b"-",
    "\u{202e}".as_bytes(),
    "\u{ff0f}".as_bytes(),
    "e\u{301}".as_bytes(),
    b"\\",
    b"%2f",
    b"//",
    b"\x1b[2J",
];

/// All of them. `volume` is the ID of a volume that is there.
pub fn hostile(volume: &str, random: &mut Random) -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = [
        // Ways out of a directory.
        "",
        ".",
        "..",
        "/",
        "//",
        "./",
        "../",
        "a/..",
        "a/../../b",
        "../../canary",
        "../../../canary/inner",
        "....//",
        "..\\..\\canary",
        "%2e%2e%2f",
        "..%00/",
        "/etc/passwd",
        "/proc/self/root",
        "/proc/self/cwd",
        "/proc/self/fd/3",
        "/proc/1/root",
        "/dev/mem",
        "~root",
        "a/",
        "a//b",
        // Control characters.
        "\0",
        "a\0",
        "\0a",
        "a\0/../b",
        "\n",
        "a\nb",
        "\r\n",
        "\t",
        " ",
        "\u{7f}",
        "\u{8}",
        "\u{1b}[2J",
        "\u{9b}31m",
        "x\n2026-01-01T00:00:00Z  INFO berth: all is well",
        // Strange Unicode: slashes and dots that are none, right to left, nothing to see, decomposed, large.
        "\u{2215}",
        "\u{ff0f}etc",
        "\u{2024}\u{2024}/",
        "\u{ff0e}\u{ff0e}",
        "\u{202e}cba",
        "\u{200b}",
        "\u{feff}a",
        "\u{e9}",
        "e\u{301}",
        "z\u{300}\u{301}\u{302}\u{303}\u{304}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{fdfa}",
        "\u{130}",
        "\u{10ffff}",
        "\u{fffd}",
        "\u{e000}",
        "\u{2028}",
        // For a shell, a format, an option, a pattern.
        "$(reboot)",
        "`id`",
        "; rm -rf /",
        "| cat",
        "&&",
        "%s%n",
        "{{.Name}}",
        "' OR 1=1",
        "--help",
        "-rf",
        "*",
        "[a-z]",
        "rw,suid,dev",
        "remount",
        "bind",
        "18446744073709551616",
        "-1",
        "1e400",
        "NaN",
        "0x10",
        "null",
        // Berth's own names.
        ".berth",
        "berth.json",
        "volumes",
        "lost+found",
        "x.json",
        "x.purging",
        "x.deleted.1",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for suffix in ["/", "/.", "/..", "\0", "\n", " ", ".json", "/../x"] {
        values.push(format!("{volume}{suffix}").into_bytes());
    }
    values.push(format!(" {volume}").into_bytes());
    values.push(volume.to_uppercase().into_bytes());
    values.extend(lengths());
    values.extend(no_text());
    for _ in 0..RANDOM {
        let pieces = random.within(1..12);
        let piece = |_| PIECES[random.within(0..PIECES.len() as u64) as usize];
        values.push((0..pieces).map(piece).collect::<Vec<_>>().concat());
    }
    values
}

/// At and beyond every length that something allows.
fn lengths() -> impl Iterator<Item = Vec<u8>> {
    let exact = [63, 64, 128, 129, 255, 256, 4095, 4096, 4097].map(|length| b"a".repeat(length));
    let others = ["\u{e9}", "\u{1f6a2}", "/", "../", "a/", "\0"].map(|unit| unit.as_bytes().repeat(4096 / unit.len()));
    exact.into_iter().chain(others).chain([b"a".repeat(100_000)])
}

/// What is no UTF-8: alone, cut off, overlong forms of NUL and `/`, a surrogate, beyond the last.
fn no_text() -> [Vec<u8>; 9] {
    [
        &b"\xff"[..],
        b"a\x80b",
        b"\xe2\x82",
        b"\xc0\x80",
        b"\xc0\xaf..",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xfe\xfe\xff\xff",
    ]
    .map(<[u8]>::to_vec)
}
