//! Which loop is the better client: plain epoll or glommio? And what does the load generator's own engine, which stands on the better
//! one, need beyond it?
//!
//! All three do the same against an echo server on another core: N connections, D frames of 64 bytes in flight on each, one thread, one read and
//! one write a turn. They take turns, several times, for machines drift; the medians are to be compared.
//!
//! ```text
//! cargo run --release -p corduroy-bench --example loops -- --server-core 0 --client-core 1
//! ```

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::Parser;
use corduroy_benches::{affinity, echo};
use rustix::time::{ClockId, clock_gettime};

mod bare_epoll;
mod bare_glommio;
mod engine;

/// Compares loops for a client.
#[derive(Parser)]
struct Arguments {
    /// The echo server's core.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The clients' core.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_value = "1,50,1000")]
    connections: Vec<u32>,
    /// Frames in flight on each.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pipeline: Vec<u32>,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// What is to be done.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) address: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) pipeline: u32,
    pub(crate) time: Duration,
    pub(crate) core: usize,
}

/// What came of it.
pub(crate) struct Figures {
    /// Frames that came back.
    pub(crate) frames: u64,
    /// From the first frame that was sent to the end.
    pub(crate) seconds: f64,
    /// CPU time of the client's thread meanwhile.
    pub(crate) cpu_seconds: f64,
}

/// Why there are no figures.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A loop, on the calling thread or on one that it pins itself.
type Loop = fn(Task) -> Result<Figures, Failure>;

/// The length field of a frame, which is all that an echo server looks at.
pub(crate) const LENGTH_LEN: usize = 4;
/// A frame with its length field.
pub(crate) const FRAME_LEN: usize = 64;
/// What one read asks for.
pub(crate) const READ_LEN: usize = 64 << 10;

/// So many frames in a row.
pub(crate) fn frames(count: usize) -> Vec<u8> {
    let mut frame = [7; FRAME_LEN];
    frame[..LENGTH_LEN].copy_from_slice(&((FRAME_LEN - LENGTH_LEN) as u32).to_le_bytes());
    frame.repeat(count)
}

/// CPU time of the calling thread, in seconds.
pub(crate) fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let address = serve(arguments.server_core)?;
    let loops: [(&str, Loop); 3] = [
        ("epoll", bare_epoll::run),
        ("glommio", bare_glommio::run),
        ("engine", engine::run),
    ];
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "frames a second, and a second of client CPU: medians of {} rounds",
        arguments.rounds
    )?;
    for &connections in &arguments.connections {
        for &pipeline in &arguments.pipeline {
            let task = Task {
                address,
                connections,
                pipeline,
                time: Duration::from_secs(arguments.seconds),
                core: arguments.client_core,
            };
            let mut figures = vec![(Vec::new(), Vec::new()); loops.len()];
            for _ in 0..arguments.rounds {
                for (at, (_, run)) in loops.iter().enumerate() {
                    let (rate, rate_of_cpu) = measure(*run, task)?;
                    figures[at].0.push(rate);
                    figures[at].1.push(rate_of_cpu);
                }
            }
            for ((name, _), (rates, rates_of_cpu)) in loops.iter().zip(figures) {
                writeln!(
                    out,
                    "{connections:>6} connections x {pipeline:<3} {name:>8} {:>12.0} {:>12.0}",
                    median(rates),
                    median(rates_of_cpu)
                )?;
            }
        }
    }
    Ok(())
}

/// Starts an echo server on its core.
fn serve(core: usize) -> Result<SocketAddr, Failure> {
    let (told, address) = mpsc::channel();
    thread::spawn(move || {
        affinity::pin_to(&[core])?;
        echo::epoll::serve(([127, 0, 0, 1], 0).into(), |address| {
            let _ = told.send(address);
        })
    });
    Ok(address.recv()?)
}

/// Frames a second, and a second of CPU, of one loop on a thread of its own.
fn measure(run: Loop, task: Task) -> Result<(f64, f64), Failure> {
    let figures = thread::spawn(move || {
        affinity::pin_to(&[task.core])?;
        run(task)
    })
    .join()
    .map_err(|_| "a loop failed")??;
    let frames = figures.frames as f64;
    Ok((frames / figures.seconds, frames / figures.cpu_seconds))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
