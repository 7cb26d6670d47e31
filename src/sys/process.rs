//! Processes: fork, sessions, waiting, identities, limits of what a child may outlive.
//!
//! burdock has one thread, so a forked child may go on as an ordinary program.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The outcome of [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// We are the parent; the child's pid.
    Parent(i32),
    /// We are the child.
    Child,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

/// fork(2). The caller has one thread only.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the process has a single thread (no burdock code starts another), so the child's copy of every lock and
    // of the allocator is in a consistent state and the child may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// execve(2): runs another program in this process. Only comes back with an error. The signal mask stays as it is (that of
/// `std::process::Command` would be emptied, and signals that wait would take effect).
pub fn execute(
    path: &Path,
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
) -> io::Error {
    let strings = || -> io::Result<(CString, Vec<CString>, Vec<CString>)> {
        let arguments = arguments.iter().map(|word| c_string(word.as_bytes()));
        let environment = environment
            .iter()
            .map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()));
        Ok((
            c_string(path.as_os_str().as_bytes())?,
            arguments.collect::<io::Result<_>>()?,
            environment.collect::<io::Result<_>>()?,
        ))
    };
    let (path, arguments, environment) = match strings() {
        Ok(strings) => strings,
        Err(error) => return error,
    };
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, envp) = (pointers(&arguments), pointers(&environment));
    // SAFETY: `path` is NUL-terminated; both arrays end with a null pointer, and their strings live through the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// setsid(2): a session without controlling terminal.
pub fn new_session() -> io::Result<()> {
    // SAFETY: no arguments, no memory.
    check(unsafe { libc::setsid() })
}

/// Lets this process run on these CPUs only.
///
/// # Errors
/// None of them exists, or may be used.
pub fn bind_to_cpus(cpus: &[u32]) -> io::Result<()> {
    // SAFETY: a set of CPUs is plain bits; all of them zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        if cpu < libc::CPU_SETSIZE as u32 {
            // SAFETY: the number is below the size of the set.
            unsafe { libc::CPU_SET(cpu as usize, &mut set) };
        }
    }
    // SAFETY: the call reads a set of the size that it is told; 0 is this process.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })
}

/// Asks the scheduler to let this process run soon after it wakes, for that long at a time, where others want the same CPU; its share stays the
/// same. Linux 6.12 and later hear that of ordinary processes (`sched_runtime`, sched_setattr(2)); earlier ones keep to their own slices. Whoever
/// was given another policy (chrt(1)) keeps that.
///
/// # Errors
/// The system does not know the call, or forbids it.
pub fn ask_for_slices_of(slice: Duration) -> io::Result<()> {
    let mut attributes = attributes()?;
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = slice.as_nanos() as u64;
    // SAFETY: the call reads attributes that say their size; the first 0 is this process, the last one means no flags.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check(set as libc::c_int)
}

/// How this process is scheduled.
fn attributes() -> io::Result<libc::sched_attr> {
    // SAFETY: attributes are plain numbers; all of them zero are the defaults.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attributes) as libc::c_uint;
    // SAFETY: the call writes at most `size` bytes to attributes that have as many; the first 0 is this process, the last one means no flags.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    check(got as libc::c_int)?;
    Ok(attributes)
}

/// Leaves others most of the CPU that they want as well: beside one process of ordinary priority, a quarter of it is this one's
/// (setpriority(2), sched(7)). Less would keep a busy machine's operator waiting: the lowest priority gets one part in seventy.
///
/// # Errors
/// It is another user's, or gone.
pub fn put_behind_others(pid: i32) -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, pid as libc::id_t, BEHIND_OTHERS) })
}

/// The nice value of a process with a third of the weight of one with 0.
const BEHIND_OTHERS: libc::c_int = 5;

/// The pid of this process.
pub fn pid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getpid() }
}

/// The pid of the parent.
pub fn parent_pid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getppid() }
}

/// Bytes of memory that this process has for itself, not those of the program's file.
///
/// # Errors
/// Where `/proc` is not there, or the kernel is older than 4.14.
pub fn private_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let kib = text.lines().find_map(|line| {
        let value = line.strip_prefix("Anonymous:")?.trim();
        value.strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// kill(2). Signal 0 only asks whether the process exists.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::kill(pid, signal) })
}

/// The next child that ended, without waiting; `None` when there is none.
pub fn reap() -> io::Result<Option<(i32, Ended)>> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int for the duration of the call.
    match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error => Err(error),
        },
        pid if libc::WIFSIGNALED(status) => Ok(Some((pid, Ended::Signal(libc::WTERMSIG(status))))),
        pid => Ok(Some((pid, Ended::Code(libc::WEXITSTATUS(status))))),
    }
}

/// setgroups(2): gives up all supplementary groups.
pub fn drop_groups() -> io::Result<()> {
    // SAFETY: a count of 0 lets setgroups read no memory.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })
}

/// setgid(2): for root, real, effective and saved id.
pub fn set_group(gid: u32) -> io::Result<()> {
    // SAFETY: an integer only.
    check(unsafe { libc::setgid(gid) })
}

/// setuid(2): for root, real, effective and saved id; there is no way back.
pub fn set_user(uid: u32) -> io::Result<()> {
    // SAFETY: an integer only.
    check(unsafe { libc::setuid(uid) })
}

/// chroot(2) and chdir to the new root.
pub fn change_root(path: &Path) -> io::Result<()> {
    let path = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a NUL-terminated string that lives through the call.
    check(unsafe { libc::chroot(path.as_ptr()) })?;
    std::env::set_current_dir("/")
}

/// The name of a signal as `strsignal` has it ("Killed").
pub fn signal_name(signal: i32) -> String {
    // SAFETY: strsignal returns a NUL-terminated string, in static memory or in a buffer that stays valid until the next
    // call; the process has one thread and the string is copied before anything else runs.
    let name = unsafe {
        let name = libc::strsignal(signal);
        if name.is_null() {
            None
        } else {
            Some(
                std::ffi::CStr::from_ptr(name)
                    .to_string_lossy()
                    .into_owned(),
            )
        }
    };
    name.unwrap_or_else(|| format!("signal {signal}"))
}

/// Ends the process at once, running nothing that the parent would run too.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// A C string; an error where the bytes hold a NUL.
fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in a name"))
}

/// -1 becomes the error in errno.
pub(super) fn check(ret: libc::c_int) -> io::Result<()> {
    if ret == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Its policy and its priority stay as they were; where slices can be asked for at all, it has the one it asked for.
    #[test]
    fn slices_change_nothing_else() {
        let before = attributes().unwrap();
        ask_for_slices_of(Duration::from_micros(300)).unwrap();
        let after = attributes().unwrap();
        assert_eq!(after.sched_policy, before.sched_policy);
        assert_eq!(after.sched_nice, before.sched_nice);
        // Kernels before 6.12 have no slices of one's own, and say 0 here.
        assert!(matches!(after.sched_runtime, 0 | 300_000));
    }

    #[test]
    fn a_child_can_be_put_behind_others() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat is everywhere");
        let put = put_behind_others(child.id() as i32);
        // SAFETY: numbers only.
        let priority = unsafe { libc::getpriority(libc::PRIO_PROCESS, child.id()) };
        drop(child.stdin.take());
        child.wait().unwrap();
        put.unwrap();
        assert_eq!(priority, BEHIND_OTHERS);
    }
}
