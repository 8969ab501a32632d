//! The rules of the house, read off the source: which module may know which, and what may stand
//! where. Tests inside the modules are left out: they may look at everything.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// No file has as many lines as this.
const LONGEST_FILE: usize = 450;

/// What a module may use of this crate beside itself. Arrows point down only.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("csi", &["engine", "mount", "proto", "volume"]),
    ("engine", &["backend", "mount", "store", "volume"]),
    ("store", &["sys", "volume"]),
    ("backend", &["sys", "volume"]),
    ("mount", &["sys", "volume"]),
    ("sys", &[]),
    ("volume", &[]),
];

/// What a module must not use of others.
const MUST_NOT_USE: [(&str, &[&str]); 6] = [
    ("csi", &["nix", "libc", "std::fs", "std::os", "tokio::fs", "kube"]),
    ("engine", &["tonic", "prost", "kube", "tokio", "std::fs"]),
    ("store", &["tonic", "prost", "kube", "tokio"]),
    ("backend", &["tonic", "prost", "kube", "tokio"]),
    ("mount", &["tonic", "prost", "kube", "tokio"]),
    ("sys", &["tonic", "prost", "kube", "tokio"]),
];

/// A word of code that may stand in some places only.
const ONLY_IN: [(&str, &[&str]); 5] = [
    ("unsafe", &["src/sys/"]),
    ("anyhow", &["src/main.rs", "src/cli/", "src/demo/"]),
    ("include_proto", &["src/proto.rs"]),
    ("include", &[]),
    ("OUT_DIR", &["src/proto.rs"]),
];

#[test]
fn arrows_point_down_only() {
    let mut found = Vec::new();
    for source in sources("src") {
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.module()) else {
            continue;
        };
        for (line, used) in source.modules_used() {
            if used != source.module() && !allowed.contains(&used.as_str()) {
                found.push(format!("{}:{line}: must not know crate::{used}", source.path));
            }
        }
    }
    report(&found);
}

#[test]
fn each_module_keeps_to_its_own_world() {
    let mut found = Vec::new();
    for source in sources("src") {
        for (_, banned) in MUST_NOT_USE.iter().filter(|(module, _)| *module == source.module()) {
            for (line, path) in banned.iter().flat_map(|banned| source.uses(banned)) {
                found.push(format!("{}:{line}: must not use {path}", source.path));
            }
        }
    }
    report(&found);
}

/// `docker build` sees of the repository only what .dockerignore lets in.
#[test]
fn what_the_sources_include_is_in_the_build_of_the_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignore = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let mut found = Vec::new();
    for source in sources("src") {
        for macro_call in ["include_str!(\"", "include_bytes!(\""] {
            for (at, _) in source.all.match_indices(macro_call) {
                let included = source.all[at + macro_call.len()..].split('"').next().unwrap();
                let file = root.join(&source.path).parent().unwrap().join(included);
                let file = file.canonicalize().unwrap();
                let top = file
                    .strip_prefix(root.canonicalize().unwrap())
                    .unwrap()
                    .iter()
                    .next()
                    .unwrap();
                let let_in = format!("!{}", top.to_str().unwrap());
                if !ignore.lines().any(|line| line == let_in) {
                    found.push(format!("{}: {included} is kept out by .dockerignore", source.path));
                }
            }
        }
    }
    report(&found);
}

#[test]
fn dangerous_and_generated_code_is_fenced_off() {
    let mut found = Vec::new();
    for source in sources("src") {
        for (word, places) in ONLY_IN {
            if !places.iter().any(|place| source.path.starts_with(place)) {
                for line in source.lines_with(word) {
                    found.push(format!("{}:{line}: `{word}` belongs in {places:?} only", source.path));
                }
            }
        }
    }
    report(&found);
}

#[test]
fn every_file_is_short() {
    let long = |source: &Source| source.all.lines().count() >= LONGEST_FILE;
    let message = |source: Source| format!("{}:{LONGEST_FILE}: the file goes on", source.path);
    report(&sources("src").into_iter().filter(long).map(message).collect::<Vec<_>>());
}

#[test]
fn no_test_is_left_out() {
    let mut found = Vec::new();
    // Written so that this very file does not match.
    let attribute = concat!("#[", "ignore");
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (at, line) in source.all.lines().enumerate() {
            if line.trim_start().starts_with(attribute) {
                found.push(format!(
                    "{}:{}: a test that never runs proves nothing",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    report(&found);
}

/// The rules above are worth as much as the reader that they trust.
#[test]
fn the_reader_sees_every_way_of_naming_a_module() {
    let text = "use crate::sys;\n// crate::comment\nuse crate::{\n    store::{Area, layout},\n    mount as m,\n};\n\
                fn f() { crate::engine::go(\"crate::text\"); super::own(); super::super::proto::x() }\n\
                use std::{fs, io};\nlet unsafely = nix::open();\n#[cfg(test)]\nmod tests {\n    use crate::backend;\n}\n";
    let source = Source::new("src/csi/some.rs".to_owned(), text.to_owned());
    let used = source.modules_used();
    let expected = [(1, "sys"), (4, "store"), (5, "mount"), (7, "engine"), (7, "proto")];
    assert_eq!(used, expected.map(|(line, module)| (line, module.to_owned())));
    assert_eq!(source.uses("std::fs"), [(8, "std::fs".to_owned())]);
    assert_eq!(source.uses("nix").len(), 1);
    assert!(source.uses("ni").is_empty());
    assert!(source.lines_with("unsafe").is_empty());
}

fn report(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// A file of this crate.
struct Source {
    /// Its path from the root of the repository.
    path: String,
    all: String,
    /// Its code: comments and strings are blanked, and tests at its end are cut off.
    code: String,
}

fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut left = vec![root.join(directory)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push(Source::new(relative, fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "there is no source in {directory}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

impl Source {
    fn new(path: String, all: String) -> Self {
        let test_file = path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("/fake.rs");
        let code = if test_file { String::new() } else { code_of(&all) };
        Self { path, all, code }
    }

    /// The module directly beneath the crate that the file belongs to.
    fn module(&self) -> &str {
        let name = self.path.split('/').nth(1).unwrap_or_default();
        name.strip_suffix(".rs").unwrap_or(name)
    }

    /// How many `super::` lead from the file's own items to the root of the crate.
    fn depth(&self) -> usize {
        let path = PathBuf::from(self.path.trim_end_matches("/mod.rs"));
        path.components().count() - 1
    }

    /// The modules of the crate that the code names, with the line of each.
    fn modules_used(&self) -> Vec<(usize, String)> {
        let to_root = "super::".repeat(self.depth());
        let mut found: Vec<_> = ["crate::", to_root.as_str()]
            .iter()
            .flat_map(|prefix| self.names_after(prefix))
            .collect();
        found.sort();
        found
    }

    /// The lines that use `path`, which is a crate or one of its modules.
    fn uses(&self, path: &str) -> Vec<(usize, String)> {
        let named = match path.split_once("::") {
            Some((parent, child)) => {
                let mut named = self.names_after(&format!("{parent}::"));
                named.retain(|(_, name)| name == child);
                named
            }
            None => self.names_after(&format!("{path}::")),
        };
        named.into_iter().map(|(line, _)| (line, path.to_owned())).collect()
    }

    /// The first names after each `prefix` in the code, all of them if it is followed by a group.
    fn names_after(&self, prefix: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in starts_of_words(&self.code, prefix) {
            let rest = &self.code[at + prefix.len()..];
            if rest.starts_with('{') {
                found.extend(
                    group(rest)
                        .into_iter()
                        .map(|(offset, name)| (at + prefix.len() + offset, name)),
                );
            } else {
                found.push((at, word(rest).to_owned()));
            }
        }
        found.into_iter().map(|(at, name)| (self.line(at), name)).collect()
    }

    fn lines_with(&self, wanted: &str) -> Vec<usize> {
        let whole = |at: &usize| word(&self.code[*at..]) == wanted;
        starts_of_words(&self.code, wanted)
            .into_iter()
            .filter(whole)
            .map(|at| self.line(at))
            .collect()
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// Where `text` stands in `code` and is not the end of a longer word or path.
fn starts_of_words(code: &str, text: &str) -> Vec<usize> {
    let begins = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    code.match_indices(text)
        .map(|(at, _)| at)
        .filter(|at| begins(*at))
        .collect()
}

/// The word at the start of `code`.
fn word(code: &str) -> &str {
    let end = code
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(code.len());
    &code[..end]
}

/// The first name of each path in `{a::b, c::{d, e}}`, with where it stands.
fn group(code: &str) -> Vec<(usize, String)> {
    let (mut depth, mut found, mut expected) = (0, Vec::new(), false);
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 1 && matches!(c, '{' | ',') {
            expected = true;
        } else if expected && !c.is_whitespace() {
            found.push((at, word(&code[at..]).to_owned()));
            expected = false;
        }
    }
    found
}

/// The source without comments, strings and the tests at its end; every line stays where it is.
fn code_of(source: &str) -> String {
    let production = source
        .find("#[cfg(test)]\nmod tests {")
        .map_or(source, |at| &source[..at]);
    let mut code = String::new();
    let mut in_string = false;
    for line in production.lines() {
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '\\' if in_string => {
                    characters.next();
                }
                // A quote as a character: '"'.
                '\'' if !in_string && characters.peek() == Some(&'"') => {
                    characters.next();
                }
                '"' => in_string = !in_string,
                '/' if !in_string && characters.peek() == Some(&'/') => break,
                _ if in_string => {}
                _ => code.push(c),
            }
        }
        code.push('\n');
    }
    assert!(
        !in_string,
        "a string begins that the reader does not see the end of:\n{source}"
    );
    code
}
