//! What the manual page and the README say of the options is what `--help` says.
//!
//! The help is asked of the program itself: of the one that `PANZER_BIN` names,
//! else of the one that cargo has built for the tests.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::process::Command;

const MANUAL: &str = include_str!("../man/panzer.1");
const README: &str = include_str!("../README.md");

/// An option as one line of the help shows it.
struct Shown {
    long: String,
    short: Option<char>,
    /// What stands in brackets at the end, if it is one word.
    default: Option<String>,
}

fn help() -> String {
    let program =
        env::var_os("PANZER_BIN").unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_panzer")));
    let output = Command::new(&program).arg("--help").output().expect("panzer runs");
    assert!(output.status.success(), "{program:?} --help: {}", output.status);
    String::from_utf8(output.stdout).expect("the help is text")
}

/// The options of one line: usually one, and none where the text goes on.
fn parse(line: &str) -> Vec<Shown> {
    let bracket = line.strip_suffix(']').and_then(|line| line.rsplit_once('['));
    let default = bracket.map(|(_, value)| value).filter(|value| !value.contains(' '));
    let mut short = None;
    let mut shown = Vec::new();
    for word in line.split_whitespace().map(|word| word.trim_end_matches(',')) {
        if let Some(long) = word.strip_prefix("--") {
            let (long, default) = (long.to_owned(), default.map(str::to_owned));
            shown.push(Shown { long, short: short.take(), default });
        } else if let Some(letter) = word.strip_prefix('-').filter(|rest| rest.len() == 1) {
            short = letter.chars().next();
        } else {
            break;
        }
    }
    shown
}

fn options() -> Vec<Shown> {
    let help = help();
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let options: Vec<_> = lines.flat_map(parse).collect();
    assert!(options.len() > 10, "the help has hardly any options:\n{help}");
    options
}

/// The manual's heading of an option and the text below, to the next heading.
fn section(long: &str) -> &'static str {
    let flag = format!("-{long}");
    let is_there = |item: &&str| {
        let words: Vec<_> = item.lines().next().unwrap_or_default().split(' ').collect();
        words.windows(2).any(|pair| pair == ["Fl", &flag])
    };
    MANUAL.split("\n.It ").find(is_there).unwrap_or_else(|| panic!("no item for --{long}"))
}

/// The README's row of an option.
fn row(long: &str) -> &'static str {
    let is_there = |line: &&str| {
        let first = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
        let names = || first.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        line.starts_with("| `-") && names().any(|name| name.strip_prefix("--") == Some(long))
    };
    README.lines().find(is_there).unwrap_or_else(|| panic!("the README has no row for --{long}"))
}

#[test]
fn every_option_of_the_help_is_in_the_manual_with_its_letter_and_its_default() {
    for Shown { long, short, default } in options() {
        let section = section(&long);
        if let Some(letter) = short {
            let flag = format!("Fl {letter}");
            assert!(section.starts_with(&flag), "--{long} is not -{letter} in:\n{section}");
        }
        if let Some(default) = default {
            let words = || section.split(|c: char| c.is_whitespace() || c == ';');
            let is_there = words().any(|word| word.trim_end_matches('.') == default);
            assert!(is_there, "--{long} does not default to {default} in:\n{section}");
        }
    }
}

#[test]
fn every_option_of_the_help_is_in_the_readme_with_its_letter_and_its_default() {
    for Shown { long, short, default } in options() {
        let row = row(&long);
        if let Some(letter) = short {
            assert!(row.contains(&format!("`-{letter}`")), "--{long} is not -{letter}: {row}");
        }
        if let Some(default) = default {
            let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
            assert_eq!(last.trim_matches('`'), default, "--{long}: {row}");
        }
    }
}

#[test]
fn the_manual_and_the_readme_have_no_option_that_the_help_has_not() {
    let known: BTreeSet<_> = options().into_iter().map(|option| option.long).collect();
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
    };
    let flags = MANUAL.split("Fl -").skip(1).map(name);
    let rows = README.lines().filter(|line| line.starts_with("| `-"));
    let cells = rows.flat_map(|row| row.split("`--").chain(row.split("`, `--")).skip(1)).map(name);
    // `Fl -` alone is the end of the options.
    for told in flags.chain(cells).filter(|name| !name.is_empty()) {
        assert!(known.contains(&told), "there is no option --{told}");
    }
}

/// RATIONALE 11.31
#[test]
fn the_manual_of_panzerctl_has_every_option_and_command_of_its_help() {
    let program = env::var_os("PANZERCTL_BIN")
        .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_panzerctl")));
    let output = Command::new(&program).arg("--help").output().expect("panzerctl runs");
    let help = String::from_utf8(output.stdout).expect("the help is text");
    let manual = include_str!("../man/panzerctl.1");
    let words = help.split_whitespace().map(|word| word.trim_end_matches(','));
    for name in words.filter_map(|word| word.strip_prefix("--")) {
        assert!(manual.contains(&format!("Fl -{name}")), "--{name}");
    }
    let commands = help.lines().filter_map(|line| line.strip_prefix("  "));
    let commands = commands.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(commands.len(), 7, "{commands:?}");
    for command in commands {
        assert!(
            manual.contains(&format!(".It Cm {command}\n"))
                || manual.contains(&format!(".It Cm {command} ")),
            "{command}"
        );
    }
}
