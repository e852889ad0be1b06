//! The barest client on glommio: a task a connection, as its server has (`corduroy_benches::echo::glommio`).

use std::{cell::Cell, io, rc::Rc, time::Duration, time::Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{LocalExecutorBuilder, Placement, net::TcpStream, timer::sleep};

use crate::{FRAME_LEN, Failure, Figures, Task, frames, thread_cpu_seconds};

/// A task's own buffer: it lives over an await, so it can't be shared as the other loop's can. A large one a connection would cost the cache.
const BUFFER_LEN_MIN: usize = 4 << 10;
/// How often a busy executor looks at its ring.
const PREEMPT: Duration = Duration::from_millis(1);
/// Memory for registered buffers, of which sockets need none.
const IO_MEMORY_LEN: usize = 64 << 10;
/// An executor of glommio 0.9 that is preempted at the wrong moment parks although it has work. This wakes it.
const WAKE_EVERY: Duration = Duration::from_millis(5);

pub(crate) fn run(task: Task) -> Result<Figures, Failure> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(task.core))
        .name("loops")
        .preempt_timer(PREEMPT)
        .io_memory(IO_MEMORY_LEN)
        .make()
        .map_err(|error| error.to_string())?;
    executor.run(async move {
        glommio::spawn_local(async {
            loop {
                sleep(WAKE_EVERY).await;
            }
        })
        .detach();
        let mut streams = Vec::new();
        for _ in 0..task.connections {
            let stream = TcpStream::connect(task.address)
                .await
                .map_err(|error| error.to_string())?;
            stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            streams.push(stream);
        }
        let count = Rc::new(Cell::new(0));
        let sample: Rc<[u8]> = frames(task.pipeline as usize + 1).into();
        let (begun, cpu) = (Instant::now(), thread_cpu_seconds());
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                let (count, sample) = (count.clone(), sample.clone());
                glommio::spawn_local(async move {
                    // Whatever ends a connection early shows in the count.
                    let _ = ask(stream, task.pipeline as usize, &sample, &count).await;
                })
            })
            .collect();
        sleep(task.time).await;
        let figures = Figures {
            frames: count.get(),
            seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: thread_cpu_seconds() - cpu,
        };
        for task in tasks {
            task.cancel().await;
        }
        Ok(figures)
    })
}

/// Keeps so many frames in flight on one connection.
async fn ask(
    mut stream: TcpStream,
    pipeline: usize,
    sample: &[u8],
    count: &Cell<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_LEN_MIN.max(pipeline * FRAME_LEN)];
    let mut partial = 0;
    stream.write_all(&sample[..pipeline * FRAME_LEN]).await?;
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let whole = (partial + received) / FRAME_LEN;
        partial = (partial + received) % FRAME_LEN;
        count.set(count.get() + whole as u64);
        stream.write_all(&sample[..whole * FRAME_LEN]).await?;
    }
}
