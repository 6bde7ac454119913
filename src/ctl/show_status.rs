//! Asking for the status, and showing it.

use super::{CtlFailure, Deadline, Status, compare_binary};
use crate::ctl::args::{Args, Format};
use crate::ctl::connect::Found;
use crate::ctl::request::ControlConnection;
use crate::protocol::control_protocol::{Answer, AnswerWord, Request};
use crate::protocol::status_records::{Listener, Standing};
use crate::protocol::status_report::StatusReport;
use crate::protocol::{json, metrics, status_tree};
use crate::shared::scoreboard_copy;
use crate::sys::fd::{Borrowed, Standard};
use crate::sys::{Errno, env, file, terminal};
use crate::types::Pid;
use crate::{decimal, printable, text};
use alloc::ffi::CString;
use alloc::string::String;

/// Main tells no more of an address than this.
const SHORTENED: usize = 590;

/// Whether the standard output is a terminal whose owner likes colours:
/// <https://no-color.org>.
pub fn is_coloured() -> bool {
    let wants = env::var(c"NO_COLOR").is_none_or(|value| value.is_empty());
    let knows = env::var(c"TERM").is_some_and(|name| name.as_c_str() != c"dumb");
    wants && knows && terminal::size(Borrowed::standard(Standard::Output)).is_some()
}

/// Asks, and draws what is answered.
pub fn status(
    asking: &Args,
    found: &Found,
    connection: ControlConnection,
    patience: &Deadline<'_>,
    is_coloured: bool,
) -> Result<String, CtlFailure> {
    let mut picture = picture(connection, patience)?;
    let program = picture.main.as_ref().and_then(|main| main.program.as_deref());
    picture.binary =
        found.process.as_ref().and_then(|main| compare_binary::look(main.pid, program?));
    picture.listeners.iter_mut().for_each(look_at_path);
    if found.process.is_some() {
        // The numbers mean the same here as to main.
        let known = |pid: Pid| Some((pid, memory_of(pid)?));
        picture.memory = picture.pids().into_iter().filter_map(known).collect();
    }
    Ok(match asking.form {
        Format::Tree => status_tree::render(&picture, is_coloured),
        Format::Json => json::render(&picture),
        Format::Metrics => metrics::render(&picture),
    })
}

fn picture(
    mut connection: ControlConnection,
    patience: &Deadline<'_>,
) -> Result<StatusReport, CtlFailure> {
    let mut picture = StatusReport::default();
    connection.send(Request::Status);
    while let Some(line) = connection.line(patience)? {
        match Answer::parse(&line) {
            Answer::Record(record) => picture.take(record),
            Answer::Says(AnswerWord::Progress, _) => {}
            Answer::Says(AnswerWord::Done, _) if picture.main.is_some() => {
                add_boards(&mut picture, &connection);
                return Ok(picture);
            }
            Answer::Says(AnswerWord::Done, _) => break,
            Answer::Says(AnswerWord::Failed | AnswerWord::Refused, text) => {
                let reason = printable::lossy(text);
                return Err(CtlFailure { status: Status::Failed, reason });
            }
        }
    }
    let reason = format_args!("protocol error: status reply incomplete or not understood");
    Err(CtlFailure::new(Status::Failed, reason))
}

/// The n-th board belongs to the n-th line that speaks of one.
fn add_boards(picture: &mut StatusReport, connection: &ControlConnection) {
    let mut boards = connection.boards();
    for generation in picture.generations.iter_mut().filter(|generation| generation.life.board) {
        let board = boards.next().ok_or("scoreboard missing in the reply");
        let board = board.and_then(|board| board.ok_or(scoreboard_copy::NOT_SEALED));
        generation.workers = Some(board.and_then(scoreboard_copy::read));
    }
}

/// The memory of a process in bytes, what is shared in shares: proc_pid_smaps(5).
fn memory_of(pid: Pid) -> Option<u64> {
    let path = CString::new(text::compose(format_args!("/proc/{pid}/smaps_rollup"))).ok()?;
    let rollup = file::read(&path, 1 << 14).ok()?;
    let line = rollup.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Pss:"))?;
    let kilobytes = line.strip_suffix(b" kB")?.trim_ascii();
    decimal::parse_long(kilobytes, u64::MAX >> 10).map(|kilobytes| kilobytes << 10)
}

/// Looks what stands at the path of a Unix socket that main has bound, where it can be
/// told: main asks the file system nothing for a status.
fn look_at_path(listener: &mut Listener<'_>) {
    let (Some(device), Some(inode)) = (listener.device, listener.inode) else { return };
    let Some(path) = listener.address.strip_prefix(b"unix:") else { return };
    // What was shortened, or has bytes that are no text, is not the path itself.
    let is_whole = path.len() < SHORTENED
        && path.iter().all(|byte| (b' '..=b'[').contains(byte) || (b']'..=b'~').contains(byte));
    let Ok(path) = CString::new(path) else { return };
    listener.path = match file::identity_at(&path) {
        _ if !is_whole => None,
        Ok(there) if there.matches(device, inode) => Some(Standing::There),
        Ok(_) => Some(Standing::Taken),
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Some(Standing::Gone),
        Err(_) => None,
    };
}
