//! What `corduroy serve` does: starts a node, says so, waits for a signal, stops the node.

use std::io::{self, IsTerminal, Write};
use std::process;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use super::config::{Config, LogFormat};
use super::error::StartError;
use super::node::{Node, Stopped};

/// Runs a node until it is told to stop, and ends the process.
///
/// # Errors
/// [`StartError`]: nothing was served.
pub fn serve(config: &Config) -> Result<std::convert::Infallible, StartError> {
    start_log(config);
    // Before any other thread, so that none of them takes a signal in its default way.
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(StartError::Thread)?;
    let (signal_to, signal) = flume::bounded(1);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || watch(signals, &signal_to))
        .map_err(StartError::Thread)?;
    let node = Node::start(config)?;
    announce(config, &node);
    signal
        .recv()
        .expect("the thread that watches for signals never ends");
    tracing::info!("stopping");
    match node.stop() {
        Stopped::Clean => tracing::info!("stopped"),
        Stopped::Cut => tracing::warn!("stopped; some requests were not answered"),
        Stopped::Unsealed => {
            tracing::warn!(
                "stopped without sealing every log: the next start recovers as after a crash"
            );
        }
    }
    process::exit(0);
}

/// The first signal stops the node, the second the process.
fn watch(mut signals: Signals, stop: &flume::Sender<()>) {
    let mut seen = 0;
    for _ in signals.forever() {
        seen += 1;
        if seen > 1 {
            process::exit(1);
        }
        // A start that is still under way is stopped by the second signal.
        let _ = stop.try_send(());
    }
}

fn start_log(config: &Config) {
    let filter = EnvFilter::new(config.log.directives());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // It fails if there is one already, which then is as good.
    let _ = match config.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

/// Says on standard output that clients can connect, and how.
fn announce(config: &Config, node: &Node) {
    let address = node.address();
    let shards = config.cores.len();
    let cores: Vec<String> = config.cores.iter().map(usize::to_string).collect();
    let server = if address.port() == DEFAULT_PORT && address.ip().is_loopback() {
        String::new()
    } else {
        format!("--server {address} ")
    };
    let admin = node.admin_address().map_or_else(
        || "off".to_owned(),
        |address| format!("http://{address} (/livez, /readyz, /status)"),
    );
    let text = format!(
        "Corduroy {} listens on {address}\n\
         \x20 admin    {admin}\n\
         \x20 data     {}\n\
         \x20 shards   {shards}, on core{} {}\n\
         \x20 sync     {}\n\
         \x20 memory   {} MiB\n\
         Try: corduroy-cli {server}put hello world\n\
         \x20    corduroy-cli {server}get hello\n",
        env!("CARGO_PKG_VERSION"),
        config.data.display(),
        if shards == 1 { "" } else { "s" },
        cores.join(", "),
        config.sync,
        config.memory >> 20,
    );
    let mut output = io::stdout().lock();
    // Nobody may be listening; the node serves all the same.
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}

/// What `corduroy-cli` tries without `--server`.
const DEFAULT_PORT: u16 = 7379;
