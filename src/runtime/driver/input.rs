//! From a connection's bytes to requests, as far as there is room.
//!
//! Frames are taken one after the other until one is not whole or there is no room for another request. What is left stays in the connection's
//! input: at most one frame and one receive slice. The connection then stands in the line of those that [`Driver::go_on_with_waiting`]
//! takes up at a turn's end, a slice a turn. A large frame gets a buffer of its own as soon as its length is known, if the shard's memory for
//! such has room; else the connection waits for that.

use bytes::Bytes;
use corduroy_proto_wire::{LENGTH_LEN, Status, split};

use super::connection::{Connection, LargeInput, Phase};
use super::requests::LookAhead;
use super::{Driver, Flow, Ports};
use crate::gateway::resp;
use crate::limits;
use crate::ports::ConnectionId;
use crate::types::Now;

impl<P: Ports> Driver<P> {
    /// Works off what a connection sent, as far as there is room.
    pub(super) fn work_off(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> Flow {
        if let Some(flow) = self.take_large(now, id, bytes) {
            return flow;
        }
        let mut at = 0;
        if self.hub.connections[id.slot as usize].phase == Phase::Handshake {
            if resp::speaks(bytes) {
                self.open_resp(id);
                return self.resp_received(now, id, bytes);
            }
            match self.shake_hands(now, id, bytes) {
                Ok(Some(consumed)) => at = consumed,
                Ok(None) => return self.keep_input(now, id, bytes, false),
                Err(flow) => return flow,
            }
        }
        loop {
            // One frame alone is not worth a look ahead.
            let mut ahead = match split(&bytes[at..], self.config.frame_len_max()) {
                Ok(Some((_, consumed))) if at + consumed < bytes.len() => {
                    self.look_ahead_in(&bytes[at..])
                }
                _ => LookAhead::default(),
            };
            for place in &mut ahead.places {
                if !self.may_go_on(id) {
                    return self.keep_input(now, id, &bytes[at..], true);
                }
                match split(&bytes[at..], self.config.frame_len_max()) {
                    Ok(Some((frame, consumed))) => {
                        at += consumed;
                        self.hub.connections[id.slot as usize].frame_since = None;
                        if frame.len() > self.config.large_len {
                            self.large_request(now, id, Bytes::copy_from_slice(frame));
                        } else {
                            self.request(now, id, frame, place.take());
                        }
                    }
                    Ok(None) => return self.keep_input(now, id, &bytes[at..], false),
                    Err(error) => return self.refuse_stream(id, &error),
                }
            }
        }
    }

    /// Takes the large frame that came in before `bytes`, if there is one. Answers what becomes of the connection if its turn ends there.
    pub(super) fn take_large(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> Option<Flow> {
        self.hub.connections[id.slot as usize].large.as_ref()?;
        if !self.may_go_on(id) {
            return Some(self.keep_input(now, id, bytes, true));
        }
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.frame_since = None;
        let large = connection.large.take()?;
        self.large_request(now, id, large.into_frame());
        None
    }

    /// Whether one more request of this connection may be taken.
    #[inline]
    pub(super) fn may_go_on(&self, id: ConnectionId) -> bool {
        let connection = &self.hub.connections[id.slot as usize];
        !connection.has_parts()
            && connection
                .resp
                .as_ref()
                .is_none_or(|resp| resp.may_go_on(self.hub.clock))
            && self.takes_more(connection)
            && (connection.large_wanted == 0 || self.claims.has_room(connection.large_wanted))
            && self.has_room()
    }

    /// Whether this shard can take one more request of any connection.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.shard.has_room() && self.hub.gathers.len() < limits::GATHERS_MAX && !self.hub.congested
    }

    pub(super) fn keep_input(
        &mut self,
        now: Now,
        id: ConnectionId,
        rest: &[u8],
        waits_for_room: bool,
    ) -> Flow {
        let connection = &mut self.hub.connections[id.slot as usize];
        debug_assert!(connection.input.is_empty());
        connection.large_wanted = 0;
        let mut waits_for_room = waits_for_room;
        if !waits_for_room
            && connection.phase == Phase::Open
            && let Some(len) = large_frame_len(rest, self.config.large_len)
        {
            if self.claims.has_room(len) {
                connection.frame_since.get_or_insert(now.mono);
                return self.begin_large(id, len, rest);
            }
            connection.large_wanted = len;
            waits_for_room = true;
        }
        connection.input.extend_from_slice(rest);
        if rest.is_empty() {
            connection.frame_since = None;
            connection.input.shrink_to(limits::CONNECTION_BUFFER_KEEP);
        } else if !waits_for_room {
            connection.frame_since.get_or_insert(now.mono);
        }
        if waits_for_room {
            return self.line_up(id);
        }
        Flow::Continue
    }

    /// Puts a connection, whose next request has no room, in the line of those that wait.
    pub(super) fn line_up(&mut self, id: ConnectionId) -> Flow {
        let connection = &mut self.hub.connections[id.slot as usize];
        // It is not the client that is slow.
        connection.frame_since = None;
        if !connection.waits_for_room {
            connection.waits_for_room = true;
            let line = if connection.large_wanted > 0 {
                &mut self.waiting_large
            } else {
                &mut self.waiting
            };
            line.push_back(id);
        }
        connection.paused = true;
        Flow::Pause
    }

    /// Gives a large frame that has begun to come in a buffer of its own.
    pub(super) fn begin_large(&mut self, id: ConnectionId, len: usize, begin: &[u8]) -> Flow {
        match self.ports.large_buffer(len) {
            Ok(buffer) => {
                let mut large = LargeInput::new(buffer, &self.claims);
                large.take(begin);
                let connection = &mut self.hub.connections[id.slot as usize];
                connection.large = Some(large);
                connection.input.shrink_to(limits::CONNECTION_BUFFER_KEEP);
                Flow::Continue
            }
            Err(error) => {
                let reason = format!("there is no memory for a frame of {len} bytes: {error}");
                let request = corduroy_proto_wire::CONNECTION_REQUEST_ID;
                self.close_with(id, request, Status::Overloaded, &reason)
            }
        }
    }

    /// Takes up connections that waited for room, as many as a turn's slice allows.
    pub(super) fn go_on_with_waiting(&mut self, now: Now) {
        let mut budget = limits::TURN_INPUT_BYTES;
        while budget > 0 && self.has_room() && self.first_large_may_go_on() {
            let Some(id) = self.waiting_large.pop_front() else {
                break;
            };
            if self.hub.connection(id).is_none() {
                continue;
            }
            if self.may_go_on(id) {
                self.go_on(now, id, &mut budget);
            } else {
                // Something of its own holds it up, and others need not wait for that.
                self.waiting.push_back(id);
            }
        }
        for _ in 0..self.waiting.len() {
            if budget == 0 || !self.has_room() {
                return;
            }
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            let Some(connection) = self.hub.connection(id) else {
                continue;
            };
            if connection.has_parts() {
                if connection.resp.is_some() {
                    self.go_on_with_parts(now, id);
                } else {
                    self.go_on_with_batch(now, id);
                }
                budget = budget.saturating_sub(limits::TURN_INPUT_BYTES / 2);
                self.waiting.push_back(id);
                continue;
            }
            if connection.phase == Phase::Closing {
                connection.waits_for_room = false;
                continue;
            }
            if !self.may_go_on(id) {
                self.waiting.push_back(id);
                continue;
            }
            self.go_on(now, id, &mut budget);
        }
    }

    /// Goes on with a connection that waited and may go on.
    pub(super) fn go_on(&mut self, now: Now, id: ConnectionId, budget: &mut usize) {
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.waits_for_room = false;
        *budget = budget.saturating_sub(connection.input.len().max(1));
        let flow = if connection.resp.is_some() {
            self.resp_go_on(now, id)
        } else {
            let input = std::mem::take(&mut connection.input);
            self.work_off(now, id, &input)
        };
        if flow == Flow::Continue
            && let Some(connection) = self.hub.connection(id)
            && std::mem::take(&mut connection.paused)
        {
            self.ports.resume(id);
        }
    }

    /// Whether there is memory for the large frame that has waited for longest, or its connection is gone.
    pub(super) fn first_large_may_go_on(&self) -> bool {
        self.waiting_large.front().is_some_and(|&id| {
            let connection = self.hub.connections.get(id.slot as usize);
            let alive = connection.filter(|connection| connection.generation == id.generation);
            alive.is_none_or(|connection| self.claims.has_room(connection.large_wanted))
        })
    }

    /// Whether the next of a request's many parts could be worked off now.
    fn parts_may_go_on(&self, connection: &Connection) -> bool {
        connection.batch.is_some() || (connection.has_parts() && self.takes_more(connection))
    }

    /// Whether a connection may have one more request, or part of one, as far as its own answers are concerned.
    #[inline]
    pub(super) fn takes_more(&self, connection: &Connection) -> bool {
        connection.in_flight < self.config.in_flight_max
            && connection.unsent() < limits::OUTPUT_HIGH_WATER
    }

    /// Whether a connection that waits could go on now.
    pub(super) fn is_ready(&self, id: ConnectionId) -> bool {
        let connection = self.hub.connections.get(id.slot as usize);
        connection.is_some_and(|connection| {
            connection.generation == id.generation
                && (self.parts_may_go_on(connection) || self.may_go_on(id))
        })
    }
}

/// How long the frame that begins here is in all, if it is a large one. Its length field was checked.
pub(super) fn large_frame_len(bytes: &[u8], large_len: usize) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<LENGTH_LEN>()?) as usize;
    (length > large_len).then_some(LENGTH_LEN + length)
}
