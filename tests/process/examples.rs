//! The examples, and the commands and output in the README.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::files::{TempDir, example};
use crate::harness::setup::Setup;
use crate::harness::{TIMEOUT, spawn_lock};

const README: &str = include_str!("../../README.md");

/// The block of the README that begins with this line.
fn block(first: &str) -> &'static str {
    let start = README.find(&format!("\n{first}\n")).expect("the README has it") + 1;
    let (text, _) = README[start..].split_once("```").expect("every block ends");
    text
}

/// Everything that a server sends to a client that sends nothing.
fn read_all(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("it is a socket");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server closes the connection");
    text
}

/// rule: listen.reuse
#[test]
fn basic_example_greets_with_its_generation() {
    let mut panzer = Setup::new(&example("basic"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let line = panzer.expect_line("constructed on ");
    let (_, address) = line.split_once("constructed on ").expect("it was found");
    let address = address.parse().expect("it logs its address");
    for generation in 1..=2 {
        panzer.expect_current(generation);
        if generation == 2 {
            let gone =
                |event: &crate::harness::event::Event| event.is("died", 1) && event.slot == 0;
            panzer.expect_event("the end of the first", gone);
        }
        let hello = read_all(address);
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

/// rule: listen.unix-path
#[test]
fn unix_example_keeps_its_path_over_reloads() {
    let dir = TempDir::new();
    let path = dir.join("echo.sock");
    let word = path.display().to_string();
    let mut panzer = Setup::new(&example("unix"), &[&word]).options(&["-n2"]).start();
    panzer.expect_current(1);
    let inode = fs::metadata(&path).expect("it is bound").ino();
    for generation in 2..=3 {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("it is a socket");
        stream.write_all(b"hello\n").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut echo = String::new();
        stream.read_to_string(&mut echo).expect("the server closes the connection");
        assert_eq!(echo, "hello\n");
        panzer.reload(generation);
        assert_eq!(fs::metadata(&path).expect("it is never missing").ino(), inode);
    }
    panzer.stop();
    assert!(!path.exists());
}

/// rules: ready.sources, ready.sigvtalrm
#[test]
fn readme_script_becomes_ready_and_serves() {
    let dir = TempDir::new();
    let script = block("#!/bin/sh");
    let script = dir.program("script", script.as_bytes());
    dir.script("prepare", "exit 0");
    let server = format!("exec '{}' listen=web=127.0.0.1:0 run=hold", example("witness").display());
    dir.script("server", &server);
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let setup = Setup::new(&script, &[]).options(&["-n1", "--bind=web=127.0.0.1:0"]);
    let mut panzer = setup.variable("PATH", &path).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it is served");
    dir.script("prepare", "exit 1");
    panzer.signal(Signal::Usr1);
    panzer.expect("failed", 2);
    panzer.stop();
}

/// rule: spawn.directory
#[test]
fn readme_deploy_runs_the_new_release() {
    let dir = TempDir::new();
    let releases = dir.join("releases");
    for release in ["41", "42"] {
        fs::create_dir_all(releases.join(release)).expect("it is ours");
        let name = format!("releases/{release}/server");
        let witness = example("witness");
        dir.script(
            &name,
            &format!("exec '{}' 'say=release {release}' run=idle", witness.display()),
        );
    }
    symlink("releases/41", dir.join("current")).expect("it is ours");
    let at = |text: &str| text.replace("/srv/app", &dir.path().display().to_string());
    let chdir = at("--chdir=/srv/app/current");
    let mut panzer = Setup::new(Path::new("./server"), &[]).options(&["-n1", &chdir]).start();
    panzer.expect_line("release 41");
    panzer.expect_current(1);
    let deploy = block("panzer -p /run/app/panzer.pid -C /srv/app/current ./server &");
    let deploy = deploy.lines().find(|line| line.starts_with("ln -sfn ")).expect("it is there");
    let done = {
        let _lock = spawn_lock();
        Command::new("sh").arg("-c").arg(at(deploy)).status().expect("the shell is there")
    };
    assert!(done.success(), "{deploy}");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("release 42");
    panzer.expect_current(2);
    panzer.stop();
}
