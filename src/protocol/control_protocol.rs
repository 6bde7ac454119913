//! What is said over the control socket.
//!
//! An operator connects, writes one line, and reads lines until main closes:
//!
//! ```text
//! panzer/1 reload
//!                        progress generation 2 is ready
//!                        done generation 2 is current
//! ```
//!
//! The last line begins with `done`, `failed` or `refused`. The lines before
//! it are `progress`, or records: see [`status_records`](super::status_records).

use crate::decimal;
use crate::log_line::LogLine;
use crate::split::take;
use crate::text::{self, words};
use crate::types::Slot;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

/// The most bytes of a request, its newline included.
pub const LONGEST_REQUEST: usize = 64;
/// The most bytes of a line of an answer, its newline included.
pub const LONGEST_ANSWER: usize = 4_096;

/// What an operator asks of main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// What runs?
    Status,
    /// Replace the current generation.
    Reload,
    /// Replace main itself.
    Restart,
    /// Stop gracefully.
    Shutdown,
    /// Stop now.
    Exit,
    /// Is a generation ready, and main not stopping?
    Ready,
    /// Have another number of workers.
    Scale(Scale),
}

/// Another number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// So many: `N`.
    To(u16),
    /// So many more: `+N`.
    More(u16),
    /// So many fewer: `-N`.
    Less(u16),
}

impl Scale {
    /// Reads `N`, `+N` or `-N`, with N from 1 to [`Slot::LAST`].
    pub fn parse(word: &[u8]) -> Option<Self> {
        let digits = match word {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let number = decimal::parse_short(digits, Slot::LAST).filter(|&number| number > 0)?;
        Some(match word[0] {
            b'+' => Self::More(number),
            b'-' => Self::Less(number),
            _ => Self::To(number),
        })
    }

    /// What becomes of `count`; `None` outside 1 to [`Slot::LAST`].
    pub const fn of(self, count: u16) -> Option<u16> {
        let new = match self {
            Self::To(new) => Some(new),
            Self::More(more) => count.checked_add(more),
            Self::Less(fewer) => count.checked_sub(fewer),
        };
        match new {
            Some(new) if new > 0 && new <= Slot::LAST => Some(new),
            Some(_) | None => None,
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, number) = match *self {
            Self::To(number) => ("", number),
            Self::More(number) => ("+", number),
            Self::Less(number) => ("-", number),
        };
        write!(out, "{sign}{}", u32::from(number))
    }
}

impl Request {
    /// Those that take no word.
    const PLAIN: [Self; 6] =
        [Self::Status, Self::Reload, Self::Restart, Self::Shutdown, Self::Exit, Self::Ready];
    /// The words for them, in the same order.
    const NAMES: &str = "status\nreload\nrestart\nshutdown\nexit\nready\n";

    /// Reads a line without its newline.
    ///
    /// # Errors
    ///
    /// What to refuse it with.
    pub fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let rest =
            line.strip_prefix(b"panzer/1 ").ok_or("unknown protocol, this main speaks panzer/1")?;
        if let Some(word) = rest.strip_prefix(b"scale ") {
            let scale =
                Scale::parse(word).ok_or("scale needs N, +N or -N, with N from 1 to 16383")?;
            return Ok(Self::Scale(scale));
        }
        Self::plain(rest).ok_or("unknown command")
    }

    /// The one with this name that takes no word.
    pub fn plain(name: &[u8]) -> Option<Self> {
        let mut plain = Self::PLAIN.into_iter().enumerate();
        let known = plain.find(|(place, _)| text::line(Self::NAMES, *place).as_bytes() == name);
        known.map(|(_, request)| request)
    }

    /// The whole line, with its newline.
    pub fn line(self) -> String {
        format!("panzer/1 {self}\n")
    }
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Scale(scale) = self {
            return write!(out, "scale {scale}");
        }
        let place = Self::PLAIN.iter().position(|request| request == self);
        out.write_str(text::line(Self::NAMES, place.unwrap_or_default()))
    }
}

/// The path of the control socket beside a pid file: the same name, ending in `.sock`.
pub fn socket_beside(pid_file: &[u8]) -> Vec<u8> {
    let name = pid_file.strip_suffix(b".pid").unwrap_or(pid_file);
    [name, b".sock"].concat()
}

words! {
    /// How a line of an answer begins that is no record.
    AnswerWord {
        /// It takes time, and this is how far it is.
        Progress = "progress",
        /// The last line: it was done.
        Done = "done",
        /// The last line: it was rightly asked for, and did not come about.
        Failed = "failed",
        /// The last line: it was not even tried.
        Refused = "refused",
    }
}

impl AnswerWord {
    /// Whether main closes after it.
    pub const fn is_last(self) -> bool {
        !matches!(self, Self::Progress)
    }
}

/// One line of an answer, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Words for people; control characters are shown as `\x1b`.
    Says(AnswerWord, &'a [u8]),
    /// A record: see [`status_records`](super::status_records).
    Record(&'a [u8]),
}

impl<'a> Answer<'a> {
    /// Reads a line without its newline.
    pub fn parse(line: &'a [u8]) -> Self {
        let mut text = line;
        match AnswerWord::parse(take(&mut text, b' ')) {
            Some(word) => Self::Says(word, text),
            None => Self::Record(line),
        }
    }
}

/// Composes a line of an answer that is no record. Always one line, and never
/// too long: what is, is cut and ends in `…`.
pub fn answer(word: AnswerWord, text: fmt::Arguments<'_>) -> LogLine {
    let mut line = LogLine::new();
    // A Line takes everything.
    let _ = write!(line, "{} {text}", word.name());
    line
}

const _: () = assert!(LogLine::SIZE <= LONGEST_ANSWER, "a line of an answer is short enough");

#[cfg(test)]
mod tests {
    use super::{Answer, AnswerWord, LONGEST_REQUEST, Request, Scale, answer};
    use alloc::string::ToString as _;

    #[test]
    fn answer_goes_on_after_progress_alone() {
        let last = AnswerWord::ALL.iter().copied().filter(|word| word.is_last());
        assert!(last.eq([AnswerWord::Done, AnswerWord::Failed, AnswerWord::Refused]));
    }

    #[test]
    fn written_requests_read_back() {
        let scales = [Scale::To(1), Scale::More(7), Scale::Less(16_383)].map(Request::Scale);
        for request in Request::PLAIN.into_iter().chain(scales) {
            let line = request.line();
            assert!(line.len() <= LONGEST_REQUEST);
            let line = line.strip_suffix('\n').expect("a request is a line");
            assert_eq!(Request::parse(line.as_bytes()), Ok(request));
        }
        assert_eq!(Request::Scale(Scale::More(7)).line(), "panzer/1 scale +7\n");
    }

    #[test]
    fn malformed_request_is_refused_with_a_reason() {
        for line in [
            &b""[..],
            b"status",
            b"panzer/2 status",
            b"panzer/1x status",
            b" panzer/1 ",
            b"panzer/1",
        ] {
            assert_eq!(Request::parse(line), Err("unknown protocol, this main speaks panzer/1"));
        }
        for line in
            [&b"panzer/1 "[..], b"panzer/1 stop", b"panzer/1 status now", b"panzer/1 status "]
        {
            assert_eq!(Request::parse(line), Err("unknown command"));
        }
        for word in ["", "0", "+0", "16384", "+", "x", "++1", "-1 ", " 1"] {
            let line = "panzer/1 scale ".to_string() + word;
            let reason = Request::parse(line.as_bytes()).expect_err(&line);
            assert_eq!(reason, "scale needs N, +N or -N, with N from 1 to 16383");
        }
    }

    #[test]
    fn scaled_count_is_clamped_to_1_and_the_last_slot() {
        assert_eq!(Scale::To(4).of(9), Some(4));
        assert_eq!(Scale::More(7).of(4), Some(11));
        assert_eq!(Scale::Less(3).of(4), Some(1));
        assert_eq!(Scale::Less(4).of(4), None);
        assert_eq!(Scale::Less(5).of(4), None);
        assert_eq!(Scale::More(1).of(16_383), None);
    }

    #[test]
    fn written_replies_read_back() {
        for &word in AnswerWord::ALL {
            let line = answer(word, format_args!("generation 8 failed: it left"));
            let line = line.as_bytes().strip_suffix(b"\n").expect("an answer is a line");
            assert_eq!(Answer::parse(line), Answer::Says(word, b"generation 8 failed: it left"));
        }
        assert_eq!(Answer::parse(b"done"), Answer::Says(AnswerWord::Done, b""));
        assert_eq!(Answer::parse(b"main pid=1"), Answer::Record(b"main pid=1"));
    }

    #[test]
    fn text_in_a_reply_makes_no_second_line() {
        let line = answer(AnswerWord::Failed, format_args!("a\ndone"));
        assert_eq!(line.as_bytes(), b"failed a\\x0adone\n");
    }
}
