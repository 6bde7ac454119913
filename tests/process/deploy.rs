//! The deployment script of `examples/deploy`: whatever comes of a reload, the link names
//! the release that serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use panzer::sys::Signal;

use crate::harness::files::{TempDir, example, panzerctl};
use crate::harness::panzer::{Panzer, send};
use crate::harness::setup::Setup;
use crate::harness::spawn_lock;

/// A directory with the releases 1 and 2, which serve, 3, which is broken, and 4, which is
/// never ready; the first is current.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new();
        let witness = example("witness");
        let serves = format!("exec '{}' run=idle", witness.display());
        let bodies = [&*serves, &*serves, "exit 7", "exec sleep 1000"];
        for (release, body) in ["1", "2", "3", "4"].into_iter().zip(bodies) {
            fs::create_dir_all(dir.join("releases").join(release)).expect("the directory is ours");
            dir.script(&format!("releases/{release}/app"), body);
        }
        symlink("releases/1", dir.join("current")).expect("it is free");
        Self { dir }
    }

    fn start(&self) -> Panzer {
        let current = self.dir.join("current");
        let (pid, chdir) = (self.dir.join("panzer.pid"), current.display());
        let options = [format!("--pid={}", pid.display()), format!("--chdir={chdir}")];
        let options = options.each_ref().map(|option| &**option);
        let limits = ["-n1", "--ready-timeout=2", "--timeout=0"];
        let mut panzer =
            Setup::new(Path::new("./app"), &[]).options(&limits).options(&options).start();
        panzer.expect_current(1);
        panzer
    }

    /// Runs the script; its exit status, and what the link names then.
    fn deploy(&self, release: &str) -> (Option<i32>, String) {
        self.deploy_within(release, "60")
    }

    /// The same, with so many seconds for the result.
    fn deploy_within(&self, release: &str, patience: &str) -> (Option<i32>, String) {
        self.result(self.begin(release, patience))
    }

    /// Starts the script; panzerctl, which it waits for, has its own patience.
    fn begin(&self, release: &str, patience: &str) -> Child {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/deploy.sh");
        let tools = panzerctl();
        let tools = tools.parent().expect("it lies in a directory").display();
        let _lock = spawn_lock();
        let mut command = Command::new(script);
        command.arg(release).stdin(Stdio::null());
        command.env("PATH", format!("{tools}:/usr/bin:/bin")).env("APP", self.dir.path());
        command.env("PATIENCE", patience);
        command.env("PID", self.dir.join("panzer.pid")).spawn().expect("it is executable")
    }

    /// Its exit status, and what the link names then.
    fn result(&self, mut child: Child) -> (Option<i32>, String) {
        let status = child.wait().expect("it is our child").code();
        let current = fs::read_link(self.dir.join("current")).expect("there is always a link");
        (status, current.display().to_string())
    }
}

#[test]
fn deployed_release_is_current_and_a_failed_one_gives_way_to_the_one_before() {
    let site = Site::new();
    let mut panzer = site.start();
    assert_eq!(site.deploy("2"), (Some(0), "releases/2".into()));
    panzer.expect_current(2);
    assert_eq!(site.deploy("3"), (Some(1), "releases/2".into()));
    for no_release in ["5", "", ".", "../releases/2"] {
        assert_eq!(site.deploy(no_release), (Some(2), "releases/2".into()), "{no_release}");
    }
    panzer.stop();
}

#[test]
fn deployment_after_one_without_a_result_goes_back_to_what_has_served() {
    let site = Site::new();
    let mut panzer = site.start();
    assert_eq!(site.deploy_within("4", "0.1"), (Some(4), "releases/4".into()));
    panzer.expect("started", 2);
    assert_eq!(site.deploy("3"), (Some(1), "releases/1".into()));
    panzer.stop();
}

#[test]
fn deployment_that_is_told_to_end_during_the_reload_waits_for_its_result() {
    let site = Site::new();
    let mut panzer = site.start();
    let script = site.begin("4", "60");
    panzer.expect("started", 2);
    for signal in [Signal::Hup, Signal::Int, Signal::Term] {
        send(script.id(), signal);
    }
    assert_eq!(site.result(script), (Some(1), "releases/1".into()));
    panzer.stop();
}

#[test]
fn deployment_without_a_running_main_changes_nothing() {
    let site = Site::new();
    assert_eq!(site.deploy("2"), (Some(3), "releases/1".into()));
    let lock = fs::File::create(site.dir.join(".deploy.lock")).expect("the directory is ours");
    lock.lock().expect("it is free");
    assert_eq!(site.deploy("2"), (Some(2), "releases/1".into()), "another deployment is under way");
}

#[test]
fn deployment_that_could_go_back_to_nothing_changes_nothing() {
    let site = Site::new();
    let panzer = site.start();
    assert_eq!(site.deploy("2"), (Some(0), "releases/2".into()));
    fs::remove_dir_all(site.dir.join("releases/2")).expect("it is ours");
    assert_eq!(site.deploy("1"), (Some(2), "releases/2".into()));
    panzer.stop();
}
