//! The effective values of all options, as a configuration file.
//!
//! What is shown is a file that means the same when it is read back. Words are
//! in quotes, so that no parser takes them for anything else; what was not set
//! is a comment.

use super::options::{Count, KNOWN, Options, Takes};
use super::printable::write_escaped;
use super::seconds::Seconds;
use crate::text;
use alloc::string::String;
use core::fmt::{self, Display};

/// A word in double quotes, with escapes that `yaml` takes. Bytes that are no
/// text, which no file of YAML can hold, are shown as `�`.
struct Word<'a>(&'a [u8]);

impl Display for Word<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("\"")?;
        write_escaped(out, self.0, usize::MAX, b"\"\\")?;
        out.write_str("\"")
    }
}

fn flag(is_set: bool) -> &'static dyn Display {
    if is_set { &"true" } else { &"false" }
}

/// Shows all options that have a value, in the order of the help.
pub fn show(options: &Options) -> String {
    let mut out = String::new();
    for known in KNOWN.iter().filter(|known| known.takes.in_a_file()) {
        show_one(options, known.long, known.takes, &mut out);
    }
    out
}

fn show_one(options: &Options, key: &str, takes: Takes, out: &mut String) {
    let line = |out: &mut String, is_set, value: &dyn Display| {
        let comment = if is_set { "" } else { "# " };
        text::add(out, format_args!("{comment}{key}: {value}\n"));
    };
    let item = |out: &mut String, word: &[u8]| {
        text::add(out, format_args!("  - {}\n", Word(word)));
    };
    match takes {
        Takes::Count => match options.count() {
            Some(Count::Auto) => line(out, true, &"auto"),
            Some(Count::Fixed(count)) => line(out, true, &u32::from(count)),
            None => {}
        },
        Takes::Ready => match options.ready_after() {
            None => line(out, true, &"notify"),
            Some(span) => line(out, true, &Seconds(span)),
        },
        Takes::Seconds(number) => {
            line(out, options.number(number).is_some(), &Seconds(options.span(number)));
        }
        Takes::Number(number, ..) => {
            if let Some(value) = options.number(number).or(number.default()) {
                line(out, options.number(number).is_some(), &value);
            }
        }
        Takes::Level(level) => {
            line(out, true, flag(options.verbosity == level));
        }
        Takes::Exec => line(out, true, flag(options.exec())),
        Takes::Path(path) => {
            if let Some(path) = options.path(path) {
                line(out, true, &Word(path.to_bytes()));
            }
        }
        Takes::Bind => {
            line(out, !options.bind.is_empty(), &"");
            for bind in &options.bind {
                item(out, text::compose(format_args!("{bind}")).as_bytes());
            }
        }
        Takes::Command => {
            line(out, !options.command.is_empty(), &"");
            for word in &options.command {
                item(out, word.to_bytes());
            }
        }
        Takes::Check | Takes::Help | Takes::Version => {}
    }
}

#[cfg(test)]
mod tests {
    use super::show;
    use crate::words::config::apply;
    use crate::words::options::{KNOWN, Options};

    #[test]
    fn what_is_shown_is_a_file_that_means_the_same() {
        let mut options = Options::default();
        for (key, value) in [
            ("count", "auto"),
            ("bind", "web=[::1]:80"),
            ("bind", "unix:/a\"b\\c d"),
            ("chdir", "/é"),
            ("env-file", "yes"),
            ("timeout", "0.25"),
            ("delay", "0.1"),
            ("max-delay", "30"),
            ("ready", "2"),
            ("event-fd", "3"),
            ("user", "1:30"),
            ("verbose", "true"),
            ("exec", "true"),
        ] {
            let known = KNOWN.iter().find(|known| known.long == key).expect(key);
            options.set(known, value.as_bytes()).expect(key);
        }
        options.command = alloc::vec![c"./app".into(), c"".into(), c"a\nb".into()];
        let mut read = Options::default();
        apply(show(&options).as_bytes(), &mut read).expect("it is a file");
        assert_eq!(read, options);
    }
}
