//! The servers of the story: started on a core or two, ended with their value.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use corduroy_benches::affinity;

const START_TRIES: u32 = 500;
const START_PAUSE: Duration = Duration::from_millis(20);

/// How many servers there are to start.
pub(crate) const COUNT: usize = 4;

/// A server that ends with this value.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    pub(crate) child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the server of this number; `None` if its program isn't there.
pub(crate) fn start(
    kind: usize,
    name: &'static str,
    cores: &[usize],
    programs: &Path,
    directory: &Path,
) -> io::Result<Option<Server>> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let data = directory.join(format!("data-{port}"));
    let text = port.to_string();
    let (protocol, mut command) = match kind {
        0 | 1 => {
            let mut command = Command::new(programs.join("corduroy"));
            let list: Vec<String> = cores.iter().map(|core| format!("{core}-{core}")).collect();
            command
                .args([
                    "serve",
                    "--sync",
                    "never",
                    "--listen",
                    &format!("127.0.0.1:{port}"),
                    "--admin",
                    "off",
                ])
                .args(["--cores", &list.join(",")])
                .arg("--data")
                .arg(&data);
            ("native", command)
        }
        2 => {
            let mut command = Command::new("redis-server");
            command.args(["--port", &text, "--save", "", "--appendonly", "no"]);
            ("resp", command)
        }
        _ => {
            let mut command = Command::new("memcached");
            command.args([
                "-p",
                &text,
                "-l",
                "127.0.0.1",
                "-t",
                "1",
                "-u",
                "nobody",
                "-m",
                "256",
            ]);
            ("memcached-text", command)
        }
    };
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = match affinity::on_cores(cores, || command.spawn()) {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            writeln!(io::stderr(), "{name} is not installed and left out")?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let server = Server {
        name,
        protocol,
        port,
        child,
    };
    for _ in 0..START_TRIES {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(Some(server));
        }
        thread::sleep(START_PAUSE);
    }
    Err(io::Error::other(format!("{name} does not answer")))
}
