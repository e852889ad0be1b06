//! The tasks of an executor that wait for other threads: batches of other shards, the log writer's completions, connections, orders.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use flume::{Receiver, RecvError, TryRecvError};

use super::connection::Arrival;
use super::core::Core;
use super::state::Order;
use super::writer::Completion;
use crate::runtime::driver::MeshBatch;
use crate::types::ShardId;

/// What comes to an executor from other threads.
pub(super) struct Inlets {
    pub(super) batches: Vec<(ShardId, Receiver<MeshBatch>)>,
    pub(super) completions: Receiver<Completion>,
    pub(super) arrivals: Receiver<Arrival>,
    pub(super) orders: Receiver<Order>,
}

impl Inlets {
    /// Starts a task for each of them. They end when nobody can send any more.
    pub(super) fn serve(self, core: &Rc<Core>) {
        for (from, batches) in self.batches {
            let core = Rc::clone(core);
            glommio::spawn_local(async move {
                while let Ok(batch) = receive(&batches).await {
                    core.driver.borrow_mut().mesh_received(from, batch);
                    core.delivered();
                }
            })
            .detach();
        }
        let completions = self.completions;
        let to = Rc::clone(core);
        glommio::spawn_local(async move {
            while let Ok((ticket, outcome)) = receive(&completions).await {
                to.disk_completed(ticket, outcome);
            }
        })
        .detach();
        let arrivals = self.arrivals;
        let to = Rc::clone(core);
        glommio::spawn_local(async move {
            while let Ok(arrival) = arrivals.recv_async().await {
                to.open(arrival);
            }
        })
        .detach();
        let to = Rc::clone(core);
        let backups = core.backups.orders.clone();
        glommio::spawn_local(async move {
            while let Ok(order) = backups.recv_async().await {
                to.backup_ordered(order);
            }
        })
        .detach();
        let orders = self.orders;
        let to = Rc::clone(core);
        glommio::spawn_local(async move {
            while let Ok(order) = orders.recv_async().await {
                to.ordered(order);
            }
        })
        .detach();
    }
}

/// Receives from a channel into which the reader looks, too. flume puts a task whose message was taken by another receiver back into line, but looks
/// at the channel only before that: a message that comes in between wakes nobody. So it is looked at once more after it.
async fn receive<T>(receiver: &Receiver<T>) -> Result<T, RecvError> {
    let mut next = pin!(receiver.recv_async());
    poll_fn(|context| match next.as_mut().poll(context) {
        Poll::Ready(received) => Poll::Ready(received),
        Poll::Pending => match receiver.try_recv() {
            Ok(message) => Poll::Ready(Ok(message)),
            Err(TryRecvError::Disconnected) => Poll::Ready(Err(RecvError::Disconnected)),
            Err(TryRecvError::Empty) => Poll::Pending,
        },
    })
    .await
}
