//! A server in this process: the native protocol over a map, without durability, that can be told to misbehave.
//!
//! It answers each connection on a thread of its own. [`Faults`] say what goes wrong; they may change while it runs.

#![expect(clippy::unwrap_used, reason = "a server of the tests fails with them")]

use corduroy_proto_wire::{
    Body, Condition, Cursor, Delete, HelloReply, KeyspaceInfo, LENGTH_LEN, PREAMBLE, Put, Request,
    RequestId, Response, ScanItem, Status, Ttl, split,
};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

const FRAME_LEN_MAX: u32 = 20 << 20;
/// The server's limit on values, small enough to be exceeded by a test.
pub(crate) const VALUE_LEN_MAX: u32 = 1 << 20;
const SHARDS: u16 = 2;

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Connections are closed as soon as they say something.
    pub(crate) down: bool,
    /// After so many more writes the server is [`Faults::down`]; the last of them is done but not answered.
    pub(crate) writes_until_down: Option<u64>,
    /// After so many more scan pages the server is [`Faults::down`].
    pub(crate) pages_until_down: Option<u64>,
    /// Requests that arrive together are done in the opposite order.
    pub(crate) reversed: bool,
    /// Requests are taken and neither done nor answered.
    pub(crate) silent: bool,
    /// Each page of a scan repeats its first key at its end.
    pub(crate) repeating_pages: bool,
    /// Writes get this answer.
    pub(crate) writes_answer: Option<Status>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    version: u64,
    timestamp_ms: u64,
    expires_at_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Keyspace {
    name: String,
    partitions: u16,
    entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    keyspaces: BTreeMap<u32, Keyspace>,
    keyspace_next: u32,
    version: u64,
    writes: u64,
    /// Something expires: only then is it worth looking.
    expiring: bool,
}

/// See the module's header.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Listens on a free port of the loopback until the process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        state.lock().unwrap().create("default", 0);
        let server = Self {
            address,
            state: Arc::clone(&state),
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Changes what goes wrong.
    pub(crate) fn set(&self, faults: Faults) {
        self.state.lock().unwrap().faults = faults;
    }

    pub(crate) fn faults(&self) -> Faults {
        self.state.lock().unwrap().faults.clone()
    }

    /// Writes that were done so far.
    pub(crate) fn writes(&self) -> u64 {
        self.state.lock().unwrap().writes
    }

    /// Writes a value directly.
    pub(crate) fn insert(&self, key: &[u8], value: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let entry = state.entry(value, None);
        state
            .keyspaces
            .get_mut(&1)
            .unwrap()
            .entries
            .insert(key.to_vec(), entry);
    }

    /// All keys and values of the keyspace `default`.
    pub(crate) fn contents(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let state = self.state.lock().unwrap();
        state.keyspaces[&1]
            .entries
            .iter()
            .map(|(key, entry)| (key.clone(), entry.value.clone()))
            .collect()
    }

    /// Empties the keyspace `default`.
    pub(crate) fn clear(&self) {
        self.state
            .lock()
            .unwrap()
            .keyspaces
            .get_mut(&1)
            .unwrap()
            .entries
            .clear();
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut preamble = [0; PREAMBLE.len()];
    stream.read_exact(&mut preamble)?;
    assert_eq!(preamble, PREAMBLE);
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    let mut shard = 0;
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..len]);
        let mut frames = Vec::new();
        let mut consumed_all = 0;
        while let Some((frame, consumed)) =
            split(&buffer[consumed_all..], FRAME_LEN_MAX).expect("our client's frames")
        {
            frames.push(consumed_all + LENGTH_LEN..consumed_all + LENGTH_LEN + frame.len());
            consumed_all += consumed;
        }
        let mut state = state.lock().unwrap();
        if state.faults.reversed {
            frames.reverse();
        }
        let mut answers = Vec::new();
        for frame in frames {
            let (id, request) = Request::decode(&buffer[frame]).expect("our client's requests");
            if state.faults.silent && !matches!(request, Request::Hello(_)) {
                continue;
            }
            if state.faults.down || !state.answer(id, &request, &mut shard, &mut answers) {
                drop(state);
                stream.write_all(&answers)?;
                return Ok(());
            }
        }
        drop(state);
        buffer.drain(..consumed_all);
        stream.write_all(&answers)?;
    }
}

fn now_ms() -> u64 {
    u64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap()
}

fn plain(status: Status, body: Body<'_>) -> Response<'_> {
    Response {
        status,
        version: 0,
        timestamp_ms: 0,
        body,
    }
}

fn refusal(status: Status, text: &str) -> Response<'_> {
    plain(status, Body::Error(text))
}

fn holds(condition: Condition<'_>, entry: Option<&Entry>) -> bool {
    match (condition, entry) {
        (Condition::Always, _) | (Condition::IfAbsent, None) | (Condition::IfPresent, Some(_)) => {
            true
        }
        (Condition::IfVersion(version), Some(entry)) => entry.version == version,
        (Condition::IfValue(value), Some(entry)) => entry.value == value,
        _ => false,
    }
}

impl State {
    fn create(&mut self, name: &str, partitions: u16) -> KeyspaceInfo {
        self.keyspace_next += 1;
        let partitions = if partitions == 0 { 64 } else { partitions };
        self.keyspaces.insert(
            self.keyspace_next,
            Keyspace {
                name: name.to_owned(),
                partitions,
                entries: BTreeMap::new(),
            },
        );
        self.info(name).expect("it was just made")
    }

    fn info(&self, name: &str) -> Option<KeyspaceInfo> {
        self.infos().into_iter().find(|info| info.name == name)
    }

    fn infos(&self) -> Vec<KeyspaceInfo> {
        let info = |(&id, keyspace): (&u32, &Keyspace)| KeyspaceInfo {
            id,
            partitions: keyspace.partitions,
            name: keyspace.name.clone(),
        };
        self.keyspaces.iter().map(info).collect()
    }

    fn entry(&mut self, value: &[u8], expires_at_ms: Option<u64>) -> Entry {
        self.version += 1;
        self.expiring |= expires_at_ms.is_some();
        Entry {
            value: value.to_vec(),
            version: self.version,
            timestamp_ms: now_ms(),
            expires_at_ms,
        }
    }

    /// Does one request and appends its answer; `false` if the connection ends without one.
    fn answer(
        &mut self,
        id: RequestId,
        request: &Request<'_>,
        shard: &mut u16,
        answers: &mut Vec<u8>,
    ) -> bool {
        let is_write = matches!(
            request,
            Request::Put { .. }
                | Request::Delete { .. }
                | Request::Add { .. }
                | Request::Append { .. }
                | Request::Touch { .. }
        );
        if let (true, Some(status)) = (is_write, self.faults.writes_answer) {
            refusal(status, "told to refuse").encode(id, answers);
            return true;
        }
        let mut copy = Vec::new();
        self.done(request, shard, |response| response.encode(id, &mut copy));
        let countdown = match request {
            _ if is_write => &mut self.faults.writes_until_down,
            Request::Scan { .. } => &mut self.faults.pages_until_down,
            _ => &mut None,
        };
        self.writes += u64::from(is_write);
        if let Some(left) = countdown {
            *left -= 1;
            if *left == 0 {
                *countdown = None;
                self.faults.down = true;
                return false;
            }
        }
        answers.extend_from_slice(&copy);
        true
    }

    fn done(&mut self, request: &Request<'_>, shard: &mut u16, mut say: impl FnMut(Response<'_>)) {
        let now_ms = now_ms();
        if self.expiring {
            for keyspace in self.keyspaces.values_mut() {
                keyspace
                    .entries
                    .retain(|_, entry| entry.expires_at_ms.is_none_or(|at| at > now_ms));
            }
        }
        match request {
            Request::Hello(hello) => {
                *shard = hello.shard.unwrap_or(0);
                say(plain(
                    Status::Ok,
                    Body::Hello(HelloReply {
                        version: 1,
                        shard_count: SHARDS,
                        shard: *shard,
                        frame_len_max: FRAME_LEN_MAX,
                        value_len_max: VALUE_LEN_MAX,
                        in_flight_max: 1024,
                        batch_len_max: 1024,
                        keyspace: self.info(hello.keyspace),
                        server_name: "fake/1".to_owned(),
                    }),
                ));
            }
            Request::Ping { payload: [] } => say(plain(Status::Ok, Body::Empty)),
            Request::Ping { payload } => say(plain(Status::Ok, Body::Value(payload))),
            Request::Status => {
                let status =
                    r#"{"server":"fake/1","shards":[{"shard":0,"keys":1},{"shard":1,"keys":2}]}"#;
                say(plain(Status::Ok, Body::Status(status)));
            }
            Request::KeyspaceList => say(plain(Status::Ok, Body::Keyspaces(self.infos()))),
            Request::KeyspaceOpen { name } => match self.info(name) {
                Some(info) => say(plain(Status::Ok, Body::Keyspaces(vec![info]))),
                None => say(plain(Status::NotFound, Body::Empty)),
            },
            Request::KeyspaceCreate { name, .. } if self.info(name).is_some() => {
                say(refusal(Status::AlreadyExists, "it is there"));
            }
            Request::KeyspaceCreate { name, partitions } => {
                let info = self.create(name, *partitions);
                say(plain(Status::Ok, Body::Keyspaces(vec![info])));
            }
            Request::KeyspaceDrop { name } => match self.info(name) {
                Some(info) => {
                    self.keyspaces.remove(&info.id);
                    say(plain(Status::Ok, Body::Empty));
                }
                None => say(plain(Status::NotFound, Body::Empty)),
            },
            Request::Scan {
                keyspace,
                prefix,
                cursor,
                limit,
                with_values,
            } => {
                self.scan(*keyspace, prefix, *cursor, *limit, *with_values, say);
            }
            Request::Count { keyspace } => {
                say(plain(
                    Status::Ok,
                    Body::Number(self.keyspaces[keyspace].entries.len() as u64),
                ));
            }
            Request::Flush { keyspace } => {
                self.keyspaces.get_mut(keyspace).unwrap().entries.clear();
                say(plain(Status::Ok, Body::Empty));
            }
            other => self.done_on_key(other, now_ms, say),
        }
    }

    fn done_on_key(
        &mut self,
        request: &Request<'_>,
        now_ms: u64,
        mut say: impl FnMut(Response<'_>),
    ) {
        let (keyspace, key) = match *request {
            Request::Get { keyspace, key }
            | Request::Exists { keyspace, key }
            | Request::Ttl { keyspace, key }
            | Request::Persist { keyspace, key }
            | Request::Touch { keyspace, key, .. }
            | Request::Add { keyspace, key, .. }
            | Request::Append { keyspace, key, .. }
            | Request::Put {
                keyspace,
                put: Put { key, .. },
            }
            | Request::Delete {
                keyspace,
                delete: Delete { key, .. },
            } => (keyspace, key),
            ref other => panic!("no test needs {other:?}"),
        };
        let old = self
            .keyspaces
            .get(&keyspace)
            .and_then(|keyspace| keyspace.entries.get(key))
            .cloned();
        let stamped = |entry: &Entry, body| say_with(entry, Status::Ok, body);
        let value_of = |wanted: bool| match &old {
            Some(old) if wanted => Body::Value(&old.value),
            _ => Body::Empty,
        };
        let (may, wanted) = match *request {
            Request::Put {
                put:
                    Put {
                        condition,
                        return_value,
                        ..
                    },
                ..
            }
            | Request::Delete {
                delete:
                    Delete {
                        condition,
                        return_value,
                        ..
                    },
                ..
            } => (holds(condition, old.as_ref()), return_value),
            _ => (true, false),
        };
        if !may {
            return match &old {
                Some(old) => say(say_with(old, Status::ConditionFailed, value_of(wanted))),
                None => say(plain(Status::ConditionFailed, Body::Empty)),
            };
        }
        let (entry, body) = match *request {
            Request::Put { put, .. } => {
                if put.value.len() > VALUE_LEN_MAX as usize {
                    return say(refusal(Status::LimitExceeded, "the value is too long"));
                }
                let expires_at_ms = match put.ttl {
                    Ttl::None => None,
                    Ttl::Keep => old.as_ref().and_then(|old| old.expires_at_ms),
                    Ttl::Millis(ttl_ms) => Some(now_ms + ttl_ms),
                    Ttl::At(at_ms) => Some(at_ms),
                };
                (
                    self.entry(put.value, expires_at_ms),
                    value_of(put.return_value),
                )
            }
            Request::Add { delta, .. } => {
                let text = old
                    .as_ref()
                    .map_or("0", |old| std::str::from_utf8(&old.value).unwrap_or("x"));
                let Ok(number) = text.parse::<i64>() else {
                    return say(refusal(Status::NotACounter, "it is no number"));
                };
                let sum = number + delta;
                let expires_at_ms = old.as_ref().and_then(|old| old.expires_at_ms);
                (
                    self.entry(sum.to_string().as_bytes(), expires_at_ms),
                    Body::Counter(sum),
                )
            }
            Request::Append { suffix, .. } => {
                let value = [old.as_ref().map_or(&[][..], |old| &old.value), suffix].concat();
                let expires_at_ms = old.as_ref().and_then(|old| old.expires_at_ms);
                (
                    self.entry(&value, expires_at_ms),
                    Body::Number(value.len() as u64),
                )
            }
            _ if old.is_none() => return say(plain(Status::NotFound, Body::Empty)),
            Request::Touch { ttl_ms, .. } => (
                self.entry(&old.as_ref().unwrap().value, Some(now_ms + ttl_ms)),
                Body::Empty,
            ),
            Request::Persist { .. } => {
                (self.entry(&old.as_ref().unwrap().value, None), Body::Empty)
            }
            Request::Delete { delete, .. } => {
                let entry = self.entry(b"", None);
                self.keyspaces
                    .get_mut(&keyspace)
                    .unwrap()
                    .entries
                    .remove(key);
                return say(stamped(&entry, value_of(delete.return_value)));
            }
            Request::Get { .. } => return say(stamped(old.as_ref().unwrap(), value_of(true))),
            Request::Exists { .. } => return say(stamped(old.as_ref().unwrap(), Body::Empty)),
            Request::Ttl { .. } => {
                let left = old.as_ref().unwrap().expires_at_ms.map(|at| at - now_ms);
                return say(stamped(old.as_ref().unwrap(), Body::Ttl(left)));
            }
            ref other => panic!("no test needs {other:?}"),
        };
        say(stamped(&entry, body));
        self.keyspaces
            .get_mut(&keyspace)
            .unwrap()
            .entries
            .insert(key.to_vec(), entry);
    }

    /// The cursor is the rank of the next key, plus one.
    fn scan(
        &self,
        keyspace: u32,
        prefix: &[u8],
        cursor: Cursor,
        limit: u32,
        with_values: bool,
        mut say: impl FnMut(Response<'_>),
    ) {
        let begin = usize::try_from(u128::from_be_bytes(cursor.0))
            .unwrap()
            .saturating_sub(1);
        let entries = &self.keyspaces[&keyspace].entries;
        let len_max = if self.faults.repeating_pages {
            limit.max(2) - 1
        } else {
            limit
        };
        let mut keys: Vec<_> = entries.iter().skip(begin).take(len_max as usize).collect();
        let next = begin + keys.len();
        keys.retain(|(key, _)| key.starts_with(prefix));
        if self.faults.repeating_pages && keys.len() > 1 {
            keys.push(keys[0]);
        }
        let items = keys
            .into_iter()
            .map(|(key, entry)| ScanItem {
                key,
                value: with_values.then_some(&entry.value[..]),
                version: entry.version,
                timestamp_ms: entry.timestamp_ms,
                expires_at_ms: entry.expires_at_ms,
            })
            .collect();
        let cursor = if next >= entries.len() {
            Cursor::START
        } else {
            Cursor((next as u128 + 1).to_be_bytes())
        };
        say(plain(Status::Ok, Body::Scan { cursor, items }));
    }
}

fn say_with<'a>(entry: &Entry, status: Status, body: Body<'a>) -> Response<'a> {
    Response {
        status,
        version: entry.version,
        timestamp_ms: entry.timestamp_ms,
        body,
    }
}
