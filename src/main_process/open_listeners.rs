//! Main's listening sockets: adopted from above, and bound for `--bind`.

use crate::config::option_table::{Number, Options};
use crate::error::{Error, Result};
use crate::log;
use crate::main_process::executable;
use crate::main_process::listener_store::{FULL, Kept, Listeners, Origin};
use crate::protocol::address::Bind;
use crate::protocol::fdnames;
use crate::shared::closer::Closing;
use crate::shared::listening_socket::{self, Access};
use crate::sys::{env, fd, process};
use crate::types::Level;
use core::ffi::CStr;

/// Takes over the sockets of a service manager: sd_listen_fds(3). What a main before us
/// has had it keep is ours again.
pub(super) fn adopt_sockets(options: &Options, listeners: &mut Listeners, closing: &mut Closing) {
    let account = options.account.as_ref();
    let is_ours = account.is_none_or(|account| [0, process::user()].contains(&account.user));
    let [count, pid, names] = [c"LISTEN_FDS", c"LISTEN_PID", c"LISTEN_FDNAMES"]
        .map(|name| env::var(name).unwrap_or_default().into_bytes());
    for (number, name) in fdnames::handed_down(&count, &pid, &names, process::id()) {
        let Some(fd) = fd::adopt(number) else { continue };
        match listeners.adopt(fd, name, is_ours) {
            Ok(Kept::Anew) => {}
            Ok(Kept::Known(fd)) => closing.close_shared(fd),
            Err((fd, what)) => {
                closing.close_shared(fd);
                log::log(
                    Level::Warn,
                    format_args!("service manager: refused descriptor {number}: {what}"),
                );
            }
        }
    }
}

/// The sockets of a main before us that are for `--bind` are that again; those that are in
/// its way are closed. Only at a start: later each has a generation that may want it.
pub(super) fn reclaim_sockets(
    options: &mut Options,
    start: &CStr,
    listeners: &mut Listeners,
    closing: &mut Closing,
) {
    executable::look_from(start, options);
    closing.close_each(listeners.reclaim(&options.bind, options.exec()));
}

/// Has the paths of `options` be as seen from `start`, and opens the sockets of
/// `--bind` that are not open yet. Those that are not asked for any more stay
/// until no generation has them. Where one cannot be opened, none is.
pub(super) fn bind_anew(
    options: &mut Options,
    start: &CStr,
    listeners: &mut Listeners,
    closing: &mut Closing,
) -> Result<()> {
    executable::look_from(start, options);
    listeners.look_at_paths();
    let before = listeners.count();
    tell_apart(&options.bind)?;
    for bind in &options.bind {
        if !listeners.has(bind, before) {
            // What fails leaves no path of a Unix socket behind. There were clients
            // already, perhaps.
            bind_socket(bind, options, listeners, closing).inspect_err(|_| {
                listeners.close_from(before).into_iter().for_each(|fd| closing.close_shared(fd));
            })?;
        }
    }
    listeners.want(&options.bind);
    Ok(())
}

/// Refuses an address that stands twice, or that is part of another one. Where the kernel
/// chooses the port, each socket is another.
pub(super) fn tell_apart(binds: &[Bind]) -> Result<()> {
    for (place, bind) in binds.iter().enumerate().filter(|(_, bind)| !bind.chooses()) {
        for other in binds.iter().take(place) {
            if other.address == bind.address {
                return Err(Error::plain(format_args!("cannot listen on {bind} twice")));
            }
            if listening_socket::overlap(&other.address, &bind.address) {
                return Err(Error::plain(format_args!(
                    "cannot listen on both {bind} and {other}: one includes the other"
                )));
            }
        }
    }
    Ok(())
}

fn bind_socket(
    bind: &Bind,
    options: &Options,
    listeners: &mut Listeners,
    closing: &mut Closing,
) -> Result<()> {
    let refuse = |what| Error::plain(format_args!("cannot listen on {bind}: {what}"));
    if listeners.is_full() {
        return Err(refuse(FULL));
    }
    let mode = options.number(Number::SocketMode).map(|mode| mode as u32);
    let access = Access { owner: options.account.as_ref(), mode };
    let fd = listening_socket::try_open(&bind.address, access).map_err(|errno| {
        let ours = listeners.in_the_way_of(&bind.address).filter(|_| errno.0 == libc::EADDRINUSE);
        match ours {
            None => listening_socket::cannot_listen(&bind.address, errno),
            Some(ours) => Error::system(
                format_args!(
                    "cannot listen on {bind} beside our own {ours}, which stays open until no \
                     generation uses it; to change from one to the other, stop panzer and start \
                     it again"
                ),
                errno,
            ),
        }
    })?;
    let origin = Origin::Bound(bind.clone());
    match listeners.keep(fd, bind.carried(), origin, true) {
        Ok(Kept::Anew) => Ok(()),
        Ok(Kept::Known(fd)) => {
            closing.close_shared(fd);
            Ok(())
        }
        Err((fd, what)) => {
            closing.close_shared(fd);
            Err(refuse(what))
        }
    }
}
