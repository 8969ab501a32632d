//! What the person at the terminal gets to see.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use super::claim::Inspection;
use super::verdict::Verdict;

const HEADINGS: [&str; 5] = ["CLAIM", "HOST PATH", "BEFORE", "AFTER", "VERDICT"];

/// Prints to standard output, in colour where that is read by a person who likes it.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    colour: bool,
}

impl Report {
    /// A report for standard output as it is (<https://no-color.org>).
    pub fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: std::io::stdout().is_terminal() && !unwanted,
        }
    }

    /// A step that is done.
    pub fn step(self, text: &str, took: Duration) {
        println!("{:>6} ms  {text}", took.as_millis());
    }

    /// A step that failed.
    pub fn failed(self, text: &str, took: Duration) {
        println!("{:>6} ms  {text}: {}", took.as_millis(), self.paint("31", "FAILED"));
    }

    /// Something worth knowing.
    pub fn note(self, text: &str) {
        println!("{:>9}  {text}", "");
    }

    /// Every claim, before and after.
    pub fn table(self, inspections: &[Inspection], pool: &Path) {
        if !inspections.is_empty() {
            print!("\n{}", self.render(inspections, pool));
        }
    }

    fn render(self, inspections: &[Inspection], pool: &Path) -> String {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(inspections.iter().map(|inspection| row(inspection, pool)));
        let widths = rows.iter().fold([0; 5], |widths, row| {
            let mut lengths = row.iter().map(|cell| cell.chars().count());
            widths.map(|width: usize| width.max(lengths.next().unwrap_or(0)))
        });
        let mut text = format!("host paths beneath {}\n", pool.display());
        for [claim, path, before, after, verdict] in &rows {
            let [first, second, third, fourth, _] = widths;
            // Painted after the padding, which counts characters.
            let verdict = match verdict.as_str() {
                "VERDICT" => verdict.clone(),
                "same" => self.paint("32", verdict),
                _ => self.paint("31", verdict),
            };
            // Writing to a string can't fail.
            let _ = writeln!(
                text,
                "{claim:first$}  {path:second$}  {before:third$}  {after:fourth$}  {verdict}"
            );
        }
        text
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

fn row(inspection: &Inspection, pool: &Path) -> [String; 5] {
    let path = &inspection.before.host_path;
    let path = path.strip_prefix(pool).unwrap_or(path).display().to_string();
    let after = inspection.after.as_ref().map(|after| after.tree.checksum().to_string());
    [
        inspection.claim.clone(),
        path,
        inspection.before.tree.checksum().to_string(),
        after.unwrap_or_else(|_| "-".to_owned()),
        inspection.verdict.to_string(),
    ]
}

/// One line about how it all went, and whether it went well: not if one byte or path differs.
pub fn conclude(inspections: &[Inspection]) -> Result<String, String> {
    let bad = inspections
        .iter()
        .filter(|inspection| inspection.verdict != Verdict::Same)
        .count();
    match (inspections.len(), bad) {
        (0, _) => Err("no claim was made, so nothing is proven".to_owned()),
        (all, 0) => Ok(format!("{all} of {all} claims have kept their path and every byte")),
        (all, bad) => Err(format!("{bad} of {all} claims are not what they were")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Inspection, Report, Verdict, conclude};
    use crate::demo::tree::Tree;
    use crate::demo::verdict::State;

    fn inspection(claim: &str, after: &str) -> Inspection {
        let state = |content: &str| {
            let mut tree = Tree::default();
            tree.put(Path::new("file"), content.as_bytes());
            State {
                host_path: Path::new("/pool/volumes/pvc-1").to_owned(),
                tree,
            }
        };
        let (before, after) = (state("content"), Ok(state(after)));
        Inspection {
            claim: claim.to_owned(),
            verdict: Verdict::of(&before, &after),
            before,
            after,
        }
    }

    #[test]
    fn columns_line_up_and_a_change_stands_out() {
        let good = inspection("data-db-0", "content");
        let bad = inspection("data-db-10", "Content");
        let one = good.before.tree.checksum();
        let other = bad.after.clone().map(|after| after.tree.checksum());
        let other = other.unwrap_or(one);
        let text = Report { colour: false }.render(&[good, bad], Path::new("/pool"));
        let expected = format!(
            "host paths beneath /pool\n\
            CLAIM       HOST PATH      BEFORE        AFTER         VERDICT\n\
            data-db-0   volumes/pvc-1  {one}  {one}  same\n\
            data-db-10  volumes/pvc-1  {one}  {other}  CHANGED: file has changed\n"
        );
        assert_ne!(one, other);
        assert_eq!(text, expected);
    }

    #[test]
    fn colours_are_only_for_terminals() {
        let rows = [inspection("data-db-0", "content")];
        let plain = Report { colour: false }.render(&rows, Path::new("/pool"));
        let coloured = Report { colour: true }.render(&rows, Path::new("/pool"));
        assert!(!plain.contains('\x1b'));
        assert!(coloured.contains("\x1b[32msame\x1b[0m"), "{coloured}");
    }

    #[test]
    fn one_changed_claim_spoils_the_conclusion() {
        let good = inspection("data-db-0", "content");
        let bad = inspection("data-db-1", "Content");
        assert!(conclude(std::slice::from_ref(&good)).is_ok());
        assert!(conclude(&[good, bad]).is_err());
        assert!(conclude(&[]).is_err());
    }
}
