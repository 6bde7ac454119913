//! Builds the tests of fork a second time, with panics that abort.

use std::env;
use std::path::Path;
use std::process::Command;

/// Builds this program with `-Cpanic=abort`, at this path.
///
/// Cargo builds the library first, at a path of which there is only one: beside this
/// program lie several versions, and the newest need not be the right one.
pub fn to_abort(made: &Path) {
    let own = env::current_exe().expect("/proc is mounted");
    // target/PROFILE/deps/this-0123456789abcdef
    let target = own.ancestors().nth(3).expect("it stands in a target directory");
    let built = target.join("debug");
    let cargo = ["build", "--quiet", "--lib", "--features=internals", "--target-dir"];
    run(command("CARGO").args(cargo).arg(target));
    let library = format!("panzer={}", built.join("libpanzer.rlib").display());
    let rustc = ["--edition=2024", "-Cpanic=abort", "tests/fork.rs", "--extern", &library, "-L"];
    run(command("RUSTC").args(rustc).arg(built.join("deps")).arg("-o").arg(made));
}

/// The program that cargo names by this variable, or the one of that name.
fn command(variable: &str) -> Command {
    let program = env::var(variable).unwrap_or_else(|_| variable.to_lowercase());
    let mut command = Command::new(program);
    command.current_dir(env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests"));
    command
}

fn run(command: &mut Command) {
    let done = command.output().expect("it is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
