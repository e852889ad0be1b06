//! What a test needs beside Rust and a C compiler, and what becomes of it where that is missing.

use std::env;
use std::path::PathBuf;

/// Says that a test is skipped, and what is missing. Under `CORDUROY_TESTS=all` nothing may be missing.
pub(crate) fn skip(missing: &str) {
    let all = env::var_os("CORDUROY_TESTS").is_some_and(|tests| tests == "all");
    assert!(
        !all,
        "{missing} is missing, and CORDUROY_TESTS=all says that nothing may be"
    );
    eprintln!("skipped: {missing} is missing");
}

/// Where a program is, if it is installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(administrators)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// How many cores the nodes of the tests run on: two where there are two, so that requests travel between cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}
