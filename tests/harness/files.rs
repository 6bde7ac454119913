//! A temporary directory for each test, and the programs that the tests start.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::{TIMEOUT, spawn_lock};

/// A temporary directory, removed when dropped.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes a new one. A test in another pid namespace may have the same pid, and one
    /// that was killed has left its directories.
    pub fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("panzer-test-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Self { path },
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("no temporary directory can be made: {error}"),
            }
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).expect("a file can be written");
        path
    }

    /// Makes `name` an executable file of these bytes, or replaces it as a
    /// deployment does: starting it finds either the old or the new one, complete.
    pub fn program(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.join(name);
        let fresh = self.join(&format!("{name}.new"));
        let _lock = spawn_lock();
        fs::write(&fresh, content).expect("a program can be written");
        fs::set_permissions(&fresh, Permissions::from_mode(0o755)).expect("it is ours");
        fs::rename(&fresh, &path).expect("it can be renamed");
        path
    }

    /// A shell script as the program `name`.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        self.program(name, format!("#!/bin/sh\n{body}\n").as_bytes())
    }

    /// The program `app`, whose command line the next version may change.
    pub fn app(&self, program: &Path, words: &[&str]) -> PathBuf {
        let words: String = words.iter().map(|word| format!(" '{word}'")).collect();
        self.script("app", &format!("exec '{}'{words}", program.display()))
    }

    /// A named pipe: opening it blocks until the other end is opened. fifo(7)
    pub fn gate(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        let _lock = spawn_lock();
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo is there");
        assert!(made.success(), "mkfifo {}", path.display());
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What is left in the temporary directory is no reason to fail.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Lets the process that waits at a gate go on; waits for it to come first.
pub fn open_gate(gate: &Path) {
    let gate = gate.to_path_buf();
    let (done, opened) = mpsc::channel();
    // If no process comes to the gate, only this thread is stuck.
    std::thread::spawn(move || done.send(fs::write(gate, "go\n").is_ok()));
    assert_eq!(opened.recv_timeout(TIMEOUT), Ok(true), "no process came to the gate");
}

/// Waits until a process writes into a named pipe.
pub fn pass_gate(gate: &Path) {
    let gate = gate.to_path_buf();
    let (done, passed) = mpsc::channel();
    std::thread::spawn(move || done.send(fs::read(gate).is_ok()));
    assert_eq!(passed.recv_timeout(TIMEOUT), Ok(true), "no process opened the gate");
}

/// The path of a program that a variable names, made absolute for processes that
/// start in another directory.
fn whole(path: OsString) -> PathBuf {
    std::path::absolute(path).expect("it is the path of a program")
}

/// The program under test: `PANZER_BIN`, or the one that cargo has built.
pub fn panzer() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_panzer"));
    std::env::var_os("PANZER_BIN").map_or_else(built, whole)
}

/// Its control program: `PANZERCTL_BIN`, or the one that cargo has built.
pub fn panzerctl() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_panzerctl"));
    std::env::var_os("PANZERCTL_BIN").map_or_else(built, whole)
}

/// The example `name`: the variable `NAME_BIN`, or what cargo has built
/// beside this test.
pub fn example(name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(format!("{}_BIN", name.to_uppercase())) {
        return whole(path);
    }
    // target/PROFILE/deps/this-0123456789abcdef
    let own = std::env::current_exe().expect("/proc is mounted");
    let profile = own.ancestors().nth(2).expect("it stands in a target directory");
    let path = profile.join("examples").join(name);
    assert!(path.is_file(), "{} is missing: cargo build --examples", path.display());
    path
}
