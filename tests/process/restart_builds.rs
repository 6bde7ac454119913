//! Restarts between builds of this tree: one of another version, and one that writes
//! another layout of the saved state.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::restartable::{OTHER, RestartableMain};
use crate::harness::files::{self, TempDir};
use crate::harness::spawn_lock;

const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// The line of the source that sets the version of the state, and the next version.
const STATE: [&str; 3] =
    ["src/main_process/saved_state.rs", "const VERSION: u64 = 12;", "const VERSION: u64 = 13;"];

/// A copy of this tree's source, to be built with changes.
struct Tree {
    dir: TempDir,
}

impl Tree {
    fn new() -> Self {
        let dir = TempDir::new();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["examples", "tests", "benches", "README.md", "Cargo.lock"] {
            symlink(tree.join(name), dir.join(name)).expect("the directory is ours");
        }
        // Cargo.lock contains the version too; cargo writes it again.
        fs::remove_file(dir.join("Cargo.lock")).expect("it is ours");
        for name in ["Cargo.toml", "Cargo.lock"] {
            fs::copy(tree.join(name), dir.join(name)).expect("it is there");
        }
        copy(&tree.join("src"), &dir.join("src"));
        Self { dir }
    }

    /// Replaces `old`, which the file contains once, by `new`.
    fn change(&self, file: &str, old: &str, new: &str) {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path).expect("it is there");
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {file}");
        fs::write(&path, text.replace(old, new)).expect("it is ours");
    }

    /// Builds panzer as it ships, without the settings that only make it smaller.
    fn panzer(&self) -> Vec<u8> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("builds");
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--release", "--no-default-features", "--bin=panzer"]);
        command.arg("--target-dir").arg(&target).current_dir(self.dir.path());
        command.env("CARGO_PROFILE_RELEASE_LTO", "off");
        command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env_remove("CARGO_BUILD_TARGET");
        let built = {
            let _lock = spawn_lock();
            command.spawn()
        };
        let built = built.and_then(|mut child| child.wait()).expect("cargo is there");
        assert!(built.success(), "the changed tree does not compile");
        fs::read(target.join("release/panzer")).expect("it was built")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the directory is ours");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be listed");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("it is there").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("it is there");
        }
    }
}

/// rule: restart.layout
#[test]
fn restart_works_between_versions_and_is_refused_between_state_layouts() {
    let own = fs::read(files::panzer()).expect("it was built");
    let tree = Tree::new();
    let version = |version: &str| format!("\nversion = \"{version}\"\n");
    tree.change("Cargo.toml", &version(env!("CARGO_PKG_VERSION")), &version(OTHER));
    let other = tree.panzer();
    let [file, old, new] = STATE;
    tree.change(file, old, new);
    let newer = tree.panzer();
    let mut main = RestartableMain::start(&HOLD, &["-n2"]);
    main.panzer.expect_current(1);
    let before = main.snapshot();
    for (program, is_version) in
        [(&other, OTHER), (&own, env!("CARGO_PKG_VERSION")), (&other, OTHER)]
    {
        main.install(program);
        let outcome = main.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        main.expect_restarted();
        assert_eq!(main.version(), is_version);
        main.install(&newer);
        main.expect_refusal("another version of the state", " has version 12");
        assert_eq!(main.version(), is_version);
    }
    main.install(&own);
    main.restart();
    assert_eq!(main.snapshot(), before);
    main.panzer.stop();
    // And in the other direction.
    let mut main = RestartableMain::start_with(&newer, &HOLD, &["-n2"]);
    main.panzer.expect_current(1);
    for program in [&own, &other] {
        main.install(program);
        main.expect_refusal("an older version of the state", " has version 13");
    }
    main.install(&newer);
    main.restart();
    main.panzer.stop();
}
