//! One line of the log, in a fixed buffer.
//!
//! `2026-11-22T18:35:01.123Z INFO panzer:main[123]: generation 8: ready in 132 ms`
//! or, for the journal, `<6>panzer:main[123]: generation 8: ready in 132 ms`.
//!
//! A [`LogLine`] always ends in one newline, has no other, and never has more
//! than 2,048 bytes: what is too long ends in `…`, and control characters are
//! shown as `\x0a`. So one write(2) is one line, whatever a message quotes,
//! and a line can be composed where nothing may be allocated.

use crate::printable;
use crate::types::{Level, Pid, Role};
use core::fmt::{self, Write as _};

/// What stands in place of what did not fit.
const ELLIPSIS: &str = "…";

/// One line of at most [`LogLine::SIZE`] bytes, its newline included.
#[derive(Clone)]
pub struct LogLine {
    /// The text, and after it nothing but newlines.
    bytes: [u8; LogLine::SIZE],
    /// The length of the text without its newline; below [`LogLine::SIZE`].
    used: usize,
    /// Whether something did not fit; then nothing more is taken.
    is_cut: bool,
}

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With the time of the wall clock, in UTC.
    Stamped {
        /// Whole seconds since 1970; what is after the year 9999 is shown as its end.
        unix_secs: u64,
        /// Thousandths of the second, 0 to 999.
        millis: u16,
    },
    /// With the priority that journald reads; it knows the time itself.
    Journal,
}

/// Composes one line of the log. Never fails: see [`LogLine`].
pub fn compose(
    style: Style,
    level: Level,
    role: Role,
    pid: Pid,
    message: fmt::Arguments<'_>,
) -> LogLine {
    let mut line = LogLine::new();
    let begun = match style {
        Style::Stamped { unix_secs, millis } => write_stamp(&mut line, unix_secs, millis)
            .and_then(|()| write!(line, " {} ", level.name())),
        Style::Journal => write!(line, "<{}>", priority(level)),
    };
    // A Line takes everything. Should a value within the message refuse to
    // show itself, the line says what came before it.
    let _ = begun
        .and_then(|()| write!(line, "{}[{pid}]: ", role.name()))
        .and_then(|()| line.write_fmt(message));
    line
}

impl LogLine {
    /// The most bytes of a line, its newline included. One write(2) of up to
    /// 4,096 bytes to a pipe never mixes with another: pipe(7).
    pub const SIZE: usize = 2_048;

    /// A line without text.
    pub const fn new() -> Self {
        Self { bytes: [b'\n'; Self::SIZE], used: 0, is_cut: false }
    }

    /// The text and its newline.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..=self.used).unwrap_or_default()
    }

    /// Adds `piece` as it is, whole or not at all, if `spare` bytes and the
    /// newline still fit after it; says whether it did.
    ///
    /// `piece` has no newline.
    pub(super) fn put(&mut self, piece: &str, spare: usize) -> bool {
        let end = self.used + piece.len();
        if end + spare >= Self::SIZE {
            return false;
        }
        self.bytes[self.used..end].copy_from_slice(piece.as_bytes());
        self.used = end;
        true
    }
}

impl Default for LogLine {
    fn default() -> Self {
        Self::new()
    }
}

/// Never fails: what does not fit is cut, and shown to be.
impl fmt::Write for LogLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_plain && !self.is_cut && self.put(text, ELLIPSIS.len()) {
            return Ok(());
        }
        for c in text.chars() {
            if self.is_cut {
                break;
            }
            if !self.put(printable::show(c, &mut [0; 4]), ELLIPSIS.len()) {
                self.is_cut = true;
                self.put(ELLIPSIS, 0);
            }
        }
        Ok(())
    }
}

/// The number for a level that sd-daemon(3) gives it.
const fn priority(level: Level) -> u32 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

/// Writes `2026-11-22T18:35:01.123Z`.
fn write_stamp(line: &mut LogLine, unix_secs: u64, millis: u16) -> fmt::Result {
    /// The last second of the year 9999, after which a year has five digits.
    const END: u64 = 253_402_300_799;
    let secs = unix_secs.min(END);
    let (year, month, day) = civil(secs / 86_400);
    let (hour, minute, second) = (secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    write!(line, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
    write!(line, ".{:03}Z", u64::from(millis.min(999)))
}

/// The year, month and day that is `days` after 1970-01-01.
///
/// Counts in years that begin with March, so that the leap day is the last of
/// its year, and in eras of 400 years, after which the calendar repeats.
const fn civil(days: u64) -> (u64, u64, u64) {
    /// The days of 400 years.
    const ERA: u64 = 146_097;
    /// The days from 0000-03-01 to 1970-01-01.
    const EPOCH: u64 = 719_468;
    let shifted = days + EPOCH;
    let (era, day_of_era) = (shifted / ERA, shifted % ERA);
    // Takes away the leap days before that day: one in 4 years, none in 100,
    // and the last day of the era counts with its last year.
    let without_leap_days =
        day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096;
    let year_of_era = without_leap_days / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, five months have 153 days, twice over.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{LogLine, Style, civil, compose};
    use crate::types::{Level, Pid, Role};
    use alloc::string::{String, ToString};
    use core::fmt::Write as _;

    const STYLE: Style = Style::Stamped { unix_secs: 1_795_372_501, millis: 123 };

    fn text(line: &LogLine) -> String {
        String::from_utf8(line.as_bytes().to_vec()).expect("a line is text")
    }

    fn info(style: Style, message: &str) -> String {
        let pid = Pid::new(123).expect("it is positive");
        text(&compose(style, Level::Info, Role::Main, pid, format_args!("{message}")))
    }

    #[test]
    fn line_has_time_level_role_pid_and_message() {
        assert_eq!(
            info(STYLE, "generation 8: ready in 132 ms"),
            "2026-11-22T18:35:01.123Z INFO panzer:main[123]: generation 8: ready in 132 ms\n"
        );
    }

    #[test]
    fn journal_line_has_a_priority_and_no_time() {
        assert_eq!(info(Style::Journal, "ready"), "<6>panzer:main[123]: ready\n");
        let pid = Pid::new(1).expect("it is positive");
        for (level, start) in [
            (Level::Error, "<3>"),
            (Level::Warn, "<4>"),
            (Level::Info, "<6>"),
            (Level::Debug, "<7>"),
        ] {
            let line = compose(Style::Journal, level, Role::Worker, pid, format_args!("x"));
            assert_eq!(text(&line), start.to_string() + "panzer:worker[1]: x\n");
        }
    }

    #[test]
    fn control_characters_cannot_break_a_line() {
        assert_eq!(
            info(Style::Journal, "a\n<0>b\r\x1b[2J\u{85}c"),
            "<6>panzer:main[123]: a\\x0a<0>b\\x0d\\x1b[2J\\x85c\n"
        );
    }

    #[test]
    fn long_message_is_cut_with_an_ellipsis() {
        for (unit, length) in [("x", 1), ("é", 2), ("…", 3), ("🦀", 4), ("\0", 4)] {
            for before in 0..8 {
                let message = "y".repeat(before) + &unit.repeat(LogLine::SIZE);
                let line = info(Style::Journal, &message);
                assert!(line.len() <= LogLine::SIZE);
                assert!(line.len() > LogLine::SIZE - 4 - length, "room was left: {}", line.len());
                assert!(line.ends_with("…\n"));
                assert_eq!(line.matches('\n').count(), 1);
            }
        }
    }

    #[test]
    fn nothing_is_written_after_a_cut() {
        for before in 0..8 {
            let mut line = LogLine::new();
            let long = "y".repeat(before) + &"🦀".repeat(600);
            line.write_str(&long).expect("a line takes everything");
            line.write_str("a").expect("a line takes everything");
            assert!(text(&line).ends_with("🦀…\n"));
        }
    }

    #[test]
    fn message_that_just_fits_is_not_cut() {
        let mut line = LogLine::new();
        line.write_str(&"x".repeat(LogLine::SIZE - 4)).expect("a line takes everything");
        assert!(text(&line).ends_with("xx\n"));
        assert_eq!(line.as_bytes().len(), LogLine::SIZE - 3);
    }

    #[test]
    fn empty_line_is_a_newline() {
        assert_eq!(LogLine::default().as_bytes(), b"\n");
    }

    #[test]
    fn dates_are_right_across_leap_years() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_513, (2026, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (2_932_896, (9999, 12, 31)),
        ] {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn consecutive_days_have_consecutive_dates() {
        let mut yesterday = (1969, 12, 31);
        for days in 0..200_000 {
            let (year, month, day) = civil(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = |month| match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match yesterday {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, day) if day == length(month) => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
            assert_eq!((year, month, day), expected);
            yesterday = expected;
        }
    }

    #[test]
    fn time_beyond_the_year_9999_is_shown_as_its_end() {
        let mad = Style::Stamped { unix_secs: u64::MAX, millis: u16::MAX };
        assert!(info(mad, "x").starts_with("9999-12-31T23:59:59.999Z "));
    }
}
