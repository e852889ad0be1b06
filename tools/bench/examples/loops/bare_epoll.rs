//! The barest client on epoll.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Instant,
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
};

use crate::{FRAME_LEN, Failure, Figures, READ_LEN, Task, frames, thread_cpu_seconds};

/// So long may be waited for an event.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

pub(crate) fn run(task: Task) -> Result<Figures, Failure> {
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::new();
    for index in 0..task.connections {
        let stream = TcpStream::connect(task.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(
            &poller,
            &stream,
            EventData::new_u64(u64::from(index)),
            EventFlags::IN,
        )?;
        // Beside the stream: how many bytes of a frame whose end hasn't come yet are there.
        connections.push((stream, 0));
    }
    let sample = frames(READ_LEN / FRAME_LEN + 1);
    let mut buffer = vec![0; READ_LEN];
    let mut events = Vec::with_capacity(1024);
    let (begun, cpu) = (Instant::now(), thread_cpu_seconds());
    for (stream, _) in &mut connections {
        stream.write_all(&frames(task.pipeline as usize))?;
    }
    let mut count = 0;
    while begun.elapsed() < task.time {
        events.clear();
        epoll::wait(&poller, spare_capacity(&mut events), Some(&PATIENCE))?;
        for &epoll::Event { data, .. } in &events {
            let index = data.u64() as usize;
            let (stream, partial) = &mut connections[index];
            let received = match stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let whole = (*partial + received) / FRAME_LEN;
            *partial = (*partial + received) % FRAME_LEN;
            count += whole as u64;
            if whole > 0 {
                // At most as much as came back, so the socket has room.
                stream.write_all(&sample[..whole * FRAME_LEN])?;
            }
        }
    }
    Ok(Figures {
        frames: count,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: thread_cpu_seconds() - cpu,
    })
}
