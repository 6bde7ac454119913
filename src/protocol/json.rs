//! `panzerctl status --json`: one object on one line, RFC 8259.
//!
//! Times are whole milliseconds and lengths: how long ago, by main's clock.
//! What is not known is `null`, so that every object has all of its keys. In a
//! text, bytes that are no UTF-8 are shown as `�`.

use crate::exit_status::Death;
use crate::protocol::status_records::{Binary, Listener, Main, Outage, Reload};
use crate::protocol::status_report::{GenerationReport, StatusReport, WorkerReport};
use crate::types::Pid;
use crate::{printable, text};
use alloc::string::String;

/// What is being written, and of what.
struct Json<'p> {
    out: String,
    picture: &'p StatusReport,
}

/// The whole object, and a newline.
pub fn render(picture: &StatusReport) -> String {
    let mut json = Json { out: String::new(), picture };
    json.fields(picture, |json, picture| {
        json.object("main", picture.main.as_ref(), |json, main| json.main(main, picture.binary));
        json.object("outage", picture.outage.as_ref(), Json::outage);
        json.object("reload", picture.reload.as_ref(), Json::reload);
        json.array("listeners", &picture.listeners, Json::listener);
        json.array("generations", &picture.generations, Json::generation);
    });
    json.out.push('\n');
    json.out
}

impl Json<'_> {
    /// A comma, unless it is the first thing between two brackets.
    fn comma(&mut self) {
        self.out.push_str(if self.out.ends_with(['{', '[']) { "" } else { "," });
    }

    fn key(&mut self, key: &str) {
        self.comma();
        text::add(&mut self.out, format_args!("\"{key}\":"));
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        self.key(key);
        match value {
            Some(value) => text::add(&mut self.out, format_args!("{value}")),
            None => self.out.push_str("null"),
        }
    }

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

    fn fields<T>(&mut self, value: &T, fill: impl Fn(&mut Self, &T)) {
        self.out.push('{');
        fill(self, value);
        self.out.push('}');
    }

    fn object<T>(&mut self, key: &str, value: Option<&T>, fill: impl Fn(&mut Self, &T)) {
        self.key(key);
        match value {
            Some(value) => self.fields(value, fill),
            None => self.out.push_str("null"),
        }
    }

    fn array<T>(&mut self, key: &str, items: &[T], fill: impl Fn(&mut Self, &T)) {
        self.key(key);
        self.out.push('[');
        for item in items {
            self.comma();
            self.fields(item, &fill);
        }
        self.out.push(']');
    }

    fn main(&mut self, main: &Main<'_>, binary: Option<Binary>) {
        self.text("version", Some(&main.version));
        self.pid("pid", Some(main.pid));
        self.text("state", Some(main.state.name().as_bytes()));
        self.number("up_ms", Some(main.up.0));
        self.number("count", main.count.map(u64::from));
        self.text("binary", binary.map(|binary| binary.name().as_bytes()));
        self.number("lines_dropped", Some(main.dropped.into()));
        self.memory(Some(main.pid));
    }

    fn outage(&mut self, outage: &Outage<'_>) {
        let now = self.picture.main.as_ref().map(|main| main.now);
        let wait = outage.due.zip(now).map(|(due, now)| due.since(now).0);
        self.number("next_start_ms", wait);
        self.text("why", outage.why.as_deref());
    }

    fn memory(&mut self, pid: Option<Pid>) {
        self.number("pss_bytes", pid.and_then(|pid| self.picture.memory_of(pid)));
    }

    fn reload(&mut self, reload: &Reload<'_>) {
        self.number("generation", reload.generation.map(|generation| generation.0.into()));
        self.text("outcome", Some(reload.outcome.name().as_bytes()));
        self.number("ago_ms", Some(self.picture.age(reload.at).0));
        self.text("why", reload.why.as_deref());
    }

    fn listener(&mut self, listener: &Listener<'_>) {
        self.text("name", Some(&listener.name));
        self.text("address", Some(&listener.address));
        self.text("origin", Some(listener.origin.name().as_bytes()));
        self.number("queue", listener.queue.map(u64::from));
        self.number("backlog", listener.backlog.map(u64::from));
        self.text("path", listener.path.map(|path| path.name().as_bytes()));
    }

    fn generation(&mut self, generation: &GenerationReport) {
        let life = &generation.life;
        self.number("number", Some(life.number.0.into()));
        self.text("state", Some(life.state.name().as_bytes()));
        self.pid("leader", Some(life.leader));
        self.pid("monitor", life.monitor);
        self.number("up_ms", Some(self.picture.age(life.since).0));
        self.text("says", life.says.as_deref());
        self.memory(life.monitor);
        match &generation.workers {
            Some(Ok(workers)) => self.array("workers", workers, Json::worker),
            Some(Err(_)) | None => self.number("workers", None),
        }
    }

    fn worker(&mut self, worker: &WorkerReport) {
        self.number("slot", Some(worker.slot.number().into()));
        self.pid("pid", worker.pid);
        self.text("state", Some(worker.state().as_bytes()));
        self.number("up_ms", worker.pid.map(|_| self.picture.age(worker.since).0));
        self.number("state_ms", Some(self.picture.age(worker.active_since).0));
        self.number("restarts", Some(worker.restarts.into()));
        self.number("handled", worker.handled);
        self.number("connections", worker.connections.map(u64::from));
        self.memory(worker.pid);
        let exit = worker.exit.map(|exit| text::compose(format_args!("{}", Death(exit))));
        self.text("last_exit", exit.as_ref().map(String::as_bytes));
        self.text("last_reason", worker.exit.map(|_| worker.reason.name().as_bytes()));
        self.key("replacement");
        self.out.push_str(if worker.is_replacement { "true" } else { "false" });
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::protocol::status_report::tests::example;

    #[test]
    fn object_has_every_key() {
        assert_eq!(
            render(&example()),
            concat!(
                r#"{"main":{"version":"0.1.0","pid":12,"state":"running","up_ms":5012,"count":2,"#,
                r#""binary":"differs","lines_dropped":0,"pss_bytes":4096},"outage":null,"#,
                r#""reload":{"generation":3,"outcome":"failed","ago_ms":203,"#,
                r#""why":"it is \"bad\""},"listeners":["#,
                r#"{"name":"web","address":"127.0.0.1:80","origin":"bound","queue":1,"#,
                r#""backlog":4096,"path":null},"#,
                r#"{"name":"web","address":"127.0.0.1:80","origin":"stored","queue":2,"#,
                r#""backlog":4096,"path":null}],"#,
                r#""generations":[{"number":2,"state":"current","leader":13,"monitor":13,"#,
                r#""up_ms":1203,"says":null,"pss_bytes":null,"workers":["#,
                r#"{"slot":1,"pid":14,"state":"busy","up_ms":1103,"state_ms":3,"restarts":0,"#,
                r#""handled":9,"connections":5,"pss_bytes":null,"last_exit":null,"#,
                r#""last_reason":null,"#,
                r#""replacement":false},"#,
                r#"{"slot":2,"pid":null,"state":"empty","up_ms":null,"state_ms":3,"#,
                r#""restarts":1,"handled":9,"connections":null,"pss_bytes":null,"#,
                r#""last_exit":"exited with status 7","last_reason":"unknown","#,
                r#""replacement":false}]}]}"#,
                "\n"
            )
        );
    }
}
