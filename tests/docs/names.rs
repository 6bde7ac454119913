//! What has a name in the sources has the same name in the manual pages: signals, events,
//! exit statuses, variables, keys, and the items of the library.

use super::{MANUAL, README, files, help_of_panzerctl, options, panzer};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MANUAL_OF_CTL: &str = include_str!("../../man/panzerctl.1");
const MANUAL_OF_FILE: &str = include_str!("../../man/panzer.yml.5");
const MANUAL_OF_LIBRARY: &str = include_str!("../../man/panzer.3");
const MANUAL_OF_SIGNALS: &str = include_str!("../../man/panzer-signals.7");
const PROTOCOL: &str = include_str!("../../docs/protocol.md");

type Names = BTreeSet<String>;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The code of a source: no tests, and no comments.
fn code(name: &str) -> String {
    let text = fs::read_to_string(path(name)).expect("a source can be read");
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The text behind `begin` and before `end`.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text.split_once(begin).unwrap_or_else(|| panic!("there is no {begin:?}")).1;
    rest.split_once(end).map_or(rest, |(part, _)| part)
}

/// The longest words of letters, digits and `_` that stand behind `before`.
fn words_behind(text: &str, before: &str) -> Names {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = |rest: &str| rest.chars().take_while(|c| is_part(*c)).collect::<String>();
    text.split(before).skip(1).map(word).filter(|word| !word.is_empty()).collect()
}

/// The signals of code that names them `Signal::Usr1`, as `USR1`.
fn signals_of_code(code: &str) -> Names {
    words_behind(code, "Signal::").iter().map(|name| name.to_uppercase()).collect()
}

/// The heads of the items of a list, and the first line of what each says.
fn items(section: &str) -> Vec<(&str, &str)> {
    let items = section.split("\n.It ").skip(1);
    items.filter_map(|item| item.split_once('\n')).collect()
}

/// The signals at the heads of a part of panzer-signals(7).
fn signals_of_page(part: &str) -> Names {
    let part = between(MANUAL_OF_SIGNALS, &format!("\n.Ss {part}\n"), "\n.Ss ");
    items(part).iter().flat_map(|(head, _)| words_behind(head, "SIG")).collect()
}

fn names(words: &[&str]) -> Names {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn page_has_the_signals_that_each_process_catches_and_ignores() {
    let startup = code("src/main_process/startup.rs");
    let main = signals_of_code(between(&startup, "\nfn catch_signals", "\n}\n"));
    assert_eq!(signals_of_page("To main"), main);

    let monitor = code("src/monitor/monitor_loop.rs");
    let mut monitor = signals_of_code(between(&monitor, "\nconst OURS: [Signal; ", ";\n"));
    monitor.insert("KILL".into());
    assert_eq!(signals_of_page("To a monitor of the library"), monitor);

    let worker = code("src/sys/signal/drain.rs");
    let mut worker = signals_of_code(between(&worker, "\npub fn install_worker", "\n}\n"));
    worker.extend(names(&["ABRT", "KILL"]));
    assert_eq!(signals_of_page("To a worker of the library"), worker);
}

#[test]
fn first_sentences_of_signals_are_the_same_in_both_pages() {
    let short = items(between(MANUAL, "\n.Sh SIGNALS\n", "\n.Pp\n"));
    let long = between(MANUAL_OF_SIGNALS, "\n.Ss To main\n", "\n.Ss ");
    let long: Vec<_> = long.split("\n.It ").collect();
    assert_eq!(short.len(), 6, "{short:?}");
    for (head, text) in short {
        let text = text.split("\n.El").next().unwrap_or_default();
        let is_there = long.iter().any(|item| item.starts_with(&format!("{head}\n{text}")));
        assert!(is_there, "panzer-signals(7) has not: {head}: {text}");
    }
}

#[test]
fn steps_of_a_stop_have_the_times_of_the_source() {
    let (main, pool) = (code("src/main_process/supervisor.rs"), code("src/monitor/pool.rs"));
    let after = |source: &str, name: &str| {
        let begin = format!("\nconst {name}: Millis = Millis(");
        let millis = between(source, &begin, ")").replace('_', "");
        format!("after {} s", millis.parse::<f64>().expect("it is a number") / 1_000.0)
    };
    let table = between(MANUAL_OF_SIGNALS, "\n.Ss Steps of a stop\n", "\n.El\n");
    let rows = table.lines().filter_map(|line| line.strip_prefix(".It ")).skip(1);
    let rows: Vec<Vec<_>> = rows.map(|row| row.split(" Ta ").collect()).collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for kill in [after(&main, "INT_TO_KILL"), after(&pool, "KILL_AFTER_TIMEOUT")] {
        assert_eq!(rows[0][3], format!("{kill} more"));
    }
    for kill in [after(&main, "NOW_TO_KILL"), after(&pool, "KILL_AFTER_STOP_NOW")] {
        assert_eq!(rows[1][3], kill);
    }
    assert_eq!(rows[2][2], after(&main, "CROWDED_TO_INT"));
    assert_eq!(rows[2][3], after(&main, "CROWDED_TO_KILL"));
}

#[test]
fn manual_has_the_signals_that_a_stop_may_begin_with() {
    let types = code("src/types.rs");
    let known = between(&types, "\n    StopSignal {\n", "\n    }\n");
    let known: Names = known.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let told = between(MANUAL, "\n.It Fl -stop-signal ", "\n.It ");
    let told = between(told, "It is one of ", ", in capitals");
    let told: Names = told.split([',', ' ']).map(str::to_owned).collect();
    let told: Names = told.into_iter().filter(|word| !["", "and"].contains(&&**word)).collect();
    assert_eq!(told, known);
}

#[test]
fn manual_has_every_event() {
    let events = code("src/protocol/event_lines.rs");
    let events = between(&events, "\n    EventName {\n", "\n    }\n");
    let events: Names = events.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let told = items(between(MANUAL, "\n.Sh EVENTS\n", "\n.Sh "));
    let told: Names = told.into_iter().map(|(head, _)| head.to_owned()).collect();
    assert_eq!(told, events);
}

/// The numbers at the heads of a page's EXIT STATUS.
fn statuses(page: &str) -> Names {
    let told = items(between(page, "\n.Sh EXIT STATUS\n", "\n.Sh "));
    told.into_iter().map(|(head, _)| head.to_owned()).collect()
}

#[test]
fn exit_statuses_are_the_same_in_source_help_pages_and_readme() {
    let ctl = code("src/ctl/mod.rs");
    let ctl = words_behind(between(&ctl, "\nenum Status {\n", "\n}\n"), " = ");
    assert_eq!(statuses(MANUAL_OF_CTL), ctl);
    let numbers = |text: &str| -> Names {
        let words = text.split([' ', '.', ',', '\n']).map(str::to_owned);
        words.filter(|word| word.parse::<u8>().is_ok()).collect()
    };
    let help = help_of_panzerctl();
    assert_eq!(numbers(between(&help, "\nExit status: ", "\n")), ctl);
    let readme = numbers(between(README, "waits for its outcome and", "A deploy moves"));
    assert!(readme.len() > 2 && readme.is_subset(&ctl), "{readme:?}");

    // Those that a constant holds, and the two of a COMMAND that cannot be executed.
    let mut main = names(&["0", "4", "126", "127"]);
    for (file, name) in [
        ("src/main_process/embed.rs", "FAILED"),
        ("src/main_process/startup.rs", "USAGE"),
        ("src/main_process/control.rs", "RUNS_ALREADY"),
    ] {
        main.extend(words_behind(&code(file), &format!("\nconst {name}: u8 = ")));
    }
    assert_eq!(statuses(MANUAL), main);
}

#[test]
fn variables_are_those_of_the_source() {
    let sources = files(&path("src"));
    let sources = sources.iter().map(|file| code(&file.to_string_lossy()));
    let mut known: Names = sources.flat_map(|code| words_behind(&code, "\"PANZER_")).collect();
    assert!(known.len() > 15, "hardly any variables: {known:?}");
    // A program's own test of them names none of ours.
    let in_protocol = words_behind(PROTOCOL, "`PANZER_");
    assert_eq!(in_protocol, known, "docs/protocol.md");
    // Between two mains alone.
    assert!(known.remove("STATE") && known.remove("PROBE"));
    let environment = between(MANUAL, "\n.Sh ENVIRONMENT\n", "\n.Sh ");
    assert_eq!(words_behind(environment, " PANZER_"), known, "man/panzer.1");
}

#[test]
fn keys_of_the_file_are_the_long_options_but_for_those_that_the_page_names() {
    let sentence = between(MANUAL_OF_FILE, "\n.Cm command .\n", "\nhave none.\n");
    let dashed = |text: &str| -> Names {
        let words = text.split_whitespace().filter_map(|word| word.strip_prefix('-'));
        words.map(|word| word.trim_end_matches(',').to_owned()).collect()
    };
    let without = dashed(sentence);
    assert_eq!(without.len(), 4, "{without:?}");
    let file = env::temp_dir().join(format!("panzer-docs-{}.yml", std::process::id()));
    for option in options() {
        // No option takes this, and a key that is none is complained of before its value.
        fs::write(&file, format!("{}: \"\\x01\"\n", option.long)).expect("it can be written");
        let mut check = Command::new(panzer());
        check.arg("--check").arg("-c").arg(&file);
        let output = check.output().expect("panzer runs");
        let reason = String::from_utf8_lossy(&output.stderr);
        let is_unknown = reason.contains("unknown key");
        assert_eq!(is_unknown, without.contains(&option.long), "{}: {reason}", option.long);
    }
    fs::remove_file(&file).expect("it is there");
}

#[test]
fn keys_of_json_in_the_manual_are_those_of_the_source() {
    let told = between(MANUAL_OF_CTL, "\n.It Fl -json\n", "\n.It ");
    let is_key = |word: &&str| word.contains('_') || ["outage", "workers"].contains(word);
    let told = told.lines().filter_map(|line| line.strip_prefix(".Ql ")).filter(is_key);
    let told: Vec<_> = told.filter(|word| !word.starts_with('_')).collect();
    assert!(told.len() > 3, "{told:?}");
    let source = code("src/protocol/json.rs");
    for key in told {
        assert!(source.contains(&format!("\"{key}\"")), "no key {key} in json.rs");
    }
}

/// What the crate's root exports, but for its hidden modules.
fn exports() -> Names {
    let root = code("src/lib.rs");
    let root = between(&root, "\npub use ", "\npub mod ");
    let all = root.split([' ', ',', '{', '}', ';', '\n']).map(|word| word.rsplit("::").next());
    let all = all.flatten().filter(|word| !["", "pub", "use"].contains(word));
    let all = all.filter(|word| !word.starts_with('#'));
    all.map(str::to_owned).collect()
}

/// The public functions of a type, and what a trait asks for.
fn functions(all: &str, of: &str) -> Names {
    let mut found = Names::new();
    for block in all.split("\nimpl").skip(1) {
        let head = block.lines().next().unwrap_or_default();
        let is_own = head.split(['<', ' ']).any(|word| word == of) && !head.contains(" for ");
        let body = block.split("\n}\n").next().unwrap_or_default();
        for line in body.lines().filter(|_| is_own) {
            let rest = line.strip_prefix("    pub ").unwrap_or_default();
            found.extend(words_behind(&format!(" {rest}"), " fn ").into_iter().take(1));
        }
    }
    found
}

#[test]
fn manual_of_the_library_has_its_items_and_no_others() {
    let sources: String = files(&path("src")).iter().map(|f| code(&f.to_string_lossy())).collect();
    let exported = exports();
    assert!(exported.len() > 25, "{exported:?}");
    let page: Vec<_> = MANUAL_OF_LIBRARY.split([' ', '\n', ',']).collect();
    let named = |name: &str| page.iter().any(|word| word.trim_start_matches("\\&") == name);
    for name in &exported {
        let has_parts = page.iter().any(|word| word.starts_with(&format!("{name}::")));
        assert!(has_parts || named(name), "panzer(3) has no {name}");
    }
    let mut known: Names = exported.clone();
    known.insert("run".into());
    for of in ["Monitor", "Context", "Acceptor", "Counter", "StopHandle", "Listener", "Main"] {
        let functions = functions(&sources, of);
        assert!(!functions.is_empty(), "{of} has no functions");
        for name in functions {
            let is_there = named(&name) || named(&format!("{of}::{name}"));
            assert!(is_there || name == "as_fd", "panzer(3) has no {of}::{name}");
            known.insert(name.clone());
            known.insert(format!("{of}::{name}"));
        }
    }
    known.extend(names(&["Worker::run", "errno"]));
    for kind in ["Fn ", "Vt "] {
        let all = MANUAL_OF_LIBRARY.split(kind).skip(1);
        for name in all.filter_map(|rest| rest.split([' ', '\n']).next()) {
            let name = name.trim_start_matches("\\&");
            assert!(known.contains(name), "the library has no {name}, as panzer(3) says");
        }
    }
}

#[test]
fn example_of_the_library_is_the_one_that_is_compiled() {
    let shown = between(MANUAL_OF_LIBRARY, "\n.Sh EXAMPLES\n", "\n.Sh ");
    let shown = between(shown, "\n.Bd -literal\n", "\n.Ed\n").replace("\\e", "\\");
    let example = include_str!("../../examples/hello.rs");
    let example = example.split_once("\n\nuse ").expect("it uses something").1;
    assert_eq!(format!("{shown}\n"), format!("use {example}"));
}
