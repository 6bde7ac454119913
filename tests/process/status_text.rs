//! What `panzerctl status` prints, to the last character: what is said of processes that do
//! not exist is as much as a program can be told beforehand.

use crate::harness::ctl::{FakeMain, ctl};
use crate::harness::files::TempDir;

/// All that a status can speak of at once. One generation is of a program, whose workers say
/// nothing, and has lost its monitor; in the other a worker is being replaced.
const SERVING: [&str; 8] = [
    r"main version=9.9 pid=4200000 now=100000 up=50000 state=running count=2 dropped=1",
    r"reload generation=2 outcome=rolled_back at=97000 why=worker\x201\x20failed",
    r"listener name=127.0.0.1:80 address=127.0.0.1:80 origin=bound queue=0 backlog=4096",
    r"listener name=web address=127.0.0.1:81 origin=stored queue=8 backlog=8",
    r"listener name=udp address=127.0.0.1:82 origin=adopted",
    r"listener name=a\x22\x5c\x01 address=127.0.0.1:82 origin=bound queue=1 backlog=9",
    r"generation number=1 state=draining leader=4200010 since=40000 board=yes",
    "generation number=3 state=current leader=42 monitor=4200020 since=90000 says=up board=yes",
];

const SERVING_TREE: &str = "\
panzer 9.9, pid 4200000, running, up 50 s, 2 workers wanted
1 line of the log dropped
last reload: generation 2 was rolled back 3 s ago
  worker 1 failed

127.0.0.1:80                            bound, queue 0 of 4096
web               127.0.0.1:81          stored, queue 8 of 8
udp               127.0.0.1:82          adopted
a\"\\\\x01           127.0.0.1:82          bound, queue 1 of 9

├─ generation 1   draining    60 s      monitor 4200010 is gone
│  ├─ worker 1    ready       60 s      pid 4200003, 1 restart
│  │                                    last exit: killed by SIGKILL
│  └─ worker 2    draining    60 s      pid 4200004
└─ generation 3   current     10 s      monitor 4200020: up
   ├─ worker 1    busy        10 s      pid 4200001, 9 handled, 5 open
   ├─ worker 1    starting    500 ms    pid 4200002, 0 handled, replacement
   └─ worker 2    empty                 3 restarts
                                        last exit: exited with status 7
";

/// Without the white space at the ends of lines.
const SERVING_JSON: &str = r#"
    {"main":{"version":"9.9","pid":4200000,"state":"running","up_ms":50000,"count":2,
    "binary":null,"lines_dropped":1,"pss_bytes":null},"outage":null,"reload":{"generation":2,
    "outcome":"rolled_back","ago_ms":3000,"why":"worker 1 failed"},
    "listeners":[{"name":"127.0.0.1:80","address":"127.0.0.1:80","origin":"bound","queue":0,
    "backlog":4096,"path":null},{"name":"web","address":"127.0.0.1:81","origin":"stored",
    "queue":8,"backlog":8,"path":null},{"name":"udp","address":"127.0.0.1:82",
    "origin":"adopted","queue":null,"backlog":null,"path":null},{"name":"a\"\\\u0001",
    "address":"127.0.0.1:82","origin":"bound","queue":1,"backlog":9,"path":null}],
    "generations":[{"number":1,
    "state":"draining","leader":4200010,"monitor":null,"up_ms":60000,"says":null,
    "pss_bytes":null,"workers":[{"slot":1,"pid":4200003,"state":"ready","up_ms":60000,
    "state_ms":59000,"restarts":1,"handled":null,"connections":null,"pss_bytes":null,
    "last_exit":"killed by SIGKILL","last_reason":"unknown","replacement":false},{"slot":2,
    "pid":4200004,"state":"draining","up_ms":60000,"state_ms":1000,"restarts":0,"handled":null,
    "connections":null,"pss_bytes":null,"last_exit":null,"last_reason":null,
    "replacement":false}]},{"number":3,"state":"current","leader":42,"monitor":4200020,
    "up_ms":10000,"says":"up","pss_bytes":null,"workers":[{"slot":1,"pid":4200001,
    "state":"busy","up_ms":10000,"state_ms":1000,"restarts":0,"handled":9,"connections":5,
    "pss_bytes":null,"last_exit":null,"last_reason":null,"replacement":false},{"slot":1,
    "pid":4200002,"state":"starting","up_ms":500,"state_ms":500,"restarts":0,"handled":0,
    "connections":null,"pss_bytes":null,"last_exit":null,"last_reason":null,"replacement":true},
    {"slot":2,"pid":null,"state":"empty","up_ms":null,"state_ms":100,"restarts":3,"handled":4,
    "connections":2,"pss_bytes":null,"last_exit":"exited with status 7","last_reason":"unknown",
    "replacement":false}]}]}
"#;

const SERVING_METRICS: &str = r#"
# HELP panzer_main Version of main.
# TYPE panzer_main info
panzer_main_info{version="9.9"} 1
# HELP panzer_main_uptime_seconds Time since main was started.
# TYPE panzer_main_uptime_seconds gauge
# UNIT panzer_main_uptime_seconds seconds
panzer_main_uptime_seconds 50
# HELP panzer_main_state State of main.
# TYPE panzer_main_state stateset
panzer_main_state{panzer_main_state="starting"} 0
panzer_main_state{panzer_main_state="running"} 1
panzer_main_state{panzer_main_state="stopping"} 0
# HELP panzer_serving Whether a generation has a ready worker.
# TYPE panzer_serving gauge
panzer_serving 1
# HELP panzer_log_lines_dropped Log lines dropped since the last one that was written.
# TYPE panzer_log_lines_dropped gauge
panzer_log_lines_dropped 1
# HELP panzer_workers_wanted Number of workers that the operator asked for.
# TYPE panzer_workers_wanted gauge
panzer_workers_wanted 2
# HELP panzer_last_reload Result of the last reload.
# TYPE panzer_last_reload stateset
panzer_last_reload{panzer_last_reload="running"} 0
panzer_last_reload{panzer_last_reload="current"} 0
panzer_last_reload{panzer_last_reload="failed"} 0
panzer_last_reload{panzer_last_reload="rolled_back"} 1
# HELP panzer_last_reload_age_seconds Time since that result.
# TYPE panzer_last_reload_age_seconds gauge
# UNIT panzer_last_reload_age_seconds seconds
panzer_last_reload_age_seconds 3
# HELP panzer_listener_queue Connections waiting to be accepted.
# TYPE panzer_listener_queue gauge
panzer_listener_queue{name="127.0.0.1:80",address="127.0.0.1:80"} 0
panzer_listener_queue{name="web",address="127.0.0.1:81"} 8
panzer_listener_queue{name="a\"\\\\x01",address="127.0.0.1:82"} 1
# HELP panzer_listener_backlog Connections that may wait at most.
# TYPE panzer_listener_backlog gauge
panzer_listener_backlog{name="127.0.0.1:80",address="127.0.0.1:80"} 4096
panzer_listener_backlog{name="web",address="127.0.0.1:81"} 8
panzer_listener_backlog{name="a\"\\\\x01",address="127.0.0.1:82"} 9
# HELP panzer_generation_uptime_seconds Time since a generation was started.
# TYPE panzer_generation_uptime_seconds gauge
# UNIT panzer_generation_uptime_seconds seconds
panzer_generation_uptime_seconds{generation="1",state="draining"} 60
panzer_generation_uptime_seconds{generation="3",state="current"} 10
# HELP panzer_workers Workers of a generation by state.
# TYPE panzer_workers gauge
panzer_workers{generation="1",state="starting"} 0
panzer_workers{generation="1",state="ready"} 1
panzer_workers{generation="1",state="draining"} 1
panzer_workers{generation="3",state="starting"} 1
panzer_workers{generation="3",state="idle"} 0
panzer_workers{generation="3",state="busy"} 1
panzer_workers{generation="3",state="draining"} 0
# HELP panzer_worker_restarts Workers that a slot has lost.
# TYPE panzer_worker_restarts counter
panzer_worker_restarts_total{generation="1",slot="1"} 1
panzer_worker_restarts_total{generation="1",slot="2"} 0
panzer_worker_restarts_total{generation="3",slot="1"} 0
panzer_worker_restarts_total{generation="3",slot="2"} 3
# HELP panzer_worker_handled Connections or jobs that a worker has finished.
# TYPE panzer_worker_handled counter
panzer_worker_handled_total{generation="3",slot="1"} 9
# HELP panzer_worker_connections Connections that a worker holds.
# TYPE panzer_worker_connections gauge
panzer_worker_connections{generation="3",slot="1"} 5
# HELP panzer_pss_bytes Proportional set size (PSS).
# TYPE panzer_pss_bytes gauge
# UNIT panzer_pss_bytes bytes
# HELP panzer_worker_uptime_seconds Time since a worker was forked.
# TYPE panzer_worker_uptime_seconds gauge
# UNIT panzer_worker_uptime_seconds seconds
panzer_worker_uptime_seconds{generation="1",slot="1"} 60
panzer_worker_uptime_seconds{generation="1",slot="2"} 60
panzer_worker_uptime_seconds{generation="3",slot="1"} 10
# EOF
"#;

/// What the status of a main prints that answers with these lines and boards.
fn status(lines: &[&str], boards: &[&str], form: &[&str]) -> String {
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let mut answer = String::new();
    for line in lines.iter().chain(&["done"]) {
        answer += &line.replace('\\', r"\\");
        answer += r"\n";
    }
    let _main = FakeMain::start(&pid_file, "own", &answer, boards);
    let outcome = ctl(&pid_file, &[&["status"], form].concat());
    assert_eq!((outcome.status, &*outcome.stderr), (0, ""));
    outcome.stdout
}

/// rule: ctl.output
#[test]
fn status_prints_all_that_main_and_the_boards_say() {
    let boards = ["program", "two"];
    assert_eq!(status(&SERVING, &boards, &[]), SERVING_TREE);
    let expected: String = SERVING_JSON.lines().map(str::trim_start).collect();
    assert_eq!(status(&SERVING, &boards, &["--json"]), expected + "\n");
    assert_eq!(status(&SERVING, &boards, &["--metrics"]), SERVING_METRICS.trim_start());
}

/// rule: ctl.output
#[test]
fn status_begins_with_the_outage_and_says_when_the_next_start_is_due() {
    for (lines, tree, json, metrics) in [
        (
            [
                "main version=9.9 pid=4200000 now=100000 up=50000 state=starting dropped=0",
                r"outage due=103500 why=no\x20\x22port\x22",
                "reload outcome=running at=99000",
            ],
            "not serving; next start in 3.5 s; last failure: no \"port\"\n\
             panzer 9.9, pid 4200000, starting, up 50 s\n\
             last reload: in progress, requested 1 s ago\n",
            r#""outage":{"next_start_ms":3500,"why":"no \"port\""},"reload":{"generation":null,"#,
            ["panzer_main_state{panzer_main_state=\"starting\"} 1", "panzer_serving 0"],
        ),
        (
            [
                "main version=9.9 pid=4200000 now=100000 up=50000 state=stopping dropped=0",
                "outage",
                "reload generation=4 outcome=current at=99000",
            ],
            "not serving; no failure so far\n\
             panzer 9.9, pid 4200000, stopping, up 50 s\n\
             last reload: generation 4 became current 1 s ago\n",
            r#""outage":{"next_start_ms":null,"why":null},"reload":{"generation":4,"#,
            ["panzer_main_state{panzer_main_state=\"stopping\"} 1", "panzer_serving 0"],
        ),
    ] {
        assert_eq!(status(&lines, &[], &[]), tree);
        let shown = status(&lines, &[], &["--json"]);
        assert!(shown.contains(json), "{shown}");
        let shown = status(&lines, &[], &["--metrics"]);
        assert!(metrics.iter().all(|sample| shown.lines().any(|line| line == *sample)), "{shown}");
    }
}

/// rule: ctl.untrusted-reply
#[test]
fn status_takes_1024_records_of_a_kind_at_most() {
    let listeners = ["listener name=a address=b origin=bound"; 1_025];
    let generations = ["generation number=1 state=current leader=42 since=1"; 1_025];
    let lines = [&SERVING[..1], &listeners, &generations].concat();
    let shown = status(&lines, &[], &["--json"]);
    assert_eq!(shown.matches(r#""origin":"bound""#).count(), 1_024);
    assert_eq!(shown.matches(r#""leader":42"#).count(), 1_024);
}
