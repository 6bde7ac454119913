//! A server whose next version may be a bad one.

use std::fs;
use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::ask;
use crate::harness::panzer::Panzer;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// A program `app` that serves, and may be replaced by a worse one.
pub struct Serving {
    pub place: Place,
    pub panzer: Panzer,
    pub address: SocketAddr,
    pub monitor: u32,
    pub workers: Vec<u32>,
}

impl Serving {
    /// Starts it, with a directory to be in and an environment file.
    pub fn start(options: &[&str]) -> Self {
        let place = Place::new();
        let app = place.app(&example("http"), &["127.0.0.1:0"]);
        fs::create_dir(place.join("here")).expect("it is a new place");
        fs::write(place.join("env"), "COLOUR=blue\n").expect("it is a new place");
        let here = format!("--chdir={}", place.join("here").display());
        let env = format!("--env-file={}", place.join("env").display());
        let setup = Setup::new(&app, &[]).options(&["-n2", &here, &env]);
        let mut panzer = setup.options(options).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let workers = panzer.workers(monitor);
        assert_eq!(workers.len(), 2);
        Self { place, panzer, address, monitor, workers }
    }

    /// Asks for a reload that must fail, and leave everything as it was.
    pub fn expect_failure(&mut self, what: &str) {
        self.panzer.signal(Signal::Usr1);
        let failed = self
            .panzer
            .expect_event("failure", |event| matches!(&*event.name, "failed" | "current"));
        assert_eq!((&*failed.name, failed.generation), ("failed", 2), "{what}");
        assert!(!failed.why.is_empty() && !failed.why.contains("no known reason"), "{failed:?}");
        self.panzer.expect_line("generation 2 failed: ");
        self.expect_untouched(what);
    }

    /// The first generation serves with the processes it had.
    pub fn expect_untouched(&mut self, what: &str) {
        let answer = ask(self.address).expect(what);
        assert_eq!(answer.generation, 1, "{what}");
        assert_eq!(self.panzer.workers(self.monitor), self.workers, "{what}");
    }

    /// The next reload of a good version works, and the old one is gone.
    pub fn expect_recovery(mut self) {
        self.place.app(&example("http"), &["127.0.0.1:0"]);
        self.panzer.reload(3);
        let monitor = self.monitor;
        self.panzer.expect_event("the end of the first", |event| {
            event.is("died", 1) && event.pid == monitor
        });
        assert_eq!(ask(self.address).expect("it serves").generation, 3);
        let mut panzer = self.panzer.stop();
        assert_eq!(panzer.count_lines("generation 2 failed: "), 1);
    }

    /// A version whose `app` is this script fails and is recovered from.
    pub fn fails_with(mut self, body: &str) {
        self.place.script("app", body);
        self.expect_failure(body);
        self.expect_recovery();
    }

    /// The second generation is rolled back, and the first was never touched.
    pub fn expect_rollback(mut self) {
        self.panzer.expect("rolled_back", 2);
        self.panzer.expect_line("nobody of generation 2 is left");
        self.expect_untouched("a rollback");
        assert_eq!(self.panzer.count_lines("generation 1 is draining"), 0);
        // Whoever is on probation when all is to end is no reason to wait.
        self.panzer.signal(Signal::Usr1);
        self.panzer.expect("ready", 3);
        self.panzer.stop();
    }
}
