//! `verify`: reads every key that a journal knows, and holds what is there against what was acknowledged.
//!
//! The journal tells how keys and values are made; the server is asked in the language and for the keyspace that the command line names. Reads go over
//! one connection, some at a time; a read that fails is asked again once the server is back, and a key that can't be read is an error of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use clap::Parser as _;

use super::{note, say};
use crate::{
    cli::{Cli, Command, Exit, TargetArguments, VerifyArguments, WorkloadArguments},
    in_language,
    measure::{Entry, Journal, Seen, Verdict, verdict::is_from_before, verify as judge},
    protocol::{Asked, Dialect, Language, Outcome, Step},
    report::units::thousands,
    scenario::{Content, FILL_WRITER, bytes, keys},
    session::{Failure, Session},
    workload::{
        Ask, Heat, Operation,
        keys::COUNTER,
        values::{Stamp, Values, Written},
    },
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read at once.
const SLICE_LEN: usize = 256 << 10;

/// What a check must know of a run: how keys and values were made.
pub(super) fn journal_settings(
    target: &TargetArguments,
    workload: &WorkloadArguments,
) -> BTreeMap<String, String> {
    [
        ("protocol", target.protocol.to_string()),
        ("keyspace", target.keyspace.clone()),
        ("keys", workload.keys.to_string()),
        ("key-prefix", workload.key_prefix.clone()),
        ("key-size", workload.key_size.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

pub(super) fn verify(arguments: &VerifyArguments) -> Result<Exit, Failure> {
    let journal = Journal::read_from(&arguments.journal)
        .map_err(|error| Failure::new(Exit::Local, error.to_string()))?;
    let of_run = |name: &str| journal.settings.get(name).cloned();
    for (flag, given) in [
        ("protocol", arguments.target.protocol.to_string()),
        ("keyspace", arguments.target.keyspace.clone()),
    ] {
        if let Some(told) = of_run(flag).filter(|told| *told != given) {
            return Err(Failure::usage(format!(
                "the run that wrote {} had --{flag} {told}; this is --{flag} {given}",
                arguments.journal.display()
            )));
        }
    }
    let workload = workload_of(&journal, arguments)?;
    let content = std::sync::Arc::new(Content {
        names: workload.names().map_err(Failure::usage)?,
        values: workload.values(),
        checked: true,
    });
    let session = Session::meet(&arguments.target.clone().into())?;
    let mut stream = TcpStream::connect_timeout(&session.address, PATIENCE)
        .and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        })
        .map_err(|error| Failure::new(Exit::CannotConnect, error.to_string()))?;
    let found = in_language!(&session.met, language => {
        language.greet(&mut stream, 0)?;
        let dialect = language.dialect(keys(&content), bytes(&content));
        read_all(&dialect, &mut stream, &journal, &content.values, arguments)?
    });
    found.tell(arguments)
}

/// The settings of the run, as the command line of `run` reads them.
fn workload_of(
    journal: &Journal,
    arguments: &VerifyArguments,
) -> Result<WorkloadArguments, Failure> {
    let mut words = vec!["corduroy-bench".to_owned(), "run".to_owned()];
    for name in ["keys", "key-prefix", "key-size"] {
        if let Some(value) = journal.settings.get(name) {
            words.push(format!("--{name}={value}"));
        }
    }
    match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Some(Command::Run(run))) => Ok(run.workload),
        Ok(_) => unreachable!("it was told to run"),
        Err(error) => Err(Failure::new(
            Exit::Local,
            format!(
                "{}: its settings make no sense: {error}",
                arguments.journal.display()
            ),
        )),
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Findings {
    checked: u64,
    overtaken: u64,
    /// A sentence each.
    faults: Vec<String>,
}

/// Reads every key of a journal.
fn read_all<D: Dialect>(
    dialect: &D,
    stream: &mut TcpStream,
    journal: &Journal,
    values: &Values,
    arguments: &VerifyArguments,
) -> Result<Findings, Failure> {
    let gone = |error: std::io::Error| {
        Failure::new(
            Exit::CannotConnect,
            format!("the connection broke: {error}"),
        )
    };
    let mut findings = Findings::default();
    let mut waiting: VecDeque<u64> = journal.keys().into();
    let mut asked: VecDeque<Option<u64>> = VecDeque::new();
    let mut slots: Vec<Option<u64>> = vec![None; arguments.pipeline as usize];
    let mut in_flight = 0_u32;
    let (mut out, mut buffer, mut filled) = (Vec::new(), vec![0; SLICE_LEN], 0);
    while in_flight > 0 || !waiting.is_empty() {
        out.clear();
        for (slot, place) in slots.iter_mut().enumerate() {
            if place.is_none()
                && let Some(key) = waiting.pop_front()
            {
                dialect.request(slot as u32, &get(key), Step::First, &mut out);
                *place = Some(key);
                asked.push_back(Some(slot as u64));
                in_flight += 1;
            }
        }
        stream.write_all(&out).map_err(gone)?;
        if filled == buffer.len() {
            buffer.resize(2 * filled, 0);
        }
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(gone(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(gone(error)),
        }
        let mut at = 0;
        while in_flight > 0 {
            let oldest = Asked::of(&get(0), Step::First);
            let reply = dialect
                .reply(&buffer[at..filled], Some(oldest))
                .map_err(|error| {
                    Failure::new(
                        Exit::CannotConnect,
                        format!("the server answered what is no reply: {error}"),
                    )
                })?;
            let Some(reply) = reply else { break };
            at += reply.len;
            let slot = match reply.slot {
                Some(slot) if !D::IN_ORDER => slot as usize,
                _ => asked.pop_front().flatten().unwrap_or_default() as usize,
            };
            let key = slots.get_mut(slot).and_then(Option::take).ok_or_else(|| {
                Failure::new(
                    Exit::CannotConnect,
                    "the server answered what was not asked",
                )
            })?;
            in_flight -= 1;
            findings.judge(journal, values, key, reply.outcome);
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
    Ok(findings)
}

fn get(key: u64) -> Ask {
    Ask {
        operation: Operation::Get,
        key,
        heat: Heat::Cold,
        value_len: 0,
        stamp: 0,
        ttl_ms: 0,
        count: 1,
    }
}

impl Findings {
    fn judge(&mut self, journal: &Journal, values: &Values, key: u64, outcome: Outcome<'_>) {
        self.checked += 1;
        let name = if key & COUNTER == 0 {
            format!("key {key}")
        } else {
            format!("counter {}", key & !COUNTER)
        };
        let entry = journal.get(key);
        let seen = match outcome {
            Outcome::Missing => Seen::Absent,
            Outcome::Value { bytes, .. } if key & COUNTER != 0 => sum_of(bytes),
            Outcome::Value { bytes, .. } => match values.check(key, bytes) {
                Ok(written) => Seen::Value {
                    stamp: stamp_of(written),
                },
                Err(_) => Seen::Foreign,
            },
            Outcome::Counter(sum) => u64::try_from(sum).map_or(Seen::Foreign, Seen::Sum),
            Outcome::Refused(words) => {
                let words = words.escape_ascii();
                self.faults.push(format!("{name}: can't be read: {words}"));
                return;
            }
            Outcome::Many { .. } | Outcome::Done | Outcome::Conflict => Seen::Foreign,
        };
        match judge(&entry, seen) {
            Verdict::Ok => {}
            Verdict::Overtaken { .. } => self.overtaken += 1,
            fault => self
                .faults
                .push(format!("{name}: {}", sentence(fault, &entry))),
        }
    }

    fn tell(self, arguments: &VerifyArguments) -> Result<Exit, Failure> {
        for fault in self.faults.iter().take(arguments.list) {
            say(&format!("{fault}\n"))?;
        }
        if self.faults.len() > arguments.list {
            let more = self.faults.len() - arguments.list;
            say(&format!("and {} more\n", thousands(more as u64)))?;
        }
        if self.overtaken > 0 {
            note(&format!(
                "{} keys hold a write of unknown outcome that was sent before the last acknowledged one: right for a server that ran on and carried it out late, a loss for one that was killed in between",
                thousands(self.overtaken)
            ));
        }
        let (checked, faults) = (thousands(self.checked), self.faults.len());
        if faults == 0 {
            say(&format!(
                "{checked} keys checked: every acknowledged write is there, and nothing that was never written\n"
            ))?;
            Ok(Exit::Done)
        } else {
            say(&format!(
                "{checked} keys checked: {} FAULTS\n",
                thousands(faults as u64)
            ))?;
            Ok(Exit::Failed)
        }
    }
}

/// The stamp that a value has. One that is too short for a whole stamp is from before the run: `run --record` writes no such one.
fn stamp_of(written: Written) -> u64 {
    if written.stamp_bits == u64::BITS {
        return written.stamp;
    }
    Stamp {
        writer: FILL_WRITER,
        sequence: 0,
    }
    .pack()
}

fn sum_of(bytes: &[u8]) -> Seen {
    let text = std::str::from_utf8(bytes).ok();
    match text.and_then(|text| text.trim().parse().ok()) {
        Some(sum) => Seen::Sum(sum),
        // Corduroy's own counters are eight bytes.
        None => bytes
            .try_into()
            .map_or(Seen::Foreign, |bytes| Seen::Sum(u64::from_le_bytes(bytes))),
    }
}

fn sentence(fault: Verdict, entry: &Entry) -> String {
    let write = |stamp: u64| {
        if is_from_before(entry, stamp) {
            "a value that this run did not write".to_owned()
        } else {
            format!("write {}", Stamp::unpack(stamp).sequence)
        }
    };
    match fault {
        Verdict::Ok | Verdict::Overtaken { .. } => "is as it should be".to_owned(),
        Verdict::Lost {
            acknowledged,
            found: None,
        } => {
            format!(
                "{} was acknowledged and is lost: there is no such key",
                write(acknowledged)
            )
        }
        Verdict::Lost {
            acknowledged,
            found: Some(found),
        } => format!(
            "{} was acknowledged and is lost: {} is there instead",
            write(acknowledged),
            write(found)
        ),
        Verdict::Resurrected { deleted, found } => format!(
            "the delete by {} was acknowledged, and {} is there again",
            write(deleted),
            write(found)
        ),
        Verdict::NeverWritten { found } => {
            format!(
                "{} is there, which was never sent or was refused",
                write(found)
            )
        }
        Verdict::Damaged => "holds bytes that nobody wrote to it".to_owned(),
        Verdict::CountLost { at_least, found } => {
            format!(
                "it must be {at_least} at least by the additions that were acknowledged, and is {found}"
            )
        }
        Verdict::CountedTwice { at_most, found } => {
            format!("it can be {at_most} at most by the additions that were sent, and is {found}")
        }
    }
}
