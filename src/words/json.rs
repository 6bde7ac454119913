//! `panzerctl status --json`: one object on one line, RFC 8259.
//!
//! Times are whole milliseconds and lengths: how long ago, by main's clock.
//! What is not known is `null`, so that every object has all of its keys. In a
//! text, bytes that are no UTF-8 are shown as `�`.

use super::death::Death;
use super::picture::{Generation, Picture, Worker};
use super::printable;
use super::status::{Listener, Main, Reload};
use crate::types::Pid;
use alloc::string::String;
use core::fmt::{self, Write as _};

/// An object or an array that is being written.
struct Json<'a> {
    out: &'a mut String,
    /// Whether a comma comes before the next value.
    is_first: bool,
}

/// The whole object, and a newline.
#[must_use]
pub fn render(picture: &Picture) -> String {
    let mut text = String::new();
    let out = &mut text;
    between(out, "{", "}\n", |json| {
        json.object(
            "main",
            picture.main.as_ref().map(|main| |json: &mut Json<'_>| json.main(main)),
        );
        let reload = picture.reload.as_ref();
        json.object(
            "reload",
            reload.map(|reload| |json: &mut Json<'_>| json.reload(picture, reload)),
        );
        json.array("listeners", &picture.listeners, |json, listener| json.listener(listener));
        json.array("generations", &picture.generations, |json, generation| {
            json.generation(picture, generation);
        });
    });
    text
}

/// Writes what `fill` says between two brackets.
fn between(out: &mut String, open: &str, close: &str, fill: impl FnOnce(&mut Json<'_>)) {
    out.push_str(open);
    fill(&mut Json { out, is_first: true });
    out.push_str(close);
}

impl Json<'_> {
    fn comma(&mut self) {
        if !self.is_first {
            self.out.push(',');
        }
        self.is_first = false;
    }

    #[inline(never)]
    fn key(&mut self, key: &str) {
        self.comma();
        // A String takes everything.
        let _ = write!(self.out, "\"{key}\":");
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        self.key(key);
        let _ = match value {
            Some(value) => write!(self.out, "{value}"),
            None => self.out.write_str("null"),
        };
    }

    #[inline(never)]
    fn text(&mut self, key: &str, value: Option<&[u8]>) {
        self.key(key);
        let Some(value) = value else { return self.out.push_str("null") };
        self.out.push('"');
        for c in printable::lossy(value).chars() {
            self.out.push_str(printable::json(c, &mut [0; 6]));
        }
        self.out.push('"');
    }

    fn pid(&mut self, key: &str, pid: Option<Pid>) {
        self.number(key, pid.map(|pid| pid.raw().unsigned_abs().into()));
    }

    fn object(&mut self, key: &str, fill: Option<impl FnOnce(&mut Json<'_>)>) {
        self.key(key);
        match fill {
            Some(fill) => between(self.out, "{", "}", fill),
            None => self.out.push_str("null"),
        }
    }

    fn array<T>(&mut self, key: &str, items: &[T], fill: impl Fn(&mut Json<'_>, &T)) {
        self.key(key);
        between(self.out, "[", "]", |json| {
            for item in items {
                json.comma();
                between(json.out, "{", "}", |json| fill(json, item));
            }
        });
    }

    fn main(&mut self, main: &Main<'_>) {
        self.text("version", Some(&main.version));
        self.pid("pid", Some(main.pid));
        self.text("state", Some(main.state.name().as_bytes()));
        self.number("up_ms", Some(main.up.0));
        self.number("count", main.count.map(u64::from));
        self.text("binary", Some(main.binary.name().as_bytes()));
        self.number("lines_dropped", Some(main.dropped.into()));
    }

    fn reload(&mut self, picture: &Picture, reload: &Reload<'_>) {
        self.number("generation", reload.generation.map(|generation| generation.0.into()));
        self.text("outcome", Some(reload.outcome.name().as_bytes()));
        self.number("ago_ms", Some(picture.age(reload.at).0));
        self.text("why", reload.why.as_deref());
    }

    fn listener(&mut self, listener: &Listener<'_>) {
        self.text("name", Some(&listener.name));
        self.text("address", Some(&listener.address));
        self.text("origin", Some(listener.origin.name().as_bytes()));
        self.number("queue", listener.queue.map(u64::from));
        self.number("backlog", listener.backlog.map(u64::from));
    }

    fn generation(&mut self, picture: &Picture, generation: &Generation) {
        let life = &generation.life;
        self.number("number", Some(life.number.0.into()));
        self.text("state", Some(life.state.name().as_bytes()));
        self.pid("leader", Some(life.leader));
        self.pid("monitor", life.monitor);
        self.number("up_ms", Some(picture.age(life.since).0));
        self.text("says", life.says.as_deref());
        match &generation.workers {
            Some(Ok(workers)) => {
                self.array("workers", workers, |json, worker| json.worker(picture, worker));
            }
            Some(Err(_)) | None => self.number("workers", None),
        }
    }

    fn worker(&mut self, picture: &Picture, worker: &Worker) {
        let is_there = worker.pid.is_some();
        self.number("slot", Some(worker.slot.number().into()));
        self.pid("pid", worker.pid);
        self.text("state", Some(worker.state().as_bytes()));
        self.number("up_ms", is_there.then(|| picture.age(worker.since).0));
        self.number("state_ms", Some(picture.age(worker.active_since).0));
        self.number("restarts", Some(worker.restarts.into()));
        self.number("handled", Some(worker.handled));
        let exit = worker.exit.map(|exit| words(format_args!("{}", Death(exit))));
        self.text("last_exit", exit.as_ref().map(|exit| exit.as_bytes()));
    }
}

fn words(what: fmt::Arguments<'_>) -> String {
    alloc::fmt::format(what)
}
