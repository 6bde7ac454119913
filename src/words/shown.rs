//! The effective values of all options, as a configuration file.
//!
//! What is shown is a file that means the same when it is read back. Words are
//! in quotes, so that no parser takes them for anything else.

use super::options::{Options, Ready};
use super::printable;
use super::seconds::Seconds;
use crate::text;
use crate::types::Level;
use alloc::string::String;
use core::fmt::{self, Display, Write as _};

/// A word in double quotes, with the escapes that `yaml` takes. Bytes that are
/// no text, which no file of YAML can hold, are shown as `�`.
struct Word<'a>(&'a [u8]);

impl Display for Word<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for letter in printable::lossy(self.0).chars() {
            match letter {
                '"' | '\\' => write!(out, "\\{letter}")?,
                '\0'..' ' | '\x7f' => write!(out, "\\x{:02x}", u32::from(letter))?,
                _ => out.write_char(letter)?,
            }
        }
        out.write_char('"')
    }
}

/// Shows all options that have a value, in the order of the help.
#[must_use]
pub fn show(options: &Options) -> String {
    let mut out = String::new();
    let mut line = |key: &str, value: &dyn Display| {
        // A string takes everything.
        let _ = writeln!(out, "{key} {value}");
    };
    if let Some(count) = options.count {
        line("count:", &count);
    }
    if !options.bind.is_empty() {
        line("bind:", &"");
    }
    for bind in &options.bind {
        line("  -", &Word(text::compose(format_args!("{bind}")).as_bytes()));
    }
    for (key, path) in [("chdir:", &options.chdir), ("env-file:", &options.env_file)] {
        if let Some(path) = path {
            line(key, &Word(path.to_bytes()));
        }
    }
    match options.ready {
        Ready::Notify => line("ready:", &"notify"),
        Ready::After(span) => line("ready:", &Seconds(span)),
    }
    for (key, span) in [
        ("ready-timeout:", options.ready_timeout),
        ("probation:", options.probation),
        ("drain-delay:", options.drain_delay),
    ] {
        line(key, &Seconds(span));
    }
    for (key, comment, span, default) in [
        ("timeout:", "# timeout:", options.timeout, options.timeout()),
        ("delay:", "# delay:", options.delay, options.delay()),
        ("max-delay:", "# max-delay:", options.max_delay, options.max_delay()),
    ] {
        // Set or not: the application may have a default of its own.
        line(if span.is_some() { key } else { comment }, &Seconds(default));
    }
    line("give-up:", &options.give_up);
    if let Some(number) = options.event_fd {
        line("event-fd:", &number);
    }
    line("quiet:", &(options.verbosity == Level::Warn));
    line("verbose:", &(options.verbosity == Level::Debug));
    if !options.command.is_empty() {
        line("command:", &"");
    }
    for word in &options.command {
        line("  -", &Word(word.to_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::show;
    use crate::words::config::apply;
    use crate::words::options::{self, Options};

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
            ("verbose", "true"),
        ] {
            options::set(&mut options, key, value.as_bytes()).expect(key);
        }
        options.command = alloc::vec![c"./app".into(), c"".into(), c"a\nb".into()];
        let mut read = Options::default();
        apply(show(&options).as_bytes(), &mut read).expect("it is a file");
        assert_eq!(read, options);
    }
}
