//! The manual pages, the completions of the shells and `--help` name the same options and
//! defaults, the README names no unknown option and a guide no call that is refused, every cited
//! rule is defined, and what the sources name has the same name in the pages: `names`. `servers`
//! compares docs/servers.md with the files that it shows.
//! `tests/docs/links` looks where the documents lead.
//!
//! The help comes from the program that `PANZER_BIN` names, else from the one that cargo
//! has built for the tests. The completions need Python 3.

#[path = "docs/names.rs"]
mod names;
#[path = "docs/servers.rs"]
mod servers;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MANUAL: &str = include_str!("../man/panzer.1");
const README: &str = include_str!("../README.md");

/// An option as one line of the help shows it.
struct Shown {
    long: String,
    short: Option<char>,
    /// The text in brackets at the end of the line, if it is one word.
    default: Option<String>,
}

fn panzer() -> OsString {
    env::var_os("PANZER_BIN").unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_panzer")))
}

fn panzerctl() -> OsString {
    env::var_os("PANZERCTL_BIN").unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_panzerctl")))
}

fn help() -> String {
    let program = panzer();
    let output = Command::new(&program).arg("--help").output().expect("panzer runs");
    assert!(output.status.success(), "{program:?} --help: {}", output.status);
    String::from_utf8(output.stdout).expect("the help is text")
}

fn help_of_panzerctl() -> String {
    let output = Command::new(panzerctl()).arg("--help").output().expect("panzerctl runs");
    String::from_utf8(output.stdout).expect("the help is text")
}

/// The options of one line: usually one; none in a continuation line.
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

/// The manual's entry of an option, up to the next entry.
fn section(long: &str) -> &'static str {
    let flag = format!("-{long}");
    let is_there = |item: &&str| {
        let words: Vec<_> = item.lines().next().unwrap_or_default().split(' ').collect();
        words.windows(2).any(|pair| pair == ["Fl", &flag])
    };
    MANUAL.split("\n.It ").find(is_there).unwrap_or_else(|| panic!("no item for --{long}"))
}

#[test]
fn manual_has_every_option_of_the_help_with_its_letter_and_default() {
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
fn manual_and_readme_have_no_option_that_the_help_lacks() {
    let known: BTreeSet<_> = options().into_iter().map(|option| option.long).collect();
    let name_of = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
    };
    // `Fl -` alone is `--`, the end of the options.
    for name in MANUAL.split("Fl -").skip(1).map(name_of).filter(|name| !name.is_empty()) {
        assert!(known.contains(&name), "unknown option --{name}");
    }
    let ctl = help_of_panzerctl();
    let ctl: Vec<_> = ctl.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
    for name in README.split("`--").skip(1).map(name_of) {
        let is_known = known.contains(&name) || ctl.contains(&&*format!("--{name}"));
        assert!(is_known, "unknown option --{name}");
    }
}

/// The words of `text` between backquotes that begin with this one.
fn calls<'a>(text: &'a str, program: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let code = text.split('`').skip(1).step_by(2).map(|code| code.split_whitespace().collect());
    code.filter(move |words: &Vec<&str>| words.len() > 1 && words[0] == program)
}

/// That panzer takes the options of this call.
fn check(call: &[&str]) {
    let options = call[1..].iter().take_while(|word| **word != "--");
    let check = Command::new(panzer()).arg("--check").args(options).args(["--", "true"]).output();
    let check = check.expect("panzer runs");
    assert!(check.status.success(), "{call:?}: {}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn calls_that_the_guides_show_are_taken() {
    let guide = include_str!("../docs/coming-from.md");
    let mut count = 0;
    for words in calls(guide, "panzer").filter(|words| words.contains(&"--")) {
        check(&words);
        count += 1;
    }
    let help = help_of_panzerctl();
    for words in calls(guide, "panzerctl") {
        assert!(help.contains(&format!("\n  {} ", words[1])), "{words:?}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}

/// rule: ctl.exit-status
#[test]
fn manual_of_panzerctl_has_every_option_and_command_of_its_help() {
    let help = help_of_panzerctl();
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

#[test]
fn completions_are_what_the_programs_print() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(tree.join("packaging/completions"));
    command.arg("--check").args([panzer(), panzerctl()]).arg(tree.join("completions"));
    let output = command.output().expect("Python 3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What has links, but defines no rules.
const OTHER_DOCUMENTS: [(&str, &str); 5] = [
    ("README.md", README),
    ("CHANGELOG.md", include_str!("../CHANGELOG.md")),
    ("CONTRIBUTING.md", include_str!("../CONTRIBUTING.md")),
    ("SECURITY.md", include_str!("../SECURITY.md")),
    ("docs/versions.md", include_str!("../docs/versions.md")),
];

const DOCUMENTS: [(&str, &str); 3] = [
    ("docs/design.md", include_str!("../docs/design.md")),
    ("docs/protocol.md", include_str!("../docs/protocol.md")),
    ("docs/failure-modes.md", include_str!("../docs/failure-modes.md")),
];

/// The names after `rule:` and `rules:` (cited) and after a bold `rule:` (defined).
#[derive(Default)]
struct Rules {
    cited: Vec<String>,
    defined: Vec<String>,
}

fn rules(text: &str) -> Rules {
    let mut rules = Rules::default();
    let (mut goes_on, mut is_defined, mut is_list) = (false, false, false);
    // A list may continue in the next line of a comment.
    let words = text.split_whitespace().filter(|word| !matches!(*word, "//" | "///" | "//!" | "#"));
    for word in words {
        let bare = word.trim_start_matches(['(', '`', '"']);
        if goes_on {
            let is_name =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
            let end = bare.find(|c| !is_name(c)).unwrap_or(bare.len());
            let name = bare[..end].trim_end_matches('.').to_owned();
            if is_defined {
                rules.defined.push(name)
            } else {
                rules.cited.push(name)
            }
            goes_on = is_list && &bare[end..] == ",";
        } else if matches!(bare, "rule:" | "rules:" | "**rule:") {
            (goes_on, is_defined, is_list) = (true, bare == "**rule:", bare == "rules:");
        }
    }
    rules
}

/// The comments of a source or a patch: in code, a field may be called `rules`.
fn comments(text: &str) -> String {
    let bare = text.lines().map(|line| line.trim_start_matches([' ', '+', '-']));
    bare.filter(|line| line.starts_with("//")).fold(String::new(), |all, line| all + line + "\n")
}

/// The files below a directory, or the file itself.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("a directory can be read");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    paths.filter(|path| !path.ends_with("target")).flat_map(|path| files(&path)).collect()
}

#[test]
fn every_cited_rule_is_defined_once() {
    let mut defined = BTreeSet::new();
    for (document, text) in DOCUMENTS {
        for name in rules(text).defined {
            assert!(name.contains('.'), "{document}: '{name}' has no dot");
            assert!(defined.insert(name.clone()), "{document}: {name} is defined twice");
        }
    }
    assert!(defined.len() > 100, "hardly any rules: {defined:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places =
        ["src", "tests", "benches", "examples", "docs", "man", "packaging", ".ci", "Makefile"];
    let documents = OTHER_DOCUMENTS.map(|(name, _)| name);
    for file in places.iter().chain(&documents).flat_map(|place| files(&root.join(place))) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let kind = file.extension().and_then(|kind| kind.to_str());
        let text = if matches!(kind, Some("rs" | "patch")) { comments(&text) } else { text };
        for name in rules(&text).cited {
            assert!(defined.contains(&name), "{}: there is no rule '{name}'", file.display());
        }
    }
}

/// A line of the log, with a `*` for each value in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogLine {
    text: String,
    /// `INFO`; of the manual also `INFO/WARN`; empty where the source chooses it by a value.
    level: String,
}

/// Puts a `*` in the place of each value: `{pid}` in the source, `<pid>` in the manual.
fn with_stars(text: &str, open: char, close: char) -> String {
    let mut stars = String::new();
    for (place, part) in text.split(open).enumerate() {
        if place > 0 && !stars.ends_with('*') {
            stars.push('*');
        }
        let rest = part.split_once(close).filter(|_| place > 0).map_or(part, |(_, rest)| rest);
        stars.push_str(rest);
    }
    stars
}

/// The arguments of a call, from behind its parenthesis on.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut is_quoted, mut is_escaped) = (0, false, false);
    let (mut all, mut begin) = (Vec::new(), 0);
    for (place, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '[' | '{' => depth += 1,
            ',' | ')' | ']' | '}' if depth == 0 => {
                all.push(text[begin..place].trim());
                begin = place + 1;
                if c != ',' {
                    break;
                }
            }
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    all
}

/// What a call logs: it has a level, or what is complained of, and a text. `settle` has
/// the name of lines that were left out. A text that is not written in the call is `*`.
fn logged(name: &str, arguments: &[&str]) -> Option<LogLine> {
    let level = arguments.iter().find(|it| {
        ["Level::", "About::"].iter().any(|start| it.starts_with(start)) || **it == "level"
    })?;
    let level = level.strip_prefix("Level::").unwrap_or_default().to_uppercase();
    let Some(text) = arguments.iter().find_map(|it| it.strip_prefix("format_args!(")) else {
        let text = String::from("*");
        return (name == "log" && !level.is_empty()).then_some(LogLine { text, level });
    };
    let text = text.trim_start().strip_prefix('"').filter(|_| !["", "settle"].contains(&name))?;
    let mut lines = text.rsplit_once('"')?.0.split("\\\n");
    let first = lines.next()?.to_owned();
    let text = lines.fold(first, |all, line| all + line.trim_start());
    // What stands behind the literal is its values.
    let text = text.split("\",").next()?.to_owned();
    Some(LogLine { text: with_stars(&text, '{', '}'), level })
}

/// What the sources of all processes log.
fn logged_by_source() -> BTreeSet<LogLine> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = BTreeSet::new();
    for file in files(&root.join("src")) {
        let text = fs::read_to_string(&file).expect("a source can be read");
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = code.flat_map(|line| [line, "\n"]).collect();
        for (place, _) in code.match_indices('(') {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let name = code[..place].rsplit(|c| !is_name(c)).next().unwrap_or_default();
            all.extend(logged(name, &arguments(&code[place + 1..])));
        }
    }
    all
}

/// The table of the manual: `.It "LEVEL text"`, and a paragraph.
fn logged_by_manual() -> BTreeSet<LogLine> {
    let section = MANUAL.split("\n.Sh LOG LINES\n").nth(1).expect("the section is there");
    let section = section.split("\n.Sh ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix(".It \"")?.strip_suffix('"'));
    let rows = rows.map(|row| row.replace("\\(aq", "'"));
    rows.map(|row| {
        let (level, text) = row.split_once(' ').expect("a row has a level and a text");
        LogLine { text: with_stars(text, '<', '>'), level: level.to_owned() }
    })
    .collect()
}

/// rule: log.table
#[test]
fn log_lines_of_manual_match_source() {
    let (source, manual) = (logged_by_source(), logged_by_manual());
    let is_same = |one: &LogLine, row: &LogLine| {
        one.text == row.text && row.level.split('/').any(|level| ["", level].contains(&&*one.level))
    };
    let missing: Vec<_> =
        source.iter().filter(|line| !manual.iter().any(|row| is_same(line, row))).collect();
    let stale: Vec<_> =
        manual.iter().filter(|row| !source.iter().any(|line| is_same(line, row))).collect();
    let mute: Vec<_> =
        source.iter().filter(|line| !line.text.contains(char::is_alphabetic)).collect();
    assert!(source.len() > 60, "hardly any lines: {source:#?}");
    assert!(mute.is_empty(), "no text is written in the call: {mute:#?}");
    assert!(missing.is_empty(), "not in LOG LINES of man/panzer.1: {missing:#?}");
    assert!(stale.is_empty(), "in LOG LINES of man/panzer.1, and not in src: {stale:#?}");
}
