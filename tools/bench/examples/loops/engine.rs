//! The load generator's engine with a language in which a frame is its own reply.

use std::{iter, sync::atomic::AtomicBool, time::Duration};

use corduroy_bench::{
    engine::{self, Config, Length, Load},
    protocol::{Asked, Dialect, Malformed, Outcome, Reply, Step},
    workload::{Ask, Heat, Operation},
};

use crate::{FRAME_LEN, Failure, Figures, LENGTH_LEN, Task, frames};

/// Frames whose first bytes after the length are their slot.
struct Echo {
    frame: Vec<u8>,
}

/// Frames without end.
struct Frames;

impl Dialect for Echo {
    const IN_ORDER: bool = false;

    fn request(&self, slot: u32, _: &Ask, _: Step<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        out[start + LENGTH_LEN..start + 2 * LENGTH_LEN].copy_from_slice(&slot.to_le_bytes());
    }

    fn reply<'a>(&self, bytes: &'a [u8], _: Option<Asked>) -> Result<Option<Reply<'a>>, Malformed> {
        let Some(frame) = bytes.get(..FRAME_LEN) else {
            return Ok(None);
        };
        let mut slot = [0; LENGTH_LEN];
        slot.copy_from_slice(&frame[LENGTH_LEN..2 * LENGTH_LEN]);
        Ok(Some(Reply {
            len: FRAME_LEN,
            slot: Some(u32::from_le_bytes(slot)),
            outcome: Outcome::Done,
        }))
    }

    fn values<'a>(&self, _: &Ask, _: &'a [u8], _: &mut dyn FnMut(u64, &'a [u8])) {}
}

impl Load for Frames {
    type Dialect = Echo;
    type Source = fn(u64) -> Option<Ask>;
    type Arrivals = iter::Empty<u64>;

    fn dialect(&self, _: u32) -> Echo {
        Echo { frame: frames(1) }
    }

    fn source(&self, _: u32) -> Self::Source {
        |_| {
            Some(Ask {
                operation: Operation::Put,
                key: 0,
                heat: Heat::Cold,
                value_len: 0,
                stamp: 0,
                ttl_ms: 0,
                count: 1,
            })
        }
    }

    fn arrivals(&self, _: u32, _: u32) -> iter::Empty<u64> {
        iter::empty()
    }

    fn is_right(&self, _: u64, _: &[u8]) -> bool {
        true
    }

    fn may_miss(&self, _: &Ask) -> bool {
        false
    }
}

pub(crate) fn run(task: Task) -> Result<Figures, Failure> {
    let config = Config {
        connections: task.connections,
        pipeline: task.pipeline,
        cores: vec![task.core],
        warm_up: Duration::ZERO,
        length: Length::Time(task.time),
        ..Config::new(task.address)
    };
    let run = engine::run(&Frames, &config, &AtomicBool::new(false), &mut |_| {})?.run;
    if !run.errors.is_empty() {
        return Err(format!("{:?}", run.errors).into());
    }
    Ok(Figures {
        frames: run.operations,
        seconds: run.seconds,
        cpu_seconds: run.generator.cpu_share[0] * run.seconds,
    })
}
