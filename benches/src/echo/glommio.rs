//! The floor for Corduroy: one glommio executor, a task a connection, glommio's own unbuffered TCP stream.
//!
//! What was found to be best: one large read a turn into the connection's own buffer, and one write of the whole frames
//! straight out of it, which the stream hands to the socket at once without going through the ring. A connection whose
//! client does not read its echoes is not read from either, as its task waits in the write.

use std::{io, net::SocketAddr, time::Duration};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{
    LocalExecutorBuilder, Placement,
    net::{TcpListener, TcpStream},
    timer::sleep,
};

use super::{BUFFER_LEN, whole_frames_len};

/// How an executor is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The core to run on; any if it is `None`.
    pub core: Option<usize>,
    /// How long to look for work before going to sleep.
    pub spin: Duration,
}

/// How often a busy executor looks at its ring.
const PREEMPT: Duration = Duration::from_millis(1);
/// Memory for registered buffers, of which sockets need none; the default would take 10 MiB of the memlock limit.
const IO_MEMORY_LEN: usize = 64 << 10;
/// An executor of glommio 0.9 that is preempted at the wrong moment parks although it has work. This wakes it.
const WAKE_EVERY: Duration = Duration::from_millis(5);

/// Serves for ever on `address`. Tells `listening` the address that it got.
///
/// # Errors
///
/// The executor could not be made (io_uring is missing or forbidden, or the memlock limit too low), or the listener failed.
/// An error of a connection ends that connection alone.
pub fn serve(
    address: SocketAddr,
    options: Options,
    listening: impl FnOnce(SocketAddr) + 'static,
) -> io::Result<()> {
    let placement = options.core.map_or(Placement::Unbound, Placement::Fixed);
    let executor = LocalExecutorBuilder::new(placement)
        .name("echo")
        .preempt_timer(PREEMPT)
        .io_memory(IO_MEMORY_LEN)
        .spin_before_park(options.spin)
        .make()?;
    executor.run(async move {
        glommio::spawn_local(async {
            loop {
                sleep(WAKE_EVERY).await;
            }
        })
        .detach();
        let listener = TcpListener::bind(address)?;
        listening(listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            glommio::spawn_local(async move {
                // Whatever ends a connection, its client sees that it ended; the others go on.
                let _ = echo(stream).await;
            })
            .detach();
        }
    })
}

/// Serves one connection until its client closes it.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut filled = 0;
    loop {
        let received = stream.read(&mut buffer[filled..]).await?;
        if received == 0 {
            return Ok(());
        }
        filled += received;
        let whole = whole_frames_len(&buffer[..filled]).map_err(io::Error::other)?;
        stream.write_all(&buffer[..whole]).await?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}
