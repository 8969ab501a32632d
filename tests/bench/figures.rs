//! Turning latencies into figures, and figures into the table.

use std::{fmt, time::Duration};

/// What one round of operations took.
#[derive(Clone, Copy)]
pub struct Sample {
    pub p50: f64,
    pub p99: f64,
    pub per_second: f64,
}

impl Sample {
    /// Sums up the latencies of operations that took `elapsed` together.
    pub fn new(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        Self {
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        }
    }

    /// Returns the median of each figure over several rounds.
    pub fn median(rounds: &[Self]) -> Self {
        Self {
            p50: median(rounds.iter().map(|round| round.p50)),
            p99: median(rounds.iter().map(|round| round.p99)),
            per_second: median(rounds.iter().map(|round| round.per_second)),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, per_second } = self;
        write!(f, "p50 {}, p99 {}, {per_second:.0}/s", millis(*p50), millis(*p99))
    }
}

/// Formats seconds as milliseconds.
pub fn millis(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}

/// Returns a percentile of sorted latencies in seconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted
        .get(sorted.len() * percent / 100)
        .map_or(f64::NAN, Duration::as_secs_f64)
}

/// Returns the median, of an even number of values the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    let lower = sorted.len().saturating_sub(1) / 2;
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => f64::NAN,
    }
}

/// Returns the least and the greatest value.
pub fn range(values: &[f64]) -> (f64, f64) {
    (
        values.iter().copied().fold(f64::INFINITY, f64::min),
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// What a figure should come to.
#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64, &'static str),
    AtLeast(f64, &'static str),
}

impl Target {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Self::AtMost(limit, _) if value <= limit => "ok",
            Self::AtMost(..) => "over",
            Self::AtLeast(limit, _) if value >= limit => "ok",
            Self::AtLeast(..) => "under",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit, unit) => write!(f, "≤ {limit}{unit}"),
            Self::AtLeast(limit, unit) => write!(f, "≥ {limit}{unit}"),
        }
    }
}

/// The table: figure, measured, target, verdict.
#[derive(Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
}

impl Report {
    /// Tells whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a figure that has no target.
    pub fn note(&mut self, figure: impl Into<String>, measured: impl Into<String>) {
        self.rows
            .push([figure.into(), measured.into(), String::new(), String::new()]);
    }

    /// Adds a figure beside its target.
    pub fn judge(&mut self, figure: impl Into<String>, measured: impl Into<String>, value: f64, target: Target) {
        let verdict = target.verdict(value).to_owned();
        self.rows
            .push([figure.into(), measured.into(), target.to_string(), verdict]);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["figure", "measured", "target", ""].map(str::to_owned);
        let width = |column: fn(&[String; 4]) -> &String| {
            let cells = self.rows.iter().chain([&heading]);
            cells.map(|row| column(row).chars().count()).max().unwrap_or(0)
        };
        let widths = (width(|[a, ..]| a), width(|[_, b, ..]| b), width(|[_, _, c, _]| c));
        for [figure, measured, target, verdict] in [&heading].into_iter().chain(&self.rows) {
            let (a, b, c) = widths;
            let line = format!("{figure:a$}  {measured:b$}  {target:c$}  {verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
