//! The text format of OpenMetrics 1.0, read as strictly as the specification allows.

use std::collections::{BTreeMap, BTreeSet};

/// Every sample by its name and sorted labels, as in the text.
pub type Samples = BTreeMap<String, f64>;

#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    unit: String,
    has_help: bool,
    samples: usize,
}

/// Reads an exposition, or panics with what is wrong with it.
pub fn parse(text: &str) -> Samples {
    let body = text
        .strip_suffix("# EOF\n")
        .expect("the text ends in # EOF and a newline");
    assert!(body.is_empty() || body.ends_with('\n'), "the last line does not end");
    let mut samples = Samples::new();
    let mut seen = BTreeSet::new();
    let mut family = Family::default();
    for line in body.lines() {
        assert!(!line.is_empty() && line.trim() == line, "blank space: {line:?}");
        if let Some(comment) = line.strip_prefix("# ") {
            describe(comment, &mut family, &mut seen);
        } else {
            let (series, value) = sample(line, &family);
            family.samples += 1;
            assert!(samples.insert(series, value).is_none(), "twice: {line}");
        }
    }
    check_histograms(&samples);
    samples
}

/// Reads `KEYWORD name text`, which come before the samples of the family they speak of.
fn describe(comment: &str, family: &mut Family, seen: &mut BTreeSet<String>) {
    let mut words = comment.splitn(3, ' ');
    let (keyword, name, rest) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap_or_default(),
    );
    assert!(is_name(name), "{name:?} is no name");
    if family.name != name {
        assert!(seen.insert(name.to_owned()), "the family {name} is torn apart");
        *family = Family {
            name: name.to_owned(),
            ..Family::default()
        };
    }
    assert_eq!(family.samples, 0, "{name} is described after its samples");
    match keyword {
        "TYPE" if family.kind.is_empty() => rest.clone_into(&mut family.kind),
        "UNIT" if family.unit.is_empty() => {
            assert!(
                name.ends_with(&format!("_{rest}")),
                "{name} does not end in its unit {rest}"
            );
            rest.clone_into(&mut family.unit);
        }
        "HELP" if !family.has_help => family.has_help = !rest.is_empty(),
        other => panic!("{other:?} is unknown or there twice: {comment}"),
    }
}

fn sample(line: &str, family: &Family) -> (String, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').expect("labels end")),
        None => (series, ""),
    };
    let suffix = name
        .strip_prefix(&family.name)
        .unwrap_or_else(|| panic!("{name} is outside its family"));
    let legal: &[&str] = match family.kind.as_str() {
        "gauge" => &[""],
        "counter" => &["_total", "_created"],
        "histogram" => &["_bucket", "_count", "_sum", "_created"],
        other => panic!("{name} has the type {other:?}"),
    };
    assert!(legal.contains(&suffix), "{name} does not fit the type {}", family.kind);
    assert!(family.has_help, "{name} has no help");
    let mut keys = BTreeSet::new();
    for (key, _) in labels_of(labels) {
        assert!(is_name(&key) && keys.insert(key), "labels of {line}");
    }
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    (series.to_owned(), value)
}

fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !text.is_empty() && text.chars().all(legal) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Splits `a="b",c="d"`, with the escapes that the format has.
fn labels_of(mut text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"").expect("a quoted value");
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next().expect("the quote ends") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("an escape").1 {
                    'n' => value.push('\n'),
                    escaped @ ('\\' | '"') => value.push(escaped),
                    other => panic!("\\{other} is no escape"),
                },
                (_, plain) => value.push(plain),
            }
        };
        labels.push((key.to_owned(), value));
        text = &rest[end + 1..];
        text = text.strip_prefix(',').unwrap_or_else(|| {
            assert!(text.is_empty(), "labels are parted by commas: {text}");
            text
        });
    }
    labels
}

/// Buckets rise, count more and more, and end at the count.
fn check_histograms(samples: &Samples) {
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, value) in samples {
        let Some((name, labels)) = series.split_once("_bucket{") else {
            continue;
        };
        let mut labels = labels_of(labels.trim_end_matches('}'));
        let at = labels
            .iter()
            .position(|(key, _)| key == "le")
            .expect("a bucket has a bound");
        let bound: f64 = labels.remove(at).1.replace("+Inf", "inf").parse().expect("a bound");
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        buckets
            .entry(format!("{name}_count{{{}}}", labels.join(",")))
            .or_default()
            .push((bound, *value));
    }
    for (count, mut bounds) in buckets {
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            bounds
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1),
            "{count}: {bounds:?}"
        );
        let last = bounds.last().unwrap();
        assert_eq!((last.0, Some(&last.1)), (f64::INFINITY, samples.get(&count)), "{count}");
        assert!(samples.contains_key(&count.replace("_count{", "_sum{")), "{count}");
    }
}

#[test]
fn what_the_format_forbids_is_not_read() {
    let gauge = "# HELP a A.\n# TYPE a gauge\n";
    let histogram = "# HELP h H.\n# TYPE h histogram\nh_sum{x=\"1\"} 2\nh_count{x=\"1\"} 2\n";
    assert_eq!(parse(&format!("{gauge}a 1\n# EOF\n")).len(), 1);
    let buckets = "h_bucket{x=\"1\",le=\"1\"} 1\nh_bucket{x=\"1\",le=\"+Inf\"} 2\n";
    assert_eq!(parse(&format!("{histogram}{buckets}# EOF\n")).len(), 4);
    for bad in [
        format!("{gauge}a 1\n"),
        format!("{gauge}a 1\n# EOF"),
        format!("{gauge}a one\n# EOF\n"),
        format!("{gauge}a_total 1\n# EOF\n"),
        format!("{gauge}a 1\na 2\n# EOF\n"),
        format!("{gauge}b 1\n# EOF\n"),
        format!("{gauge}a{{x=\"\\z\"}} 1\n# EOF\n"),
        format!("{gauge}a{{x=\"1\",x=\"2\"}} 1\n# EOF\n"),
        format!("{gauge}a 1\n# UNIT a bytes\n# EOF\n"),
        format!("{gauge}# UNIT a bytes\na 1\n# EOF\n"),
        format!("{histogram}h_bucket{{x=\"1\",le=\"+Inf\"}} 1\n# EOF\n"),
        format!("{histogram}h_bucket{{x=\"1\",le=\"1\"}} 2\n# EOF\n"),
    ] {
        assert!(
            std::panic::catch_unwind(|| parse(&bad)).is_err(),
            "read without complaint:\n{bad}"
        );
    }
}
