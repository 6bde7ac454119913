//! The programs that behave badly, and are this one under another name.
//!
//! Panzer starts them as `soak fixture NAME ...`.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::ExitCode;

use panzer::{Context, Monitor};

/// What makes this program a fixture.
pub const WORD: &str = "fixture";

/// The command that runs a fixture.
pub fn command(words: &[&str]) -> io::Result<Vec<OsString>> {
    let own = std::env::current_exe()?;
    let words = words.iter().map(OsString::from);
    Ok([own.into(), WORD.into()].into_iter().chain(words).collect())
}

/// Runs the fixture that is asked for.
pub fn run(words: &[&str]) -> ExitCode {
    let outcome = match words {
        ["once", marker] => once(Path::new(marker)),
        ["rotten"] => rotten(),
        _ => Err(io::Error::other("there is no such fixture")),
    };
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Is ready once, and from then on leaves as soon as it is started.
fn once(marker: &Path) -> io::Result<()> {
    if marker.exists() {
        return Ok(());
    }
    File::create(marker)?;
    let name = std::env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let address = SocketAddr::from_abstract_name(name.trim_start_matches('@'))?;
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)?;
    Ok(())
}

/// Has one worker that dies as soon as it is ready, among others that serve.
fn rotten() -> io::Result<()> {
    let listener = panzer::listen("127.0.0.1:0")?;
    let worker = move |ctx: &mut Context| {
        if ctx.slot() == 1 {
            ctx.ready();
            return Err("it is rotten".into());
        }
        while ctx.accept(&listener)?.is_some() {}
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}
