//! Other builds of this tree: one of another version, and one that writes
//! another version of the state.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::restarting::{OTHER, Restarting};
use crate::harness::alone;
use crate::harness::place::{self, Place};

const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// Where the version of the state stands in the source, and the next one.
const STATE: [&str; 3] =
    ["src/roles/main/state.rs", "const VERSION: u64 = 1;", "const VERSION: u64 = 2;"];

/// A copy of this tree's source, to be built with changes.
struct Tree {
    place: Place,
}

impl Tree {
    fn new() -> Self {
        let place = Place::new();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["examples", "tests", "benches", "README.md", "Cargo.lock"] {
            symlink(tree.join(name), place.join(name)).expect("the place is ours");
        }
        // The lock says the version too, and is written anew.
        fs::remove_file(place.join("Cargo.lock")).expect("it is ours");
        for name in ["Cargo.toml", "Cargo.lock"] {
            fs::copy(tree.join(name), place.join(name)).expect("it is there");
        }
        copy(&tree.join("src"), &place.join("src"));
        Self { place }
    }

    /// Has `old` be `new` in a file, which has it once.
    fn change(&self, file: &str, old: &str, new: &str) {
        let path = self.place.join(file);
        let text = fs::read_to_string(&path).expect("it is there");
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {file}");
        fs::write(&path, text.replace(old, new)).expect("it is ours");
    }

    /// Builds panzer as it ships, but for what only makes it smaller.
    fn panzer(&self) -> Vec<u8> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("builds");
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--release", "--no-default-features", "--bin=panzer"]);
        command.arg("--target-dir").arg(&target).current_dir(self.place.path());
        command.env("CARGO_PROFILE_RELEASE_LTO", "off");
        command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env_remove("CARGO_BUILD_TARGET");
        let built = {
            let _alone = alone();
            command.spawn()
        };
        let built = built.and_then(|mut child| child.wait()).expect("cargo is there");
        assert!(built.success(), "the changed tree does not compile");
        fs::read(target.join("release/panzer")).expect("it was built")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the place is ours");
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

/// RATIONALE 13.14
#[test]
fn another_version_takes_over_and_gives_back_and_one_with_another_state_does_neither() {
    let own = fs::read(place::panzer()).expect("it was built");
    let tree = Tree::new();
    let version = |version: &str| format!("\nversion = \"{version}\"\n");
    tree.change("Cargo.toml", &version(env!("CARGO_PKG_VERSION")), &version(OTHER));
    let other = tree.panzer();
    let [file, old, new] = STATE;
    tree.change(file, old, new);
    let newer = tree.panzer();
    let mut main = Restarting::start(&HOLD, &["-n2"]);
    main.panzer.expect_current(1);
    let before = main.picture();
    for (program, is_version) in
        [(&other, OTHER), (&own, env!("CARGO_PKG_VERSION")), (&other, OTHER)]
    {
        main.install(program);
        let outcome = main.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.told);
        assert_eq!(main.version(), is_version);
        main.install(&newer);
        main.expect_refusal("another version of the state", " has version 1");
        assert_eq!(main.version(), is_version);
    }
    main.install(&own);
    main.restart();
    assert_eq!(main.picture(), before);
    main.panzer.stop();
    // And the other way round.
    let mut main = Restarting::start_with(&newer, &HOLD, &["-n2"]);
    main.panzer.expect_current(1);
    for program in [&own, &other] {
        main.install(program);
        main.expect_refusal("an older version of the state", " has version 2");
    }
    main.install(&newer);
    main.restart();
    main.panzer.stop();
}
