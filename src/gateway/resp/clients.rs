//! What is told of connections: HELLO's reply, CLIENT LIST and INFO, and whom CLIENT KILL means.

use std::fmt::Write;

use super::info::REDIS_VERSION;
use super::order::KillFilter;
use super::reply::{self, Protocol};
use super::session::{ClientText, Session};

/// One connection as CLIENT LIST tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// Never used twice while the node runs.
    pub id: u64,
    /// `host:port` of the client.
    pub address: String,
    /// `host:port` that it connected to.
    pub local_address: String,
    /// Its descriptor, or its place in the shard's table.
    pub descriptor: u64,
    /// CLIENT SETNAME's.
    pub name: String,
    /// CLIENT SETINFO lib-name's.
    pub library_name: String,
    /// CLIENT SETINFO lib-ver's.
    pub library_version: String,
    /// Seconds since it connected.
    pub age_seconds: u64,
    /// Seconds since its last command.
    pub idle_seconds: u64,
    /// The database that it selected.
    pub database: u32,
    /// Commands queued since MULTI.
    pub queued: Option<usize>,
    /// Keys that it watches.
    pub watched: usize,
    /// Whether it said READONLY.
    pub read_only: bool,
    /// Bytes received and not worked off.
    pub input_bytes: u64,
    /// Bytes of its transaction.
    pub transaction_bytes: u64,
    /// Bytes of replies that wait to be sent.
    pub output_bytes: u64,
    /// The name of its last command, `command|subcommand` for a subcommand; empty if it sent none, or speaks the native protocol.
    pub command: &'static str,
    /// 2 or 3; 0 for the native protocol.
    pub resp: u8,
}

impl ClientFacts {
    /// Fills in what the session knows.
    pub fn take_session(&mut self, session: &Session) {
        let text = |which| String::from_utf8_lossy(session.text(which)).into_owned();
        self.name = text(ClientText::Name);
        self.library_name = text(ClientText::LibraryName);
        self.library_version = text(ClientText::LibraryVersion);
        self.database = session.database();
        self.queued = session.queued();
        self.watched = session.watched_count();
        self.read_only = session.read_only();
        self.transaction_bytes = session.held_bytes() as u64;
        self.command = session.command().map_or("", |row| row.command().name);
        self.resp = match session.protocol() {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
    }

    /// Its line, with the line break, as CLIENT LIST and CLIENT INFO have it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut flags = String::new();
        if self.queued.is_some() {
            flags.push('x');
        }
        if self.read_only {
            flags.push('r');
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let queued = self.queued.map_or(-1, |count| count as i64);
        let total_bytes = self.input_bytes + self.transaction_bytes + self.output_bytes;
        let mut line = String::new();
        let written = writeln!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub=0 psub=0 ssub=0 multi={queued} watch={} \
             qbuf={} qbuf-free=0 argv-mem=0 multi-mem={} rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={total_bytes} events=r cmd={} \
             user=default redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            self.address,
            self.local_address,
            self.descriptor,
            self.name,
            self.age_seconds,
            self.idle_seconds,
            self.database,
            self.watched,
            self.input_bytes,
            self.transaction_bytes,
            self.output_bytes,
            if self.command.is_empty() {
                "NULL"
            } else {
                self.command
            },
            self.resp,
            self.library_name,
            self.library_version,
        );
        written.expect("a string takes all that is written to it");
        line
    }
}

impl KillFilter {
    /// Whether it means this connection, when the connection with the id `asking` gave it.
    #[must_use]
    pub fn means(&self, client: &ClientFacts, asking: u64) -> bool {
        let is = |wanted: &Option<String>, address: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == address)
        };
        let left_out = self.nobody || (self.skip_me && client.id == asking);
        !left_out
            && self.id.is_none_or(|id| id == client.id)
            && is(&self.address, &client.address)
            && is(&self.local_address, &client.local_address)
    }
}

/// HELLO's reply, in the protocol that the session speaks from it on.
pub fn write_hello(out: &mut Vec<u8>, session: &Session, id: u64) {
    let protocol = session.protocol();
    let text = |out: &mut Vec<u8>, field: &str, text: &str| {
        reply::bulk(out, field.as_bytes());
        reply::bulk(out, text.as_bytes());
    };
    let number = |out: &mut Vec<u8>, field: &str, number: u64| {
        reply::bulk(out, field.as_bytes());
        reply::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
    };
    reply::map(out, protocol, 7);
    text(out, "server", "redis");
    text(out, "version", REDIS_VERSION);
    number(
        out,
        "proto",
        if protocol == Protocol::Resp3 { 3 } else { 2 },
    );
    number(out, "id", id);
    text(out, "mode", "standalone");
    text(out, "role", "master");
    reply::bulk(out, b"modules");
    reply::array(out, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::resp::session::Settings;

    /// Libraries take HELLO's reply apart by its fields' names, in the protocol that they asked for.
    #[test]
    fn hello_is_the_one_of_redis() {
        let mut session = Session::new(Settings::default());
        let mut out = Vec::new();
        write_hello(&mut out, &session, 13);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:13\r\n\
             $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
        );
        session.set_protocol(Protocol::Resp3);
        out.clear();
        write_hello(&mut out, &session, 13);
        assert!(out.starts_with(b"%7\r\n$6\r\nserver\r\n"));
        assert!(out.windows(11).any(|part| part == b"proto\r\n:3\r\n"));
    }

    /// Tools split the line at blanks and each part at the first `=`: a field without a name or value shifts the rest.
    #[test]
    fn a_clients_line_is_fields() {
        let mut session = Session::new(Settings::default());
        session.set_text(ClientText::Name, b"worker");
        session.set_text(ClientText::LibraryName, b"redis-py");
        session.begin();
        session.enqueue(&[b"GET", b"a"]).unwrap();
        let mut client = ClientFacts {
            id: 7,
            address: "127.0.0.1:5000".into(),
            ..ClientFacts::default()
        };
        client.take_session(&session);
        let line = client.line();
        assert!(line.starts_with(
            "id=7 addr=127.0.0.1:5000 laddr= fd=0 name=worker age=0 idle=0 flags=x db=0 "
        ));
        assert!(line.ends_with(" user=default redir=-1 resp=2 lib-name=redis-py lib-ver=\n"));
        assert!(line.contains(" multi=1 ") && line.contains(" cmd=NULL "));
        assert!(line.trim_end().split(' ').all(|field| field.contains('=')));
    }

    /// CLIENT KILL that cuts off the operator who sent it, or everybody where nobody was meant.
    #[test]
    fn a_filter_means_those_to_whom_all_of_it_applies() {
        let client = ClientFacts {
            id: 7,
            address: "1.2.3.4:5".into(),
            ..ClientFacts::default()
        };
        let everybody = KillFilter::default();
        assert!(everybody.means(&client, 7));
        let others = KillFilter {
            skip_me: true,
            ..KillFilter::default()
        };
        assert!(!others.means(&client, 7) && others.means(&client, 8));
        let nobody = KillFilter {
            nobody: true,
            id: Some(7),
            ..KillFilter::default()
        };
        assert!(!nobody.means(&client, 8));
        let both = |id, address: &str| KillFilter {
            id: Some(id),
            address: Some(address.into()),
            ..KillFilter::default()
        };
        assert!(both(7, "1.2.3.4:5").means(&client, 8));
        assert!(!both(6, "1.2.3.4:5").means(&client, 8));
        assert!(!both(7, "1.2.3.4:6").means(&client, 8));
    }
}
