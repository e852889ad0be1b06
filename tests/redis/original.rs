//! `redis-server` itself, as Debian packages it, to compare with.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::connection::Connection;
use crate::support::needs;
use crate::support::wait_until;

/// A running `redis-server` without persistence, on a Unix socket. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Original {
    child: Child,
    directory: tempfile::TempDir,
}

impl Original {
    /// Starts one. `None`, with a word, if it isn't installed.
    pub(crate) fn start() -> Option<Original> {
        let Some(program) = needs::program("redis-server") else {
            needs::skip("redis-server");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", "socket"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let original = Original { child, directory };
        wait_until("redis-server listens", || {
            Connection::open_unix(&original.socket()).is_ok()
        });
        Some(original)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open_unix(&self.socket()).unwrap()
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
