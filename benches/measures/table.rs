//! The figures, their baselines, ratios and targets: printed line by line, and saved as JSON.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};

use super::Measure;

/// The widths of the columns before the last.
const WIDTHS: [usize; 4] = [50, 22, 32, 18];

/// Printed first.
const READING: &str = "\
Each figure is median (least–most) of rounds; the ratio is panzer / baseline in the same round.
Inside: from SIGUSR1 until the new generation is current and the old one is gone; of a restart,
from SIGUSR2 until main says so. What is measured, and beside what: docs/design.md, \"Measuring\".
It needs an idle machine.
";

/// What a median must keep.
#[derive(Clone, Copy)]
pub enum Target {
    /// Nothing: it is there to be seen.
    None,
    /// Of the figure itself.
    AtMost(f64),
    /// The figure at most the first, or the ratio at most the second.
    EitherAtMost(f64, f64),
    /// Of the ratio to the baseline.
    RatioAtMost(f64),
    /// Of the ratio to the baseline.
    RatioAtLeast(f64),
}

/// The middle, the least and the most of some figures.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Of these figures; of none it is not a number.
    pub fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (middle, last) = (sorted.len() / 2, sorted.len().saturating_sub(1));
        Self { median: at(middle), least: at(0), most: at(last) }
    }

    fn shown(&self) -> String {
        let Self { median, least, most } = *self;
        format!("{} ({}–{})", short(median), short(least), short(most))
    }

    fn json(&self) -> String {
        let Self { median, least, most } = *self;
        let [median, least, most] = [median, least, most].map(number);
        format!("{{\"median\":{median},\"min\":{least},\"max\":{most}}}")
    }
}

/// JSON has no word for what is no number.
fn number(figure: f64) -> String {
    if figure.is_finite() { figure.to_string() } else { "null".into() }
}

/// Three digits are enough to read.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ if figure.is_finite() => format!("{figure:.0}"),
        _ => "-".into(),
    }
}

/// All lines so far.
pub struct Table {
    objects: Vec<String>,
    is_whole: bool,
}

impl Table {
    /// An empty one, whose heading is printed, and above it how to read it.
    pub fn new() -> Self {
        say(READING);
        let heading = ("what", "panzer", "baseline", "ratio");
        let (what, ours, theirs, ratio) = heading;
        let columns = [what, ours, theirs, ratio].into_iter().zip(WIDTHS);
        let line: String = columns.map(|(heading, width)| pad(heading, width)).collect();
        say(&(line + "target"));
        Self { objects: Vec::new(), is_whole: true }
    }

    /// Performs a measurement; one that cannot be made is a line, too.
    pub fn perform(&mut self, measure: &Measure) {
        if let Err(error) = (measure.perform)(self) {
            self.is_whole = false;
            say(&format!("{:50} {error}", measure.name));
        }
    }

    /// A figure that stands for itself.
    pub fn figure(&mut self, what: &str, unit: &str, figures: &[f64], target: Target) {
        self.line(what, unit, figures, None, target);
    }

    /// A figure beside the same of a baseline, round by round.
    pub fn compare(
        &mut self,
        what: &str,
        unit: &str,
        ours: &[f64],
        (name, theirs): (&str, &[f64]),
        target: Target,
    ) {
        self.line(what, unit, ours, Some((name, theirs)), target);
    }

    fn line(
        &mut self,
        what: &str,
        unit: &str,
        ours: &[f64],
        baseline: Option<(&str, &[f64])>,
        target: Target,
    ) {
        let spread = Spread::of(ours);
        let mut line =
            pad(&format!("{what}, {unit}"), WIDTHS[0]) + &pad(&spread.shown(), WIDTHS[1]);
        let mut object =
            format!("{{\"what\":\"{what}\",\"unit\":\"{unit}\",\"panzer\":{}", spread.json());
        let mut ratio = None;
        if let Some((name, theirs)) = baseline {
            let ratios: Vec<_> = ours.iter().zip(theirs).map(|(our, their)| our / their).collect();
            let ratios = Spread::of(&ratios);
            let theirs = Spread::of(theirs);
            line += &pad(&format!("{name} {}", theirs.shown()), WIDTHS[2]);
            line += &pad(&ratios.shown(), WIDTHS[3]);
            let _ = write!(
                object,
                ",\"baseline\":\"{name}\",\"theirs\":{},\"ratio\":{}",
                theirs.json(),
                ratios.json()
            );
            ratio = Some(ratios.median);
        } else {
            line += &pad("", WIDTHS[2] + WIDTHS[3] + 1);
        }
        if let Some((limit, is_kept)) = target.judge(spread.median, ratio) {
            let verdict = if is_kept { "kept" } else { "MISSED" };
            line += &format!("{limit} {verdict}");
            let _ = write!(object, ",\"target\":\"{limit}\",\"kept\":{is_kept}");
        }
        say(line.trim_end());
        self.objects.push(object + "}");
    }

    /// Writes all lines as JSON where `BENCH_JSON` says.
    ///
    /// # Errors
    ///
    /// The error of the write.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = std::env::var_os("BENCH_JSON").filter(|path| !path.is_empty()) else {
            return Ok(());
        };
        fs::write(path, format!("[\n{}\n]\n", self.objects.join(",\n")))
    }

    /// Whether every measurement was made.
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl Target {
    /// The target in words, and whether it is kept.
    fn judge(self, figure: f64, ratio: Option<f64>) -> Option<(String, bool)> {
        match self {
            Self::None => None,
            Self::AtMost(limit) => Some((format!("≤ {limit}"), figure <= limit)),
            Self::EitherAtMost(limit, times) => {
                let is_kept = figure <= limit || ratio? <= times;
                Some((format!("≤ {limit} or ≤ {times} ×"), is_kept))
            }
            Self::RatioAtMost(limit) => Some((format!("≤ {limit} ×"), ratio? <= limit)),
            Self::RatioAtLeast(limit) => Some((format!("≥ {limit} ×"), ratio? >= limit)),
        }
    }
}

/// Fills up to a width in characters, with at least one blank.
fn pad(text: &str, width: usize) -> String {
    format!("{text:width$} ")
}

/// Prints a line at once; a closed standard output does not end the bench.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
