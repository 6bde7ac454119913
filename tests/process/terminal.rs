//! Main on a controlling terminal, which no process below it has.

use std::fs;
use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::event::Event;
use crate::harness::files::example;
use crate::harness::panzer::Panzer;
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// Makes a new terminal the controlling one of this process and its standard input,
/// and executes the rest of the arguments. A child keeps the other end open as long as
/// any process has the terminal.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, sys, termios
screen, terminal = pty.openpty()
if os.fork() == 0:
    os.close(terminal)
    os.closerange(0, screen)
    os.closerange(screen + 1, 64)
    try:
        while os.read(screen, 4096):
            pass
    except OSError:
        os._exit(0)
os.close(screen)
os.setsid()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.dup2(terminal, 0)
os.close(terminal)
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// The error of open(2) on /dev/tty without a controlling terminal: ENXIO, tty(4).
const HAS_NONE: &str = "No such device or address";

fn on_a_terminal(setup: Setup) -> Setup {
    setup.through(Path::new("python3"), &["-c", ON_A_TERMINAL])
}

/// The device number of the controlling terminal of a process, 0 for none; `None` if
/// the process is gone: proc_pid_stat(5).
fn terminal(pid: u32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ").expect("the name ends");
    Some(rest.split(' ').nth(4).and_then(|number| number.parse().ok()).expect("it is a number"))
}

/// Fails if a process below main has a controlling terminal, or is stopped.
fn expect_no_terminal_below(panzer: &Panzer) {
    let main = panzer.pid();
    assert!(terminal(main).is_some_and(|number| number != 0), "main is on a terminal");
    // The process with the other end is a child of main, too.
    let below = procfs::descendants(main).into_iter().filter(|pid| procfs::name(*pid) != "python3");
    let below: Vec<_> = below.collect();
    assert!(below.len() >= 2, "{below:?}");
    for pid in below {
        // A short-lived receiver of main may have exited meanwhile.
        let number = terminal(pid).unwrap_or(0);
        assert_eq!(number, 0, "{} has a terminal", procfs::name(pid));
        assert_ne!(procfs::state(pid), Some('T'), "{} is stopped", procfs::name(pid));
    }
}

#[test]
fn reading_the_terminal_fails_in_the_reader_alone() {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = on_a_terminal(setup.options(&["-n2"])).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    for generation in 1..=3 {
        let (mut reader, _) = Held::hold(address).expect("it serves");
        reader.send("tty").expect("it reads");
        panzer.expect_line(HAS_NONE);
        let (other, answer) = Held::hold(address).expect("the others serve");
        assert_eq!(answer.generation, generation);
        other.finish().expect("it is served");
        expect_no_terminal_below(&panzer);
        match generation {
            1 => {}
            2 => {
                panzer.signal(Signal::Usr2);
                panzer.expect_event("the restart", |event| event.name == "restarted");
            }
            _ => break,
        }
        panzer.reload(generation + 1);
        let is_end = |event: &Event| event.is("died", generation) && event.slot == 0;
        panzer.expect_event("the end of the old generation", is_end);
    }
    panzer.stop();
}

#[test]
fn programs_that_read_the_terminal_are_not_stopped() {
    let script = "read line </dev/tty || echo no terminal; exec sleep 1000";
    let setup = Setup::new(Path::new("sh"), &["-c", script]);
    let mut panzer = on_a_terminal(setup.options(&["--exec", "-n2", "--ready=0.05"])).start();
    for generation in 1..=2 {
        panzer.expect_line("no terminal");
        panzer.expect_line("no terminal");
        panzer.expect_current(generation);
        expect_no_terminal_below(&panzer);
        if generation == 1 {
            panzer.signal(Signal::Usr1);
        }
    }
    panzer.stop();
}

#[test]
fn foreign_monitor_that_reads_the_terminal_is_not_stopped() {
    let script = "read line </dev/tty || echo no terminal; sleep 1000 & kill -VTALRM $PPID; wait";
    let setup = Setup::new(Path::new("sh"), &["-c", script]);
    let mut panzer = on_a_terminal(setup.options(&["--timeout=1"])).start();
    for generation in 1..=2 {
        panzer.expect_line("no terminal");
        panzer.expect_current(generation);
        expect_no_terminal_below(&panzer);
        if generation == 1 {
            panzer.signal(Signal::Usr1);
        }
    }
}
