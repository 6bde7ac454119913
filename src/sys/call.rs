//! Calls that go to the kernel directly, where there is one way.
//!
//! The C library's functions of these names have a way around each kernel since
//! the first: three kilobytes of program on musl. The kernel's structures are
//! those of 64 bits; with 32 it has several of each kind.

use libc::{c_char, c_int, c_long, c_void, msghdr, off_t, size_t};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("Panzer needs a processor of 64 bits");

macro_rules! calls {
    ($($name:ident($($given:ident: $type:ty),*) -> $answer:ty = $number:ident($($value:expr),*);)*) => {
        $(
            /// The function of that name in section 2 of the manual.
            ///
            /// # Safety
            ///
            /// What the manual page asks of the caller.
            pub unsafe fn $name($($given: $type),*) -> $answer {
                // SAFETY: the caller keeps to the manual page, and each value is a
                // whole register, which is what syscall(2) reads.
                unsafe { libc::syscall(libc::$number, $($value as c_long),*) as $answer }
            }
        )*
    };
}

calls! {
    dup3(old: c_int, new: c_int, flags: c_int) -> c_int = SYS_dup3(old, new, flags);
    fcntl(fd: c_int, command: c_int, value: c_long) -> c_int = SYS_fcntl(fd, command, value);
    munmap(start: *mut c_void, size: size_t) -> c_int = SYS_munmap(start, size);
    open(path: *const c_char, flags: c_int, mode: c_int) -> c_int =
        SYS_openat(libc::AT_FDCWD, path, flags, mode);
    pipe2(ends: *mut c_int, flags: c_int) -> c_int = SYS_pipe2(ends, flags);
    recvmsg(fd: c_int, header: *mut msghdr, flags: c_int) -> isize = SYS_recvmsg(fd, header, flags);
    sendmsg(fd: c_int, header: *const msghdr, flags: c_int) -> isize =
        SYS_sendmsg(fd, header, flags);
    socket(family: c_int, kind: c_int, protocol: c_int) -> c_int =
        SYS_socket(family, kind, protocol);
}

// There the kernel takes one pointer to all six.
#[cfg(target_arch = "s390x")]
pub use libc::mmap;

#[cfg(not(target_arch = "s390x"))]
calls! {
    mmap(start: *mut c_void, size: size_t, access: c_int, flags: c_int, fd: c_int, at: off_t)
        -> *mut c_void = SYS_mmap(start, size, access, flags, fd, at);
}

// Where there is a C library to be shared, it asks without a call; the static
// program would carry that way along, and looks at the clock once a turn.
#[cfg(not(all(target_env = "musl", not(feature = "std"))))]
pub use libc::clock_gettime;

#[cfg(all(target_env = "musl", not(feature = "std")))]
calls! {
    clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int =
        SYS_clock_gettime(clock, time);
}
