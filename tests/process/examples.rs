//! The examples, and what the README has its reader type and see.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{PATIENCE, alone};

const README: &str = include_str!("../../README.md");

/// The block of the README that begins with this line.
fn block(first: &str) -> &'static str {
    let start = README.find(&format!("\n{first}\n")).expect("the README has it") + 1;
    let (text, _) = README[start..].split_once("```").expect("every block ends");
    text
}

/// Everything that a server says to somebody who says nothing.
fn hear(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it says it whole");
    said
}

/// RATIONALE 4.1
#[test]
fn the_basic_example_says_hello_and_of_which_generation() {
    let mut panzer = Setup::new(&example("basic"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let line = panzer.expect_line("constructed on ");
    let (_, address) = line.split_once("constructed on ").expect("it was found");
    let address = address.parse().expect("it says where");
    for generation in 1..=2 {
        panzer.expect_current(generation);
        if generation == 2 {
            let gone =
                |event: &crate::harness::event::Event| event.is("died", 1) && event.slot == 0;
            panzer.expect_event("the end of the first", gone);
        }
        let hello = hear(address);
        assert!(
            hello.starts_with(&format!("hello from generation {generation}, worker ")),
            "{hello}"
        );
        if generation == 1 {
            panzer.signal(Signal::Usr1);
        }
    }
    panzer.stop();
}

/// RATIONALE 4.3
#[test]
fn the_unix_example_echoes_over_a_path_that_is_never_missing() {
    let place = Place::new();
    let path = place.join("echo.sock");
    let word = path.display().to_string();
    let mut panzer = Setup::new(&example("unix"), &[&word]).options(&["-n2"]).start();
    panzer.expect_current(1);
    let inode = fs::metadata(&path).expect("it is bound").ino();
    for generation in 2..=3 {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        stream.write_all(b"hello\n").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut echo = String::new();
        stream.read_to_string(&mut echo).expect("it says it whole");
        assert_eq!(echo, "hello\n");
        panzer.reload(generation);
        assert_eq!(fs::metadata(&path).expect("it is never missing").ino(), inode);
    }
    panzer.stop();
    assert!(!path.exists());
}

/// RATIONALE 1.14, 1.32
#[test]
fn the_script_of_the_readme_becomes_ready_and_serves() {
    let place = Place::new();
    let script = block("#!/bin/sh");
    let script = place.program("script", script.as_bytes());
    place.script("prepare", "exit 0");
    let server = format!("exec '{}' listen=web=127.0.0.1:0 run=hold", example("witness").display());
    place.script("server", &server);
    let path = format!("{}:/usr/bin:/bin", place.path().display());
    let setup = Setup::new(&script, &[]).options(&["-n1", "--bind=web=127.0.0.1:0"]);
    let mut panzer = setup.variable("PATH", &path).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it is served");
    place.script("prepare", "exit 1");
    panzer.signal(Signal::Usr1);
    panzer.expect("failed", 2);
    panzer.stop();
}

/// RATIONALE 1.10
#[test]
fn the_deploy_of_the_readme_runs_the_new_release() {
    let place = Place::new();
    let releases = place.join("releases");
    for release in ["41", "42"] {
        fs::create_dir_all(releases.join(release)).expect("it is ours");
        let name = format!("releases/{release}/server");
        let witness = example("witness");
        place.script(
            &name,
            &format!("exec '{}' 'say=release {release}' run=idle", witness.display()),
        );
    }
    symlink("releases/41", place.join("current")).expect("it is ours");
    let at = |text: &str| text.replace("/srv/app", &place.path().display().to_string());
    let chdir = at("--chdir=/srv/app/current");
    let mut panzer = Setup::new(Path::new("./server"), &[]).options(&["-n1", &chdir]).start();
    panzer.expect_line("release 41");
    panzer.expect_current(1);
    let deploy = block("panzer -p /run/app/panzer.pid -C /srv/app/current ./server &");
    let deploy = deploy.lines().find(|line| line.starts_with("ln -s ")).expect("it is there");
    let done = {
        let _alone = alone();
        Command::new("sh").arg("-c").arg(at(deploy)).status().expect("the shell is there")
    };
    assert!(done.success(), "{deploy}");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("release 42");
    panzer.expect_current(2);
    panzer.stop();
}

/// A line without its numbers, and without the unit of a time.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for letter in line.chars() {
        match letter {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            other => shape.push(other),
        }
    }
    shape.replace("# ms", "# s").replace("#.# s", "# s")
}

/// RATIONALE 5.1, 5.4
#[test]
fn the_log_that_the_readme_shows_is_what_is_logged() {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let mut panzer = setup.options(&["-n2", "--probation=1"]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Usr1);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    let mut panzer = panzer.stop();
    let logged: Vec<_> = panzer.lines().iter().map(|line| shape(line)).collect();
    let shown = block("INFO panzer:main[18678]: generation 1 started as 18681");
    for line in shown.lines().map(shape) {
        assert!(logged.iter().any(|logged| logged.ends_with(&line)), "{line}\nin {logged:#?}");
    }
}
