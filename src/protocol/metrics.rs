//! `panzerctl status --metrics`: `OpenMetrics` text, version 1.0.
//!
//! Counters of a worker begin at 0 with each process, which is what a counter
//! may do. A slot keeps its number of restarts as long as its generation lives.

use crate::printable;
use crate::protocol::status_records::{Binary, Listener, Phase, ReloadOutcome};
use crate::protocol::status_report::{GenerationReport, StatusReport, WorkerReport};
use crate::seconds::Seconds;
use crate::text::words;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write as _};

words! {
    /// What a family of metrics is.
    Kind {
        /// It goes up and down.
        Gauge = "gauge",
        /// It only goes up.
        Counter = "counter",
        /// Its labels say what there is to say.
        Info = "info",
        /// One of its samples is 1.
        StateSet = "stateset",
    }
}

/// Everything, from the first family to the end of the text.
pub fn render(picture: &StatusReport) -> String {
    let mut text = MetricsText { out: String::new() };
    text.main(picture);
    text.reload(picture);
    text.listeners(&picture.listeners);
    text.generations(picture);
    text.workers(picture);
    text.out.push_str("# EOF\n");
    text.out
}

struct MetricsText {
    out: String,
}

/// Labels of one sample, in their order.
type Labels<'a> = [(&'a str, &'a dyn fmt::Display)];

impl MetricsText {
    /// Begins a family; a name ends in its unit, if it has one.
    fn family(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = kind.name();
        // A String takes everything.
        let _ = write!(self.out, "# HELP panzer_{name} {help}.\n# TYPE panzer_{name} {kind}\n");
        for unit in ["seconds", "bytes"].into_iter().filter(|unit| name.ends_with(unit)) {
            let _ = writeln!(self.out, "# UNIT panzer_{name} {unit}");
        }
    }

    /// One sample; `name` has the ending that its kind wants.
    fn sample(&mut self, name: &str, labels: &Labels<'_>, value: &dyn fmt::Display) {
        let _ = write!(self.out, "panzer_{name}");
        for (index, (key, label)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{key}=\"{label}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one sample without labels.
    fn single(&mut self, name: &str, help: &str, value: &dyn fmt::Display) {
        self.family(Kind::Gauge, name, help);
        self.sample(name, &[], value);
    }

    /// One sample for each state, of which one is 1.
    fn state(&mut self, name: &str, states: &mut dyn Iterator<Item = (&'static str, bool)>) {
        let label = alloc::format!("panzer_{name}");
        for (state, is_it) in states {
            self.sample(name, &[(&label, &state)], &u32::from(is_it));
        }
    }

    fn main(&mut self, picture: &StatusReport) {
        let Some(main) = &picture.main else { return };
        self.family(Kind::Info, "main", "Version of main");
        self.sample("main_info", &[("version", &Label(&main.version))], &1_u32);
        self.single("main_uptime_seconds", "Time since main was started", &Seconds(main.up));
        self.family(Kind::StateSet, "main_state", "State of main");
        self.state("main_state", &mut Phase::ALL.iter().map(|at| (at.name(), *at == main.state)));
        if let Some(binary) = picture.binary {
            let differs = u32::from(binary == Binary::Differs);
            let what = "Whether the panzer on disk is not the one that runs";
            self.single("main_binary_differs", what, &differs);
        }
        let serves = u32::from(picture.outage.is_none());
        self.single("serving", "Whether a generation has a ready worker", &serves);
        let dropped = "Log lines dropped since the last one that was written";
        self.single("log_lines_dropped", dropped, &main.dropped);
        if let Some(count) = main.count {
            self.single(
                "workers_wanted",
                "Number of workers that the operator asked for",
                &u32::from(count),
            );
        }
    }

    fn reload(&mut self, picture: &StatusReport) {
        let Some(reload) = &picture.reload else { return };
        self.family(Kind::StateSet, "last_reload", "Result of the last reload");
        let outcome = reload.outcome;
        self.state(
            "last_reload",
            &mut ReloadOutcome::ALL.iter().map(|at| (at.name(), *at == outcome)),
        );
        let age = Seconds(picture.age(reload.at));
        self.single("last_reload_age_seconds", "Time since that result", &age);
    }

    fn listeners(&mut self, listeners: &[Listener<'_>]) {
        self.family(Kind::Gauge, "listener_queue", "Connections waiting to be accepted");
        self.each_listener("listener_queue", listeners, |listener| listener.queue);
        self.family(Kind::Gauge, "listener_backlog", "Connections that may wait at most");
        self.each_listener("listener_backlog", listeners, |listener| listener.backlog);
    }

    fn each_listener(
        &mut self,
        name: &str,
        listeners: &[Listener<'_>],
        value: fn(&Listener<'_>) -> Option<u32>,
    ) {
        for (index, listener) in listeners.iter().enumerate() {
            let is_same = |other: &Listener<'_>| {
                other.name == listener.name && other.address == listener.address
            };
            // Two samples with the same labels would be an error.
            if let Some(value) = value(listener)
                && !listeners[..index].iter().any(is_same)
            {
                let (called, address) = (Label(&listener.name), Label(&listener.address));
                self.sample(name, &[("name", &called), ("address", &address)], &value);
            }
        }
    }

    fn generations(&mut self, picture: &StatusReport) {
        self.family(
            Kind::Gauge,
            "generation_uptime_seconds",
            "Time since a generation was started",
        );
        for generation in distinct(&picture.generations) {
            let labels: &Labels<'_> = &[
                ("generation", &generation.life.number),
                ("state", &generation.life.state.name()),
            ];
            let age = Seconds(picture.age(generation.life.since));
            self.sample("generation_uptime_seconds", labels, &age);
        }
        self.family(Kind::Gauge, "workers", "Workers of a generation by state");
        for (generation, workers) in with_boards(picture) {
            // A program says nothing of what it does: it is ready, and no more is known.
            let is_silent =
                |worker: &WorkerReport| worker.pid.is_some() && worker.handled.is_none();
            let states = match workers.iter().any(is_silent) {
                true => &["starting", "ready", "draining"][..],
                false => &["starting", "idle", "busy", "draining"],
            };
            for state in states {
                let is_at =
                    |worker: &&WorkerReport| worker.pid.is_some() && worker.state() == *state;
                let count = workers.iter().filter(is_at).count() as u64;
                let labels: &Labels<'_> =
                    &[("generation", &generation.life.number), ("state", state)];
                self.sample("workers", labels, &count);
            }
        }
    }

    fn workers(&mut self, picture: &StatusReport) {
        self.family(Kind::Counter, "worker_restarts", "Workers that a slot has lost");
        self.each_worker("worker_restarts_total", picture, |_, worker| {
            Some(Box::new(worker.restarts))
        });
        self.family(
            Kind::Counter,
            "worker_handled",
            "Connections or jobs that a worker has finished",
        );
        self.each_worker("worker_handled_total", picture, |_, worker| {
            worker.pid.and(worker.handled).map(|handled| Box::new(handled) as _)
        });
        self.family(Kind::Gauge, "worker_connections", "Connections that a worker holds");
        self.each_worker("worker_connections", picture, |_, worker| {
            worker.pid.and(worker.connections).map(|held| Box::new(held) as _)
        });
        self.memory(picture);
        self.family(Kind::Gauge, "worker_uptime_seconds", "Time since a worker was forked");
        self.each_worker("worker_uptime_seconds", picture, |picture, worker| {
            worker.pid.map(|_| Box::new(Seconds(picture.age(worker.since))) as _)
        });
    }

    /// Of every process that it could be read of, by its role.
    fn memory(&mut self, picture: &StatusReport) {
        self.family(Kind::Gauge, "pss_bytes", "Proportional set size (PSS)");
        if let Some(bytes) = picture.main.as_ref().and_then(|main| picture.memory_of(main.pid)) {
            self.sample("pss_bytes", &[("role", &"main")], &bytes);
        }
        for generation in distinct(&picture.generations) {
            let bytes = generation.life.monitor.and_then(|pid| picture.memory_of(pid));
            let number = &generation.life.number;
            if let Some(bytes) = bytes {
                let labels: &Labels<'_> = &[("role", &"monitor"), ("generation", number)];
                self.sample("pss_bytes", labels, &bytes);
            }
            for worker in generation.workers.iter().flatten().flatten() {
                let Some(bytes) = worker.pid.and_then(|pid| picture.memory_of(pid)) else {
                    continue;
                };
                let labels: &Labels<'_> =
                    &[("role", &"worker"), ("generation", number), ("slot", &worker.slot)];
                if !worker.is_replacement {
                    self.sample("pss_bytes", labels, &bytes);
                }
            }
        }
    }

    fn each_worker(
        &mut self,
        name: &str,
        picture: &StatusReport,
        value: fn(&StatusReport, &WorkerReport) -> Option<Box<dyn fmt::Display>>,
    ) {
        for (generation, workers) in with_boards(picture) {
            // A replacement's samples would have the labels of the one it replaces.
            for worker in workers.iter().filter(|worker| !worker.is_replacement) {
                let labels: &Labels<'_> =
                    &[("generation", &generation.life.number), ("slot", &worker.slot)];
                if let Some(value) = value(picture, worker) {
                    self.sample(name, labels, &value);
                }
            }
        }
    }
}

/// The generations, each number once.
fn distinct(generations: &[GenerationReport]) -> impl Iterator<Item = &GenerationReport> {
    generations.iter().enumerate().filter_map(|(index, generation)| {
        let number = generation.life.number;
        let is_known = generations[..index].iter().any(|other| other.life.number == number);
        (!is_known).then_some(generation)
    })
}

/// The generations whose workers are known.
fn with_boards(
    picture: &StatusReport,
) -> impl Iterator<Item = (&GenerationReport, &[WorkerReport])> {
    distinct(&picture.generations).filter_map(|generation| match &generation.workers {
        Some(Ok(workers)) => Some((generation, workers.as_slice())),
        Some(Err(_)) | None => None,
    })
}

/// The value of a label: what would end it is escaped.
struct Label<'a>(&'a [u8]);

impl fmt::Display for Label<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in printable::lossy(self.0).chars() {
            // Before a control character a backslash too, of what it is shown as.
            let is_escaped = matches!(c, '\\' | '"') || printable::is_control(c);
            out.write_str(if is_escaped { "\\" } else { "" })?;
            out.write_str(printable::show(c, &mut [0; 4]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::protocol::status_report::tests::example;
    use crate::types::Pid;
    use alloc::vec::Vec;

    #[test]
    fn text_has_every_family_and_each_sample_once() {
        let text = render(&example());
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"panzer_main_info{version="0.1.0"} 1"#,
                "panzer_main_uptime_seconds 5.012",
                r#"panzer_main_state{panzer_main_state="starting"} 0"#,
                r#"panzer_main_state{panzer_main_state="running"} 1"#,
                r#"panzer_main_state{panzer_main_state="stopping"} 0"#,
                "panzer_main_binary_differs 1",
                "panzer_serving 1",
                "panzer_log_lines_dropped 0",
                "panzer_workers_wanted 2",
                r#"panzer_last_reload{panzer_last_reload="running"} 0"#,
                r#"panzer_last_reload{panzer_last_reload="current"} 0"#,
                r#"panzer_last_reload{panzer_last_reload="failed"} 1"#,
                r#"panzer_last_reload{panzer_last_reload="rolled_back"} 0"#,
                "panzer_last_reload_age_seconds 0.203",
                r#"panzer_listener_queue{name="web",address="127.0.0.1:80"} 1"#,
                r#"panzer_listener_backlog{name="web",address="127.0.0.1:80"} 4096"#,
                r#"panzer_generation_uptime_seconds{generation="2",state="current"} 1.203"#,
                r#"panzer_workers{generation="2",state="starting"} 0"#,
                r#"panzer_workers{generation="2",state="idle"} 0"#,
                r#"panzer_workers{generation="2",state="busy"} 1"#,
                r#"panzer_workers{generation="2",state="draining"} 0"#,
                r#"panzer_worker_restarts_total{generation="2",slot="1"} 0"#,
                r#"panzer_worker_restarts_total{generation="2",slot="2"} 1"#,
                r#"panzer_worker_handled_total{generation="2",slot="1"} 9"#,
                r#"panzer_worker_connections{generation="2",slot="1"} 5"#,
                r#"panzer_pss_bytes{role="main"} 4096"#,
                r#"panzer_worker_uptime_seconds{generation="2",slot="1"} 1.103"#,
            ]
        );
        let begin = "# HELP panzer_main_uptime_seconds Time since main was started.\n\
                     # TYPE panzer_main_uptime_seconds gauge\n\
                     # UNIT panzer_main_uptime_seconds seconds\n\
                     panzer_main_uptime_seconds 5.012\n";
        assert!(text.contains(begin), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }

    #[test]
    fn memory_of_a_replacement_is_no_second_sample() {
        let mut report = example();
        let Some(Ok(workers)) = &mut report.generations[0].workers else {
            panic!("the example has workers")
        };
        workers[1].slot = workers[0].slot;
        workers[1].pid = Pid::new(15);
        workers[1].is_replacement = true;
        let pids = workers.iter().filter_map(|worker| worker.pid);
        report.memory = pids.map(|pid| (pid, 4_096)).collect();
        let text = render(&report);
        let samples: Vec<_> = text.lines().filter(|line| line.contains("role=")).collect();
        let expected = [r#"panzer_pss_bytes{role="worker",generation="2",slot="1"} 4096"#];
        assert_eq!(samples, expected);
    }
}
