//! An echo server on glommio: the floor under Corduroy's figures. See [`corduroy_benches::echo`].

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use clap::Parser;
use corduroy_benches::echo::{self, glommio::Options};

/// Returns length-prefixed frames as they come, on one glommio executor.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 for any that is free.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Run on this core alone.
    #[arg(long)]
    core: Option<usize>,
    /// Look for work so many microseconds before going to sleep.
    #[arg(long, default_value_t = 0)]
    spin_us: u64,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let options = Options {
        core: arguments.core,
        spin: Duration::from_micros(arguments.spin_us),
    };
    echo::glommio::serve(arguments.listen, options, |address| {
        // Whoever started it without reading its output knows the address already.
        let _ = writeln!(io::stdout(), "listening on {address}");
    })
}
