//! The deployment script of `examples/deploy`: whatever comes of a reload, the link names
//! the release that serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::files::{TempDir, example, panzerctl};
use crate::harness::panzer::Panzer;
use crate::harness::setup::Setup;
use crate::harness::spawn_lock;

/// A directory with the releases 1 and 2, which serve, and 3, which is broken; the first
/// is current.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new();
        let witness = example("witness");
        let serves = format!("exec '{}' run=idle", witness.display());
        for (release, body) in [("1", &*serves), ("2", &*serves), ("3", "exit 7")] {
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
        let mut panzer =
            Setup::new(Path::new("./app"), &[]).options(&["-n1"]).options(&options).start();
        panzer.expect_current(1);
        panzer
    }

    /// Runs the script; its exit status, and what the link names then.
    fn deploy(&self, release: &str) -> (Option<i32>, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/deploy.sh");
        let tools = panzerctl();
        let tools = tools.parent().expect("it lies in a directory").display();
        let mut child = {
            let _lock = spawn_lock();
            let mut command = Command::new("timeout");
            command.arg("60").arg(script).arg(release).stdin(Stdio::null());
            command.env("PATH", format!("{tools}:/usr/bin:/bin")).env("APP", self.dir.path());
            command.env("PID", self.dir.join("panzer.pid")).spawn().expect("timeout is there")
        };
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
    assert_eq!(site.deploy("4"), (Some(2), "releases/2".into()), "there is no such release");
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
