//! What the kernel must allow before an executor can be made, asked before anything else so that a start fails with a sentence.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// Locked memory below which glommio makes no executor, in bytes.
const LOCKED_MEMORY_MIN: u64 = 512 << 10;
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Why this machine can't run an executor.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The kernel has no io_uring.
    #[error(
        "this kernel has no io_uring, on which all I/O of this server runs. It takes Linux 5.8 or newer, built with CONFIG_IO_URING"
    )]
    NoIoUring,
    /// An administrator has switched it off.
    #[error(
        "io_uring is switched off on this machine ({SWITCH} is {value}). Switch it on with: sysctl -w kernel.io_uring_disabled=0"
    )]
    SwitchedOff {
        /// The switch's value.
        value: String,
    },
    /// Something filters system calls.
    #[error(
        "this process may not use io_uring, though the kernel has it: a container's seccomp profile or a security module \
         forbids it. With Docker or Podman, start the container with a seccomp profile that allows io_uring_setup, \
         io_uring_enter and io_uring_register (or --security-opt seccomp=unconfined)"
    )]
    Forbidden,
    /// io_uring can't be set up for another reason.
    #[error(
        "io_uring can't be set up: {0}. If memory is short, raise the limit of locked memory (ulimit -l)"
    )]
    Setup(io::Error),
    /// Too little memory may be locked.
    #[error(
        "only {limit} bytes of memory may be locked, and an executor needs {LOCKED_MEMORY_MIN}. Raise the limit: ulimit -l 8192, \
         LimitMEMLOCK=8M in a systemd unit, or --ulimit memlock=8388608 with Docker"
    )]
    LockedMemory {
        /// The limit.
        limit: u64,
    },
}

/// Finds out whether executors can be made.
///
/// # Errors
/// [`KernelError`], a sentence that says what to do.
pub fn check_kernel() -> Result<(), KernelError> {
    if let Err(error) = set_up_ring() {
        return Err(explain(error));
    }
    let limit = raise(Resource::Memlock, LOCKED_MEMORY_MIN);
    match limit {
        Some(limit) if limit < LOCKED_MEMORY_MIN => Err(KernelError::LockedMemory { limit }),
        _ => Ok(()),
    }
}

fn explain(error: io::Error) -> KernelError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => KernelError::NoIoUring,
        Some(libc::EPERM | libc::EACCES) => {
            // Absent before Linux 6.6.
            let value = fs::read_to_string(SWITCH).unwrap_or_default();
            match value.trim() {
                "" | "0" => KernelError::Forbidden,
                value => KernelError::SwitchedOff {
                    value: value.to_owned(),
                },
            }
        }
        _ => KernelError::Setup(error),
    }
}

/// Sets a ring up and lets it go.
fn set_up_ring() -> io::Result<()> {
    // `struct io_uring_params` is 120 bytes, and all zeros ask for nothing special.
    let mut parameters = [0u64; 15];
    let entries: libc::c_uint = 4;
    #[expect(
        unsafe_code,
        reason = "no library sets a ring up just to see whether it may"
    )]
    // SAFETY: the kernel reads and writes the 120 bytes that the pointer leads to, and nothing else.
    let descriptor =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, parameters.as_mut_ptr()) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
    Ok(())
}

/// Raises a soft limit to `wanted`, or as far as the hard one allows. Answers what it is then; none: no limit.
fn raise(resource: Resource, wanted: u64) -> Option<u64> {
    let limit = getrlimit(resource);
    let current = limit.current?;
    if current >= wanted {
        return Some(current);
    }
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let asked = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    match setrlimit(resource, asked) {
        Ok(()) => Some(raised),
        Err(_) => Some(current),
    }
}

/// Raises the limit of open files as far as it may and is needed. Answers how many there may be.
#[must_use]
pub fn raise_open_files(wanted: u64) -> u64 {
    raise(Resource::Nofile, wanted).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Operation not permitted" has cost people days: each cause has its own remedy and must be told apart.
    #[test]
    fn each_refusal_names_its_remedy() {
        let sentence = |number| explain(io::Error::from_raw_os_error(number)).to_string();
        assert!(sentence(libc::ENOSYS).contains("CONFIG_IO_URING"));
        assert!(
            sentence(libc::EPERM).contains("seccomp") || sentence(libc::EPERM).contains("sysctl")
        );
        assert!(sentence(libc::ENOMEM).contains("ulimit -l"));
    }
}
