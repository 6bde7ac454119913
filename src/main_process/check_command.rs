//! `--check`: what the options come to, and what would keep main from starting.
//!
//! Nothing is changed: no listening socket is opened, no file made. COMMAND is looked at
//! as the user of `--user`: this process becomes it, last of all.

use crate::config::option_table::{Options, PathOption};
use crate::config::{env_file, print_config};
use crate::error::{Error, Result};
use crate::exec_result;
use crate::log;
use crate::main_process::control::DEFAULT;
use crate::main_process::executable;
use crate::main_process::launch::{ENV_FILE, refuse_unsignalled};
use crate::main_process::open_listeners::tell_apart;
use crate::printable::Quoted;
use crate::protocol::address::{Address, Bind};
use crate::protocol::control_protocol::{Request, socket_beside};
use crate::protocol::status_records::Record;
use crate::shared::listening_socket::{cannot_listen, inet};
use crate::sys::exec::StartStep;
use crate::sys::file::{self, FileKind};
use crate::sys::message::{self, SendWait};
use crate::sys::poll::{self, Source};
use crate::sys::socket::{self, unix_server as kernel};
use crate::sys::{self, Errno, clock, env, fd, process};
use crate::types::Millis;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// How long a running main may take to say what it listens on.
const ANSWER: Millis = Millis(2_000);
/// The most bytes of its answer that are read.
const MOST: usize = 1 << 20;

/// Shows the effective values on standard output, and what is wrong on standard
/// error. Says whether nothing is.
pub(super) fn check(mut options: Options, start: &CStr) -> (String, bool) {
    let (shown, mut wrong) = print_config::show(&options);
    executable::look_from(start, &mut options);
    let account = options.account.as_ref();
    let refused = account.and_then(|account| refuse_unsignalled(account).err());
    let account = account.filter(|_| refused.is_none());
    wrong.extend(refused);
    wrong.extend(check_env_file(&options).err());
    wrong.extend(tell_apart(&options.bind).err());
    let mut held = None;
    for bind in &options.bind {
        if let Err(errno) = may_bind(&bind.address) {
            let held = held.get_or_insert_with(|| held_by_main(&options, start));
            if errno != Errno(libc::EADDRINUSE) || !held.contains(&bind.address) {
                wrong.push(cannot_listen(&bind.address, errno));
            }
        }
    }
    if let Some(Err(errno)) = account.map(process::become_user) {
        wrong.push(Error::system(format_args!("cannot switch to the user of --user"), errno));
    }
    wrong.extend(check_command(&options, start).err());
    wrong.iter().for_each(log::plainly);
    (shown, wrong.is_empty())
}

/// Whether COMMAND is a file that can be executed, seen from its directory.
fn check_command(options: &Options, start: &CStr) -> Result<()> {
    let directory = executable::from(start, options.path(PathOption::Chdir));
    let command = options.command.first().map_or(c"", |command| command);
    let wrong = |step, errno| {
        let reason = exec_result::explain(step, errno, command, &directory, c"");
        Error::plain(format_args!("{reason}"))
    };
    file::enters(&executable::from(&directory, Some(c".")))
        .map_err(|errno| wrong(StartStep::Directory, errno))?;
    let mut reason = Errno(libc::ENOENT);
    for file in candidates(command) {
        match file::may_execute(&executable::from(&directory, Some(&file))) {
            Ok(()) => return Ok(()),
            Err(Errno(libc::ENOENT | libc::ENOTDIR)) => {}
            Err(errno) => reason = errno,
        }
    }
    Err(wrong(StartStep::Execute, reason))
}

/// Which files execvp(3) would try for `command`.
fn candidates(command: &CStr) -> Vec<CString> {
    let name = command.to_bytes();
    if name.contains(&b'/') {
        return alloc::vec![command.into()];
    }
    let path = env::var(c"PATH");
    let path = path.as_deref().unwrap_or(c"/usr/local/bin:/usr/bin:/bin").to_bytes();
    let within = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        CString::new([directory, b"/", name].concat()).unwrap_or_default()
    };
    path.split(|&byte| byte == b':').map(within).collect()
}

/// Whether the file of `--env-file` can be read and is one.
fn check_env_file(options: &Options) -> Result<()> {
    let Some(path) = options.path(PathOption::EnvFile) else { return Ok(()) };
    let name = Quoted(path.to_bytes());
    let bytes = file::read(path, ENV_FILE).map_err(|errno| {
        Error::system(format_args!("cannot read {name}"), errno).advise("--env-file names it")
    })?;
    env_file::parse(&bytes, &mut |_, _| {})
        .map_err(|reason| Error::plain(format_args!("cannot read {name}: {reason}")))
}

/// Whether a socket could be bound there now.
fn may_bind(address: &Address) -> sys::SysResult<()> {
    let Address::Unix(path) = address else {
        let address = inet(address).ok_or(Errno(libc::ENODEV))?;
        return socket::bind_inet(&address).map(drop);
    };
    match file::identity_at(path) {
        Ok(there) if there.kind() == FileKind::Socket && !socket::answers(path)? => Ok(()),
        Ok(_) => Err(Errno(libc::EADDRINUSE)),
        Err(Errno(libc::ENOENT)) => file::may_add_beside(path),
        Err(errno) => Err(errno),
    }
}

/// What a main that runs with the same pid file listens on.
fn held_by_main(options: &Options, start: &CStr) -> Vec<Address> {
    let pid_file = executable::from(start, Some(options.path(PathOption::Pid).unwrap_or(DEFAULT)));
    let Ok(path) = CString::new(socket_beside(pid_file.to_bytes())) else { return Vec::new() };
    let status = ask_status(&path).unwrap_or_default();
    let mut held = Vec::new();
    for line in status.split(|&byte| byte == b'\n') {
        if let Some(Record::Listener(listener)) = Record::parse(line) {
            held.extend(Bind::parse(&listener.address).ok().map(|bind| bind.address));
        }
    }
    held
}

/// The answer of the main at `path` to `status`, as far as it comes in time.
fn ask_status(path: &CStr) -> sys::SysResult<Vec<u8>> {
    let fd = kernel::connect(path)?;
    let (_, user) = kernel::peer(fd.borrow())?;
    if user != 0 && user != process::user() {
        return Err(Errno(libc::EACCES));
    }
    message::send(fd.borrow(), Request::Status.line().as_bytes(), None, SendWait::Never)?;
    let deadline = clock::now().after(ANSWER);
    let (mut answer, mut piece) = (Vec::new(), [0; 4_096]);
    while answer.len() < MOST && poll::wait(&mut [Source::readable(fd.borrow())], Some(deadline))? {
        match fd::read(fd.borrow(), &mut piece)? {
            0 => break,
            length => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
    Ok(answer)
}
