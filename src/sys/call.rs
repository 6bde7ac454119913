//! Calls that go to the kernel directly, where there is one way.
//!
//! The C library's functions of these names have a way around each kernel since
//! the first: two kilobytes of program on musl. With 32 bits they are what they
//! are there, for then the kernel has several structures of each kind.

#[cfg(target_pointer_width = "64")]
pub use direct::{dup3, fcntl, open, pipe2, recvmsg, sendmsg, socket};
#[cfg(not(target_pointer_width = "64"))]
pub use libc::{dup3, fcntl, open, pipe2, recvmsg, sendmsg, socket};

#[cfg(target_pointer_width = "64")]
mod direct {
    use libc::{c_char, c_int, c_long, msghdr};

    macro_rules! calls {
        ($($name:ident($($given:ident: $type:ty),*) -> $answer:ty = $number:ident($($value:expr),*);)*) => {
            $(
                /// The function of that name in section 2 of the manual.
                ///
                /// # Safety
                ///
                /// What the manual page asks of the caller.
                #[inline(always)]
                pub unsafe fn $name($($given: $type),*) -> $answer {
                    // SAFETY: the caller sees to it, and the types are the kernel's.
                    unsafe { libc::syscall(libc::$number, $($value),*) as $answer }
                }
            )*
        };
    }

    calls! {
        dup3(old: c_int, new: c_int, flags: c_int) -> c_int = SYS_dup3(old, new, flags);
        fcntl(fd: c_int, command: c_int, value: c_long) -> c_int = SYS_fcntl(fd, command, value);
        open(path: *const c_char, flags: c_int, mode: c_int) -> c_int =
            SYS_openat(libc::AT_FDCWD, path, flags, mode);
        pipe2(ends: *mut c_int, flags: c_int) -> c_int = SYS_pipe2(ends, flags);
        recvmsg(fd: c_int, header: *mut msghdr, flags: c_int) -> isize = SYS_recvmsg(fd, header, flags);
        sendmsg(fd: c_int, header: *const msghdr, flags: c_int) -> isize =
            SYS_sendmsg(fd, header, flags);
        socket(family: c_int, kind: c_int, protocol: c_int) -> c_int =
            SYS_socket(family, kind, protocol);
    }
}
