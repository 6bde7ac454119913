//! The programs that behave badly, and are this one under another name.
//!
//! Panzer starts them as `soak fixture NAME ...`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
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
        ["hoard", address] => hoard(address),
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

/// Greets everybody, and keeps each connection until its client hangs up.
fn hoard(address: &str) -> io::Result<()> {
    let listener = panzer::listen(address)?;
    let worker = move |ctx: &mut Context| {
        while let Some((connection, _)) = ctx.accept(&listener)? {
            let mut stream = TcpStream::from(connection);
            std::thread::spawn(move || {
                // Whoever is gone already is kept no longer.
                let _ = stream.write_all(b"!").and_then(|()| stream.read(&mut [0]));
            });
        }
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}
