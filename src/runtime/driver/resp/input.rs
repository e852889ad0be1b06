//! From a RESP connection's bytes to commands, as far as there is room.
//!
//! Commands are taken one after the other until one is not whole, there is no room for another, or one must wait for the replies of those before it. What
//! is left stays in the connection's input; the parser goes on where it stopped, so bytes are looked at once however they come in. An argument
//! over `large_len` gets a buffer of its own, with room before it for the head of a native frame: the value is never copied.

use super::super::connection::LargeInput;
use super::super::{Driver, Flow, Ports};
use super::{Ahead, Front};
use crate::gateway::resp::parse::{
    Bounds, ParseError, Parser, Progress, Span, is_short, key_ahead,
};
use crate::limits;
use crate::ports::ConnectionId;
use crate::types::{KeyspaceId, Now};

/// Line break behind an argument.
const LINE_END: &[u8] = b"\r\n";

/// Arguments for which no memory is allocated.
const FEW_ARGUMENTS: usize = 16;

/// Why the work on a connection's input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    /// The next command is not whole.
    NeedsMore,
    /// There is no room for it, or it must wait for replies.
    NoRoom,
    /// Its next argument is large: so many bytes from here on, the line break included.
    Large(usize),
    /// Nothing more is read.
    Closed,
}

/// What became of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was taken.
    Yes,
    /// It is to be tried again when earlier commands have their replies.
    Later,
    /// It was taken and is not worked off: nothing else is until it is.
    Parts,
    /// It was the connection's last.
    Closed,
}

impl Front {
    /// Whether the command that is coming in may have one more large argument. The first one waits for its memory; those after it get theirs at once, so
    /// they are within what a command may take beside a large argument.
    fn may_have_large(&self, len: usize) -> Result<(), ParseError> {
        let most = limits::RESP_COMMAND_BYTES_MAX;
        let others = self.larges.iter().skip(1);
        let others: usize = others.map(|large| large.argument().len()).sum();
        match self.larges.is_empty() || others + len <= most {
            true => Ok(()),
            false => Err(ParseError::CommandTooLong {
                len: others + len,
                most,
            }),
        }
    }
}

impl<P: Ports> Driver<P> {
    /// Bytes have come in on a RESP connection, behind those that a large argument took.
    pub(in super::super) fn resp_received(
        &mut self,
        now: Now,
        id: ConnectionId,
        bytes: &[u8],
    ) -> Flow {
        let connection = &mut self.hub.connections[id.slot as usize];
        if connection.waits_for_room {
            connection.input.extend_from_slice(bytes);
            connection.paused = true;
            return Flow::Pause;
        }
        if connection.input.is_empty() && connection.large.is_none() {
            let (consumed, halt) = self.take_commands(now, id, bytes);
            return self.halted(now, id, &bytes[consumed..], halt);
        }
        connection.input.extend_from_slice(bytes);
        self.resp_go_on(now, id)
    }

    /// Goes on with what a RESP connection's input holds.
    pub(in super::super) fn resp_go_on(&mut self, now: Now, id: ConnectionId) -> Flow {
        if let Err(flow) = self.keep_large(id) {
            return flow;
        }
        let connection = &mut self.hub.connections[id.slot as usize];
        let mut input = std::mem::take(&mut connection.input);
        let (consumed, halt) = self.take_commands(now, id, &input);
        if consumed > 0 {
            input.drain(..consumed);
        }
        if matches!(halt, Halt::Large(_) | Halt::Closed) {
            return self.halted(now, id, &input, halt);
        }
        self.hub.connections[id.slot as usize].input = input;
        self.halted(now, id, &[], halt)
    }

    /// A large argument that is whole goes to the command's others.
    fn keep_large(&mut self, id: ConnectionId) -> Result<(), Flow> {
        let connection = &mut self.hub.connections[id.slot as usize];
        let Some(large) = connection.large.take() else {
            return Ok(());
        };
        let front = connection
            .resp
            .as_mut()
            .and_then(|resp| resp.front.as_mut());
        let front = front.expect("it is there between commands");
        if !large.ends_with(LINE_END) {
            let len = large.argument().len();
            self.refuse_bytes(id, &ParseError::NoLineBreak { len });
            return Err(Flow::Continue);
        }
        front.larges.push(large);
        front.parser.large_taken();
        Ok(())
    }

    /// Takes as many commands as are whole and for which there is room. Says how many bytes they took up.
    fn take_commands(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> (usize, Halt) {
        let Some(mut front) = self.resp_mut(id).and_then(|resp| resp.front.take()) else {
            return (bytes.len(), Halt::Closed);
        };
        let bounds = Bounds {
            args_max: limits::RESP_ARGS_MAX,
            bulk_len_max: self.config.value_len_max.max(limits::KEY_LEN_MAX),
            command_len_max: limits::RESP_COMMAND_BYTES_MAX,
            inline_len_max: limits::RESP_INLINE_BYTES_MAX,
            large_len: self.config.large_len,
        };
        // Taken out so that arguments can borrow from it while the front is in use.
        let mut parser = std::mem::take(&mut front.parser);
        let mut at = 0;
        let halt = loop {
            if at == bytes.len() {
                break Halt::NeedsMore;
            }
            if !self.may_go_on(id) {
                break Halt::NoRoom;
            }
            self.resp(id).waits_for_replies = false;
            if front.ahead.is_used_up() {
                let keyspace = front.session.keyspace();
                self.look_ahead_commands(keyspace, &bytes[at..], &mut front.ahead);
            }
            let progress = match front.whole.take() {
                Some(consumed) => Ok(Progress::Complete { consumed }),
                None => parser.advance(&bytes[at..], &bounds),
            };
            match progress {
                Ok(Progress::Complete { consumed }) => {
                    let command = &bytes[at..at + consumed];
                    let done = self.take_command(now, id, &mut front, &parser, command);
                    if done == Done::Later {
                        front.whole = Some(consumed);
                        break Halt::NoRoom;
                    }
                    at += consumed;
                    parser.reset();
                    front.larges.clear();
                    self.hub.connections[id.slot as usize].frame_since = None;
                    match done {
                        Done::Parts => break Halt::NoRoom,
                        Done::Closed => break Halt::Closed,
                        Done::Yes | Done::Later => {}
                    }
                }
                Ok(Progress::Incomplete) => break Halt::NeedsMore,
                Ok(Progress::Large { at: begins, len }) => {
                    debug_assert!(at + begins <= bytes.len());
                    if let Err(error) = front.may_have_large(len) {
                        front.larges.clear();
                        self.refuse_bytes(id, &error);
                        break Halt::Closed;
                    }
                    front.large_at = begins;
                    break Halt::Large(len + LINE_END.len());
                }
                Err(error) => {
                    self.refuse_bytes(id, &error);
                    break Halt::Closed;
                }
            }
        };
        front.parser = parser;
        front.ahead.forget();
        if let Some(resp) = self.resp_mut(id) {
            resp.front = Some(front);
        }
        (at, halt)
    }

    /// Finds out where the keys of the next commands live, and has the memory loaded that looking them up will need.
    fn look_ahead_commands(&self, keyspace: KeyspaceId, bytes: &[u8], ahead: &mut Ahead) {
        let mut found = 0;
        let mut at = 0;
        let addresses = &mut ahead.keys;
        let keys = std::iter::from_fn(|| {
            let command = &bytes[at..];
            let (key, len) = key_ahead(command)?;
            at += len;
            *addresses.get_mut(found)? = key.as_ptr().addr();
            found += 1;
            Some((!key.is_empty()).then_some((keyspace, key, is_short(command))))
        });
        self.look_ahead_keys(keys, &mut ahead.places);
        ahead.keyspace = keyspace.0;
        (ahead.found, ahead.used) = (found, 0);
        ahead.pause = if found > 0 {
            0
        } else {
            limits::LOOK_AHEAD_FRAMES
        };
    }

    /// Keeps what is left of a connection's input for the reason for which its work ended.
    fn halted(&mut self, now: Now, id: ConnectionId, rest: &[u8], halt: Halt) -> Flow {
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.large_wanted = 0;
        let front = connection.resp.as_ref().and_then(|it| it.front.as_ref());
        let holds_larges = front.is_some_and(|front| !front.larges.is_empty());
        match halt {
            Halt::NeedsMore => {
                connection.input.extend_from_slice(rest);
                if connection.input.is_empty() {
                    connection.frame_since = None;
                    connection.input.shrink_to(limits::CONNECTION_BUFFER_KEEP);
                } else {
                    connection.frame_since.get_or_insert(now.mono);
                }
                Flow::Continue
            }
            Halt::NoRoom => {
                connection.input.extend_from_slice(rest);
                self.line_up(id)
            }
            // A command that holds memory already must not wait for more: two could wait for each other, or one for itself.
            Halt::Large(len) if holds_larges || self.claims.has_room(len) => {
                connection.frame_since.get_or_insert(now.mono);
                self.begin_large_argument(now, id, len, rest)
            }
            Halt::Large(len) => {
                connection.large_wanted = len;
                connection.input.extend_from_slice(rest);
                self.line_up(id)
            }
            Halt::Closed => Flow::Continue,
        }
    }

    /// Gives a large argument a buffer of its own. What is before it in the input stays there.
    fn begin_large_argument(
        &mut self,
        now: Now,
        id: ConnectionId,
        len: usize,
        rest: &[u8],
    ) -> Flow {
        let buffer = match self.ports.large_buffer(limits::RESP_HEAD_LEN + len) {
            Ok(buffer) => buffer,
            Err(error) => {
                let reason =
                    format!("TRYAGAIN there is no memory for an argument of {len} bytes: {error}");
                return self.resp_refuse(now, id, &reason);
            }
        };
        let mut large = LargeInput::new(buffer, &self.claims);
        large.take(&[0; limits::RESP_HEAD_LEN]);
        let connection = &mut self.hub.connections[id.slot as usize];
        let front = connection
            .resp
            .as_mut()
            .and_then(|resp| resp.front.as_ref());
        let begins = front.expect("it is there between commands").large_at;
        let taken = large.take(&rest[begins..]);
        let is_whole = large.is_whole();
        connection.large = Some(large);
        connection.input.extend_from_slice(&rest[..begins]);
        connection.input.extend_from_slice(&rest[begins + taken..]);
        if is_whole {
            return self.resp_go_on(now, id);
        }
        Flow::Continue
    }

    /// Carries out one command, or what can be done of it now.
    fn take_command(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        parser: &Parser,
        command: &[u8],
    ) -> Done {
        // Taken out for the same reason as the parser.
        let larges = std::mem::take(&mut front.larges);
        front.has_large = !larges.is_empty();
        let spans = parser.spans();
        let done = if spans.is_empty() {
            Done::Yes
        } else {
            let argument = |span: &Span| match span {
                Span::Large(number) => larges[*number as usize].argument(),
                span => parser.argument(command, span),
            };
            let mut few: [&[u8]; FEW_ARGUMENTS] = [&[]; FEW_ARGUMENTS];
            let many: Vec<&[u8]>;
            let arguments = if spans.len() <= FEW_ARGUMENTS {
                for (place, span) in few.iter_mut().zip(spans) {
                    *place = argument(span);
                }
                &few[..spans.len()]
            } else {
                many = spans.iter().map(argument).collect();
                &many[..]
            };
            self.carry_out(now, id, front, command, arguments)
        };
        if let Some(put) = front.large_put.take() {
            let value = larges
                .into_iter()
                .find(|large| large.argument().as_ptr().addr() == put.value)
                .expect("the value is one of the command's arguments");
            self.large_request(now, id, value.into_frame_of(&put.head));
            return done;
        }
        front.larges = larges;
        done
    }

    /// Ends a connection whose bytes can't be followed.
    fn refuse_bytes(&mut self, id: ConnectionId, error: &ParseError) {
        self.shard.refused_outside(1);
        self.close_resp_after(id, &error.reply());
    }

    fn resp_refuse(&mut self, _now: Now, id: ConnectionId, text: &str) -> Flow {
        self.close_resp(id, text);
        Flow::Continue
    }
}
