//! What `panzer --help` and `panzer --version` print.
//!
//! The help names every option there is and fits on one screen of 24 lines
//! and 80 columns; the manual page says the rest.

/// The answer to `--help`.
pub const HELP: &str = "\
Usage: panzer [OPTIONS] [--] COMMAND [ARGS...]
Runs COMMAND on all processors and replaces it without losing a connection.

  -n, --count N|auto       workers [what COMMAND says, else one a processor]
  -x, --exec               COMMAND is what each worker runs; it needs no Panzer
  -b, --bind [NAME=]ADDR   listen on HOST:PORT, [V6]:PORT, :PORT or unix:/PATH
  -C, --chdir DIR          working directory, entered anew at every start
  -e, --env-file FILE      KEY=VALUE lines, read anew at every start
  -t, --timeout SECS       stopping: SIGINT after SECS, SIGKILL 2 s later [60]
      --ready notify|SECS  ready when it says so, or has lived SECS [notify]
      --ready-timeout SECS a start that is not ready by then has failed [60]
      --probation SECS     how long a new one may still be rolled back [1]
      --drain-delay SECS   serve that long after a stop was asked for [0]
      --delay SECS         wait before a second repair, then twice that... [0.1]
      --max-delay SECS     ... up to this [30]
      --give-up N          leave after N failed first starts; 0: never [5]
      --hang-timeout SECS  end a worker that is busy longer; 0: never [0]
      --lifetime SECS      recycle a worker that is older; 0: never [0]
  -u, --user USER[:GROUP]  run COMMAND as that user; sockets are opened before
  -p, --pid FILE           pid file, with the control socket [tmp/panzer.pid]
  -c, --config FILE        more of these, in YAML [config/panzer.yml]
      --event-fd N         write a line of JSON for every transition to N
  -q, --quiet, -v, --verbose, -h, --help, -V, --version, --check (show it all)
Signals: USR1 or HUP reload, USR2 restarts main, TERM or INT stop, TTIN: status.
";

/// The answer to `--version`.
pub const VERSION: &str = concat!("panzer ", env!("CARGO_PKG_VERSION"), "\n");

#[cfg(test)]
mod tests {
    use super::{HELP, VERSION};
    use crate::types::Millis;
    use crate::words::options::{KNOWN, Number, Takes};
    use crate::words::seconds::Seconds;
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    /// What the help shows, word by word, without commas.
    fn words() -> Vec<&'static str> {
        HELP.split_whitespace().map(|word| word.trim_end_matches(',')).collect()
    }

    #[test]
    fn the_help_names_every_option_with_its_letter_and_value() {
        let words = words();
        for known in KNOWN.iter().filter(|known| known.takes != Takes::Command) {
            let place = words.iter().position(|word| word.strip_prefix("--") == Some(known.long));
            let place = place.unwrap_or_else(|| panic!("--{} is missing", known.long));
            let letter = words[place - 1].strip_prefix('-').filter(|text| text.len() == 1);
            assert_eq!(
                letter.map(|text| text.as_bytes()[0]),
                Some(known.short).filter(|short| *short != 0),
                "{}",
                known.long
            );
            if known.takes.a_value() {
                let value = words[place + 1];
                assert!(value.contains(|c: char| c.is_ascii_uppercase()), "{}", known.long);
            }
        }
    }

    #[test]
    fn the_help_names_no_option_that_does_not_exist() {
        for name in words().iter().filter_map(|word| word.strip_prefix("--")) {
            let is_known = KNOWN.iter().any(|known| known.long == name);
            assert!(is_known, "--{name}");
        }
    }

    /// What stands in brackets at the end of an option's line.
    fn shown_default(long: &str) -> &'static str {
        let name = ["--", long, " "].concat();
        let line = HELP.lines().find(|line| line.contains(&name)).expect("a line has it");
        line.trim_end_matches(']').rsplit('[').next().expect("a line has an end")
    }

    #[test]
    fn the_help_shows_the_defaults_that_the_options_have() {
        assert_eq!(shown_default("ready"), "notify");
        assert_eq!(shown_default("give-up"), "5");
        for known in KNOWN {
            if let Takes::Seconds(number) = known.takes {
                let span = number.default().map(Millis).expect(known.long);
                assert_eq!(shown_default(known.long), Seconds(span).to_string(), "{}", known.long);
            }
        }
        assert_eq!(Number::GiveUp.default(), Some(5));
    }

    #[test]
    fn the_help_fits_on_one_screen() {
        assert!(HELP.lines().count() <= 24);
        for line in HELP.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn the_version_is_the_manifests() {
        assert_eq!(VERSION, "panzer 0.1.0\n");
    }
}
