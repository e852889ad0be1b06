//! An echo server on plain epoll. See [`corduroy_benches::echo`].

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use clap::Parser;
use corduroy_benches::{affinity, echo};

/// Returns length-prefixed frames as they come, on one thread with epoll.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 for any that is free.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Run on this core alone.
    #[arg(long)]
    core: Option<usize>,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(core) = arguments.core {
        affinity::pin_to(&[core])?;
    }
    echo::epoll::serve(arguments.listen, |address| {
        // Whoever started it without reading its output knows the address already.
        let _ = writeln!(io::stdout(), "listening on {address}");
    })
}
