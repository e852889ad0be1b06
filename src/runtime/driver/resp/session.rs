//! What concerns the connection itself: HELLO, MULTI, CLIENT, CLUSTER, CONFIG, SLOWLOG.

use super::super::connection::Phase;
use super::super::{Driver, Ports};
use super::input::Done;
use super::{Front, Step, Tag};
use crate::gateway::resp::cluster;
use crate::gateway::resp::config;
use crate::gateway::resp::order::{KillFilter, ReplyMode, SessionOrder};
use crate::gateway::resp::{Protocol, reply};
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
                self.reply_known(id, Tag { muted, ..tag }, OK);
            }
            order => return self.session_round(now, id, front, tag, order),
        }
        Done::Yes
    }
}
