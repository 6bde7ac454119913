//! The tests of fork, built once more in another way than cargo builds tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// This program once more, in a build in which a panic is SIGABRT.
pub fn to_abort(made: &Path) {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let own = env::current_exe().expect("/proc is mounted");
    let built = own.parent().expect("it stands in a directory");
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libpanzer-") && name.ends_with(".rlib")
    };
    let all = fs::read_dir(built).expect("it is there").map_while(Result::ok);
    let ours = all.map(|entry| entry.path()).filter(is_ours);
    let newest = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let library = ours.max_by_key(newest).expect("cargo has built it");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    let mut command = Command::new(rustc);
    command.current_dir(root).args(["--edition=2024", "-Cpanic=abort", "tests/fork.rs"]);
    command.arg("-L").arg(built).arg("-o").arg(made);
    command.arg("--extern").arg(format!("panzer={}", library.display()));
    let done = command.output().expect("the compiler is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
