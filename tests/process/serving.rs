//! A server whose program a test can replace by a broken version.

use std::fs;
use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::ask;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::Panzer;
use crate::harness::setup::Setup;

/// A program `app` that serves and can be replaced.
pub struct Serving {
    pub dir: TempDir,
    pub panzer: Panzer,
    pub address: SocketAddr,
    pub monitor: u32,
    pub workers: Vec<u32>,
}

impl Serving {
    /// Starts it with a working directory and an environment file.
    pub fn start(options: &[&str]) -> Self {
        let dir = TempDir::new();
        let app = dir.app(&example("http"), &["127.0.0.1:0"]);
        fs::create_dir(dir.join("here")).expect("the directory is empty");
        fs::write(dir.join("env"), "COLOUR=blue\n").expect("the directory is empty");
        let here = format!("--chdir={}", dir.join("here").display());
        let env = format!("--env-file={}", dir.join("env").display());
        let setup = Setup::new(&app, &[]).options(&["-n2", &here, &env]);
        let mut panzer = setup.options(options).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let workers = panzer.workers(monitor);
        assert_eq!(workers.len(), 2);
        Self { dir, panzer, address, monitor, workers }
    }

    /// Asks for a reload, which must fail and change nothing.
    pub fn expect_failure(&mut self, description: &str) {
        self.panzer.signal(Signal::Usr1);
        let failed = self
            .panzer
            .expect_event("failure", |event| matches!(&*event.name, "failed" | "current"));
        assert_eq!((&*failed.name, failed.generation), ("failed", 2), "{description}");
        assert!(
            !failed.reason.is_empty() && !failed.reason.contains("reason unknown"),
            "{failed:?}"
        );
        self.panzer.expect_line("generation 2: failed: ");
        self.expect_untouched(description);
    }

    /// Requires that the first generation still serves with the same processes.
    pub fn expect_untouched(&mut self, description: &str) {
        let answer = ask(self.address).expect(description);
        assert_eq!(answer.generation, 1, "{description}");
        assert_eq!(self.panzer.workers(self.monitor), self.workers, "{description}");
    }

    /// Requires that the next reload, with a good version, works and ends the old generation.
    pub fn expect_recovery(mut self) {
        self.dir.app(&example("http"), &["127.0.0.1:0"]);
        self.panzer.reload(3);
        let monitor = self.monitor;
        self.panzer.expect_event("the end of the first", |event| {
            event.is("died", 1) && event.pid == monitor
        });
        assert_eq!(ask(self.address).expect("it serves").generation, 3);
        let mut panzer = self.panzer.stop();
        assert_eq!(panzer.count_lines("generation 2: failed: "), 1);
    }

    /// Requires that a reload with this script as `app` fails, and the one after it works.
    pub fn fails_with(mut self, body: &str) {
        self.dir.script("app", body);
        self.expect_failure(body);
        self.expect_recovery();
    }

    /// Requires that the second generation is rolled back, and the first was never touched.
    pub fn expect_rollback(mut self) {
        self.panzer.expect("rolled_back", 2);
        self.panzer.expect_line("generation 2: all processes exited");
        self.expect_untouched("a rollback");
        assert_eq!(self.panzer.count_lines("generation 1: draining"), 0);
        // A stop does not wait for a probation.
        self.panzer.signal(Signal::Usr1);
        self.panzer.expect("ready", 3);
        self.panzer.stop();
    }
}
