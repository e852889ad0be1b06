//! What leaves the shard at a turn's end: answers to the sockets, batches to the other shards; and connections whose time is over.

use super::connection::Phase;
use super::{Driver, Ports};
use crate::limits;
use crate::ports::{ConnectionId, Mesh, Net};
use crate::types::{MonoNanos, ShardId};

impl<P: Ports> Driver<P> {
    /// Offers each connection's output to its socket, a slice at a time, and no more connections and bytes than a turn's slice.
    pub(super) fn flush_outputs(&mut self, now: MonoNanos) {
        self.hub.release_held(now);
        let offered = self.hub.dirty.len().min(limits::TURN_SENDS_MAX);
        let mut sent = 0;
        for _ in 0..offered {
            if sent >= limits::TURN_SEND_BYTES {
                return;
            }
            let Some(id) = self.hub.dirty.pop_front() else {
                return;
            };
            let Some(connection) = self.hub.connections.get_mut(id.slot as usize) else {
                continue;
            };
            if connection.generation != id.generation {
                continue;
            }
            connection.dirty = false;
            if connection.may_hold(now) {
                if connection.held_since.is_none() {
                    connection.held_since = Some(now);
                    self.hub.held.push_back((id, now));
                }
                continue;
            }
            connection.held_since = None;
            if connection.in_flight == 0
                && let Some(farewell) = connection.farewell.take()
            {
                connection.output.frames().extend_from_slice(&farewell);
            }
            let unsent = connection.output.len();
            if unsent > self.config.output_bytes_max || !self.offer(now, id) {
                self.cut(id);
                continue;
            }
            let connection = &self.hub.connections[id.slot as usize];
            sent += unsent - connection.output.len();
            if connection.phase == Phase::Closing && connection.is_quiet() {
                self.cut(id);
            } else if !connection.output.is_empty() && !connection.blocked {
                self.hub.mark_dirty(id);
            }
        }
    }

    /// Offers one slice of a connection's output to its socket; false if the connection is dead.
    pub(super) fn offer(&mut self, now: MonoNanos, id: ConnectionId) -> bool {
        let connection = &mut self.hub.connections[id.slot as usize];
        if connection.blocked || connection.output.is_empty() {
            return true;
        }
        let unsent = connection.output.unsent();
        let slice = &unsent[..unsent.len().min(limits::SEND_SLICE_BYTES)];
        let offered = slice.len();
        match Net::send(&mut self.ports, id, slice) {
            Ok(sent) => {
                connection.blocked = sent < offered;
                connection.output.advance(sent);
                if sent > 0 {
                    connection.sent_at = now;
                }
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn flush_links(&mut self) {
        for peer in 0..self.config.shard_count {
            let link = &mut self.hub.links[usize::from(peer)];
            if let Some(batch) = link.take_batch()
                && let Err(batch) = Mesh::send(&mut self.ports, ShardId(peer), batch)
            {
                link.give_back(batch);
            }
        }
        self.hub.look_for_congestion();
    }

    pub(super) fn cut(&mut self, id: ConnectionId) {
        self.hub.forget(id);
        self.ports.close(id);
    }

    /// Goes on looking connections over for timeouts, one slice, and begins anew when that is due.
    pub(super) fn keep_house(&mut self, now: MonoNanos) {
        if now >= self.housekeeping_at {
            self.housekeeping_at = MonoNanos(now.0 + limits::HOUSEKEEPING_NS);
            self.housekeeping_slot.get_or_insert(0);
        }
        let Some(first) = self.housekeeping_slot else {
            return;
        };
        let end = first + limits::HOUSEKEEPING_SLICE;
        for slot in first..end.min(self.hub.connections.capacity()) {
            if let Some(id) = self.overdue(now, slot) {
                self.cut(id);
            }
        }
        self.housekeeping_slot = (end < self.hub.connections.capacity()).then_some(end);
    }

    /// The connection at a place, if it never opened, left a frame unfinished, read nothing, or sent nothing for too long.
    fn overdue(&mut self, now: MonoNanos, slot: usize) -> Option<ConnectionId> {
        let config = &self.config;
        let connection = self.hub.connections.get_mut(slot)?;
        if connection.output.is_empty() {
            connection.sent_at = now;
        }
        let since_received = now.0 - connection.received_at.0;
        let is_stalled = now.0 - connection.sent_at.0 > config.stall_timeout_ns
            || connection.frame_overdue(now, config.stall_timeout_ns);
        let is_late = match connection.phase {
            Phase::Handshake => since_received > config.handshake_timeout_ns,
            Phase::Open => {
                config.idle_timeout_ns > 0
                    && since_received > config.idle_timeout_ns
                    && connection.is_quiet()
                    && !connection.waits_for_room
            }
            Phase::Closing => false,
        };
        (is_stalled || is_late).then_some(connection.id(slot))
    }
}
