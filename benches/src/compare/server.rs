//! The servers that are compared, and how each is told what to be.

use std::{fmt, net::SocketAddr, path::Path};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// This store.
    Corduroy {
        /// On so many cores.
        cores: usize,
        /// With this durability.
        sync: Sync,
        /// With so much memory, in MiB. The less, the sooner the log's tail uses its memory again.
        memory_mib: u32,
    },
    /// `redis-server`.
    Redis {
        /// With an append-only file that is synced before each reply; otherwise in memory alone.
        append_always: bool,
    },
    /// memcached with one thread.
    Memcached,
    /// The floor.
    EchoGlommio,
}

/// Corduroy's durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Acknowledged means on disk.
    Always,
    /// Whenever the kernel likes.
    Never,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Corduroy { cores: 1, sync, .. } => write!(f, "corduroy --sync {}", sync.word()),
            Server::Corduroy { cores, sync, .. } => {
                write!(f, "corduroy --sync {} on {cores} cores", sync.word())
            }
            Server::Redis {
                append_always: true,
            } => f.write_str("redis-server --appendfsync always"),
            Server::Redis {
                append_always: false,
            } => f.write_str("redis-server"),
            Server::Memcached => f.write_str("memcached"),
            Server::EchoGlommio => f.write_str("echo_glommio"),
        }
    }
}

impl Sync {
    pub(super) fn word(self) -> &'static str {
        match self {
            Sync::Always => "always",
            Sync::Never => "never",
        }
    }
}

/// How a server is told what to be.
pub(super) fn arguments(
    server: Server,
    address: SocketAddr,
    directory: &Path,
    cores: &[usize],
) -> Vec<String> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let data = directory.to_string_lossy().into_owned();
    let text = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    match server {
        Server::Corduroy {
            sync, memory_mib, ..
        } => {
            let memory = format!("{memory_mib}MiB");
            // It inherits an affinity to these cores alone, so the number says which.
            let cores = cores.len().to_string();
            let data = format!("{data}/data");
            let listen = address.to_string();
            text(&[
                "serve",
                "--data",
                &data,
                "--listen",
                &listen,
                "--admin",
                "off",
                "--cores",
                &cores,
                "--memory",
                &memory,
                "--sync",
                sync.word(),
            ])
        }
        Server::Redis { append_always } => {
            let mut words = text(&[
                "--bind", &host, "--port", &port, "--dir", &data, "--save", "",
            ]);
            words.extend(text(if append_always {
                // Without rewrites: one that fell into a window would slow it down.
                &[
                    "--appendonly",
                    "yes",
                    "--appendfsync",
                    "always",
                    "--auto-aof-rewrite-percentage",
                    "0",
                ]
            } else {
                &["--appendonly", "no"]
            }));
            words
        }
        // The user matters only to root, as whom memcached refuses to run.
        Server::Memcached => text(&[
            "-t", "1", "-m", "1024", "-U", "0", "-l", &host, "-p", &port, "-u", "nobody",
        ]),
        Server::EchoGlommio => {
            let core = cores[0].to_string();
            text(&["--listen", &address.to_string(), "--core", &core])
        }
    }
}
