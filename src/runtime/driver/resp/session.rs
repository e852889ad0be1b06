//! What concerns the connection itself: HELLO, MULTI, CLIENT, CLUSTER, CONFIG, SLOWLOG.

use corduroy_proto_wire::{Body, Request, RequestId, Response, Status};

use super::super::connection::Phase;
use super::super::gather::Gathering;
use super::super::{Driver, Ports};
use super::input::Done;
use super::rounds::Round;
use super::{Front, Resp, Step, Tag};
use crate::gateway::resp::clients;
use crate::gateway::resp::order::SessionOrder;
use crate::gateway::resp::session::ClientText;
use crate::gateway::resp::{Protocol, Shape, reply};
use crate::ports::ConnectionId;
use crate::types::Now;

const OK: &[u8] = b"+OK\r\n";

impl<P: Ports> Driver<P> {
    pub(super) fn session_order(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        order: SessionOrder<'_>,
    ) -> Done {
        let session = &mut front.session;
        match order {
            SessionOrder::Quit => {
                self.reply_known(id, tag, OK);
                self.hub.connections[id.slot as usize].read_nothing_more();
                return Done::Closed;
            }
            SessionOrder::Reset => {
                session.reset();
                self.resp(id).protocol = Protocol::Resp2;
                self.reply_known(id, tag, b"+RESET\r\n");
            }
            SessionOrder::Multi => {
                session.begin();
                self.reply_known(id, tag, OK);
            }
            SessionOrder::Discard => {
                session.discard();
                self.reply_known(id, tag, OK);
            }
            SessionOrder::Unwatch => {
                session.unwatch();
                self.reply_known(id, tag, OK);
            }
            SessionOrder::SetText(which, text) => {
                session.set_text(which, text);
                self.reply_known(id, tag, OK);
            }
            SessionOrder::ReadOnly(read_only) => {
                session.set_read_only(read_only);
                self.reply_known(id, tag, OK);
            }
            SessionOrder::ReplyMode(mode) => {
                let muted = !session.set_reply_mode(mode);
                self.reply_known(id, Tag { muted }, OK);
            }
            order => return self.session_round(now, id, front, tag, order),
        }
        Done::Yes
    }

    /// HELLO, SELECT, WATCH, CLIENT LIST: what asks somebody first, or what is asked of this shard alone.
    fn session_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        order: SessionOrder<'_>,
    ) -> Done {
        let step = std::mem::take(&mut front.step);
        if let SessionOrder::Select(number) = order {
            let round = match self.open_database(now, id, tag, number, &step) {
                Ok(keyspace) => {
                    front.session.select(number, keyspace);
                    Round::Reply(OK.to_vec())
                }
                Err(round) => round,
            };
            return self.end_rounds(id, tag, round, front);
        }
        let failure = self.take_failure(id);
        let told = match self.resp(id).collected.take() {
            Some(Ok(Gathering::Node(told))) => Some(told),
            _ => None,
        };
        let round = match order {
            _ if let Some(bytes) = failure => Round::Reply(bytes),
            SessionOrder::Watch(keys) => self.watch_round(now, id, front, tag, &keys, &step),
            SessionOrder::Hello { protocol, name } => {
                if let Some(protocol) = protocol {
                    front.session.set_protocol(protocol);
                    self.resp(id).protocol = protocol;
                }
                if let Some(name) = name {
                    front.session.set_text(ClientText::Name, name);
                }
                let mut bytes = Vec::new();
                clients::write_hello(&mut bytes, &front.session, self.client_number(id));
                Round::Reply(bytes)
            }
            SessionOrder::GetName => {
                let mut bytes = Vec::new();
                match front.session.text(ClientText::Name) {
                    [] => reply::null(&mut bytes, self.resp(id).protocol),
                    name => reply::bulk(&mut bytes, name),
                }
                Round::Reply(bytes)
            }
            SessionOrder::ClientId => {
                let mut bytes = Vec::new();
                reply::integer(&mut bytes, self.client_number(id) as i64);
                Round::Reply(bytes)
            }
            other => self.admin_round(now, id, front, tag, other, told),
        };
        self.end_rounds(id, tag, round, front)
    }

    /// The reply of a command whose gather failed; nothing if it did not, or if another connection was quicker to make a keyspace.
    pub(super) fn take_failure(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        let failed_with = self.resp(id).collected.take_if(|it| it.is_err())?;
        let (status, reason) = failed_with.err()?;
        let mut bytes = Vec::new();
        Shape::Ok.write(&failed(status, &reason), Protocol::Resp2, &mut bytes);
        (status != Status::AlreadyExists).then_some(bytes)
    }

    /// WATCH: asks for the keys' versions, and then keeps them.
    fn watch_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        keys: &[&[u8]],
        step: &Step,
    ) -> Round {
        let keyspace = front.session.keyspace();
        if !matches!(step, Step::Asked) {
            for key in keys {
                let slot = self.resp(id).queue.version(tag);
                let request = Request::Exists {
                    keyspace: keyspace.0,
                    key,
                };
                self.send_request(now, id, slot, &request);
            }
            return Round::Asked(Step::Asked);
        }
        let versions = match self.resp(id).queue.take_versions() {
            Ok(versions) => versions,
            Err(error) => return Round::Reply(error),
        };
        let watched = keys
            .iter()
            .zip(versions)
            .all(|(key, version)| front.session.watch(keyspace, key, version));
        if watched {
            Round::Reply(OK.to_vec())
        } else {
            Round::Reply(reply::error_bytes("ERR too many keys are watched"))
        }
    }

    /// A number that no other client of this node had or has.
    pub(super) fn client_number(&self, id: ConnectionId) -> u64 {
        u64::from(id.generation) * u64::from(self.config.shard_count)
            + u64::from(self.config.shard.0)
            + 1
    }

    /// A connection turns out to be a Redis client's.
    pub(in super::super) fn open_resp(&mut self, id: ConnectionId) {
        let settings = self.config.resp;
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.phase = Phase::Open;
        connection.resp = Some(Box::new(Resp::new(settings)));
    }

    /// Says why, and closes the connection once that and every reply before it is sent.
    pub(in super::super) fn close_resp(&mut self, id: ConnectionId, text: impl AsRef<[u8]>) {
        self.close_resp_after(id, &reply::error_bytes(text));
    }

    /// The same, with a last reply as it is sent.
    pub(super) fn close_resp_after(&mut self, id: ConnectionId, last: &[u8]) {
        let tag = Tag { muted: false };
        self.reply_known(id, tag, last);
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.read_nothing_more();
        connection.frame_since = None;
        self.hub.mark_dirty(id);
    }

    /// A gather that a Redis client's command asked for is complete.
    pub(in super::super) fn collected(
        &mut self,
        id: ConnectionId,
        slot: RequestId,
        result: Result<Gathering, (Status, String)>,
    ) {
        if let Some(resp) = self.resp_mut(id) {
            resp.collected = Some(result);
        }
        self.hub.answer(id, slot, &failed(Status::Ok, ""));
    }
}

/// An answer that is only a status, and why.
pub(super) fn failed(status: Status, reason: &str) -> Response<'_> {
    Response {
        status,
        version: 0,
        timestamp_ms: 0,
        body: if status.is_error() {
            Body::Error(reason)
        } else {
            Body::Empty
        },
    }
}
