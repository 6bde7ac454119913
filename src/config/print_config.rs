//! The effective values of all options, as a configuration file.
//!
//! What is shown is a file that means the same when it is read back. Words are
//! in quotes, so that no parser takes them for anything else; what was not set
//! is a comment.

use super::yaml;
use crate::config::option_table::{Count, KNOWN, Number, Options, ValueKind};
use crate::config::yaml::Piece;
use crate::error::Error;
use crate::printable::{Quoted, write_escaped};
use crate::protocol::address::Bind;
use crate::seconds::Seconds;
use crate::text;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display};

/// A word in double quotes, with escapes that `yaml` takes. What no file of YAML
/// can hold is not read back as it was.
struct QuotedWord<'a>(&'a [u8]);

impl Display for QuotedWord<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("\"")?;
        write_escaped(out, self.0, usize::MAX, b"\"\\")?;
        out.write_str("\"")
    }
}

fn flag(is_set: bool) -> &'static dyn Display {
    if is_set { &"true" } else { &"false" }
}

/// Shows all options that have a value, in the order of the help, and says which of
/// them no file can hold: what is shown of these is a comment.
pub fn show(options: &Options) -> (String, Vec<Error>) {
    let (mut out, mut wrong) = (String::new(), Vec::new());
    for known in KNOWN.iter().filter(|known| known.takes.in_a_file()) {
        let (mut shown, key) = (String::new(), known.long);
        match words(options, known.takes).iter().find(|word| !is_readable(word)) {
            None => show_one(options, key, known.takes, &mut shown),
            Some(word) => {
                let word = Quoted(word);
                let reason = format_args!(
                    "{key}: {word} cannot be written to a configuration file: not valid text"
                );
                text::add(&mut shown, format_args!("# {key}: not valid text\n"));
                wrong.push(Error::plain(reason));
            }
        }
        out.push_str(&shown);
    }
    (out, wrong)
}

/// The words of an option that are shown in quotes.
fn words(options: &Options, takes: ValueKind) -> Vec<Vec<u8>> {
    match takes {
        ValueKind::Path(path) => {
            options.path(path).map(|path| path.to_bytes().to_vec()).into_iter().collect()
        }
        ValueKind::Bind => options.bind.iter().map(Bind::written).collect(),
        ValueKind::Command => options.command.iter().map(|word| word.to_bytes().to_vec()).collect(),
        ValueKind::Count
        | ValueKind::Number(..)
        | ValueKind::Seconds(_)
        | ValueKind::Mode(_)
        | ValueKind::Signal
        | ValueKind::Ready
        | ValueKind::Level(_)
        | ValueKind::Exec
        | ValueKind::Check
        | ValueKind::Help
        | ValueKind::Version => Vec::new(),
    }
}

/// Whether the reader of files reads this word as it is shown.
fn is_readable(word: &[u8]) -> bool {
    let file = text::compose(format_args!("a: {}\n", QuotedWord(word)));
    let mut is_it = false;
    let read = yaml::parse(file.as_bytes(), &mut |piece, read| {
        is_it |= piece == Piece::Alone && read == word;
        Ok(())
    });
    read.is_ok() && is_it
}

/// A key and its value; a comment where it was not set.
fn add_line(out: &mut String, key: &str, is_set: bool, value: &dyn Display) {
    let comment = if is_set { "" } else { "# " };
    text::add(out, format_args!("{comment}{key}: {value}\n"));
}

fn show_one(options: &Options, key: &str, takes: ValueKind, out: &mut String) {
    let mut line = |is_set, value: &dyn Display| add_line(out, key, is_set, value);
    match takes {
        ValueKind::Count => match options.count() {
            Some(Count::Auto) => line(true, &"auto"),
            Some(Count::Fixed(count)) => line(true, &u32::from(count)),
            None => {}
        },
        ValueKind::Ready => match options.ready_after() {
            None => line(true, &"notify"),
            Some(span) => line(true, &Seconds(span)),
        },
        ValueKind::Signal => {
            let is_set = options.number(Number::StopSignal).is_some();
            line(is_set, &options.stop_signal().name());
        }
        ValueKind::Seconds(number) => {
            line(options.number(number).is_some(), &Seconds(options.span(number)));
        }
        // In quotes, for YAML reads a number that begins with 0 in two ways.
        ValueKind::Mode(number) => {
            if let Some(mode) = options.number(number) {
                line(true, &format_args!("\"{mode:04o}\""));
            }
        }
        ValueKind::Number(number, ..) => {
            if let Some(value) = options.number(number).or(number.default()) {
                line(options.number(number).is_some(), &value);
            }
        }
        ValueKind::Level(level) => line(true, flag(options.verbosity == level)),
        ValueKind::Exec => line(true, flag(options.exec())),
        ValueKind::Path(_) | ValueKind::Bind | ValueKind::Command => {
            show_words(options, key, takes, out);
        }
        ValueKind::Check | ValueKind::Help | ValueKind::Version => {}
    }
}

/// A path, or a list.
fn show_words(options: &Options, key: &str, takes: ValueKind, out: &mut String) {
    let words = words(options, takes);
    if let ValueKind::Path(_) = takes {
        if let Some(path) = words.first() {
            add_line(out, key, true, &QuotedWord(path));
        }
        return;
    }
    add_line(out, key, !words.is_empty(), &"");
    for word in &words {
        text::add(out, format_args!("  - {}\n", QuotedWord(word)));
    }
}

#[cfg(test)]
mod tests {
    use super::show;
    use crate::config::config_file::apply;
    use crate::config::option_table::{KNOWN, Options};
    use alloc::ffi::CString;

    #[test]
    fn printed_config_reads_back_the_same() {
        let mut options = Options::default();
        for (key, value) in [
            ("count", "auto"),
            ("bind", "web=[::1]:80"),
            ("bind", "unix:/a\"b\\c d"),
            ("bind", "a\x1b=unix:/a\nb"),
            ("socket-mode", "060"),
            ("chdir", "/é"),
            ("env-file", "yes"),
            ("timeout", "0.25"),
            ("delay", "0.1"),
            ("max-delay", "30"),
            ("ready", "2"),
            ("event-fd", "3"),
            ("notify-fd", "4"),
            ("user", "1:30"),
            ("verbose", "true"),
            ("exec", "true"),
            ("stop-signal", "SIGQUIT"),
        ] {
            let known = KNOWN.iter().find(|known| known.long == key).expect(key);
            options.set(known, value.as_bytes()).expect(key);
        }
        options.command = alloc::vec![c"./app".into(), c"".into(), c"a\nb".into()];
        let mut read = Options::default();
        let (shown, wrong) = show(&options);
        apply(shown.as_bytes(), &mut read).expect("it is a file");
        assert_eq!((read, wrong.len()), (options, 0));
    }

    #[test]
    fn values_that_no_file_can_hold_are_comments_and_reported() {
        for word in [&b"a\xff"[..], b"a\xc2\x87", b"a\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xc2\x85"] {
            let mut options = Options::default();
            options.command = alloc::vec![c"./app".into(), CString::new(word).expect("no NUL")];
            let bind = KNOWN.iter().find(|known| known.long == "bind").expect("it is one");
            options.set(bind, &[b"unix:/", word].concat()).expect("a path may be any bytes");
            let (shown, wrong) = show(&options);
            apply(shown.as_bytes(), &mut Options::default()).expect("it is a file");
            let comments = ["# command:", "# bind:"].map(|comment| shown.contains(comment));
            assert_eq!((comments, wrong.len()), ([true; 2], 2), "{shown}");
        }
    }
}
