//! What answers mean for the history.

use corduroy_proto_wire::{Body, Cursor, Response, ScanItem, Status};

use super::action::{Act, Action};
use super::client::{Pending, Scan, outcome_of, outcome_of_item};
use super::history::{Outcome, Place};
use super::value::Value;
use super::world::World;
use crate::types::{SegmentId, ShardId};

impl World {
    /// A client has its answer.
    pub(super) fn answered(
        &mut self,
        client: usize,
        pending: &Pending,
        response: &Response<'_>,
    ) -> Result<(), String> {
        if response.status == Status::Damaged {
            self.check_damaged(response)?;
        }
        self.check_keyspace(pending, response)?;
        match &pending.action {
            Action::One(_, act) => {
                let outcome = outcome_of(act, response)
                    .map_err(|reason| format!("{reason}: {:?}", pending.action))?;
                self.history.tell(self.now, pending.entries[0], outcome);
                Ok(())
            }
            Action::Batch(acts) | Action::Atomic(acts) => {
                self.batch_answered(pending, acts, response)
            }
            Action::Scan { .. } => self.page_answered(client, pending, response),
            Action::Flush => {
                let flush = pending.flush.expect("a flush is noted when it is asked");
                let flush = &mut self.history.flushes[flush];
                if response.status == Status::Ok {
                    flush.answered = self.now;
                    flush.is_certain = true;
                }
                Ok(())
            }
            Action::Create(..) | Action::Drop(_) => self.keyspace_changed(pending, response),
            Action::List => match &response.body {
                Body::Keyspaces(listed) => {
                    let listed = self.catalog.check(pending.invoked, self.now, listed);
                    listed.map_err(|reason| format!("client {client}: {reason}"))
                }
                _ => Err(format!("a list of keyspaces came as {response:?}")),
            },
            Action::Ping(len) => match response.body {
                Body::Value(payload) if payload == vec![7; *len] => Ok(()),
                _ => Err(format!("a ping of {len} bytes came back as {response:?}")),
            },
            _ if response.status.is_error()
                && response.status != Status::UnknownKeyspace
                && self.tally.disk_errors == 0
                // A round of compaction that somebody asked for before the disk was full.
                && !(response.status == Status::ReadOnly && self.tally.fillings > 0) =>
            {
                Err(format!("{:?} failed: {response:?}", pending.action))
            }
            _ => Ok(()),
        }
    }

    /// A keyspace is unknown only if somebody asked to drop it, and always once that was acknowledged.
    fn check_keyspace(&self, pending: &Pending, response: &Response<'_>) -> Result<(), String> {
        let keyspace = pending.keyspace;
        let is_unknown = response.status == Status::UnknownKeyspace;
        if is_unknown && self.catalog.is_there(keyspace) {
            return Err(format!("keyspace {keyspace} is not known: {response:?}"));
        }
        let asks_of_it = !pending.entries.is_empty() || pending.flush.is_some();
        let is_good = !response.status.is_error();
        if asks_of_it && is_good && self.catalog.was_dropped(keyspace, pending.invoked) {
            return Err(format!("keyspace {keyspace} was dropped: {response:?}"));
        }
        Ok(())
    }

    fn keyspace_changed(
        &mut self,
        pending: &Pending,
        response: &Response<'_>,
    ) -> Result<(), String> {
        let change = pending.change.expect("a change is noted when it is asked");
        match (&pending.action, response.status, &response.body) {
            (Action::Create(..), Status::Ok, Body::Keyspaces(made)) if made.len() == 1 => {
                self.catalog.made(self.now, change, made[0].id)
            }
            (Action::Drop(_), Status::Ok, _) => {
                self.catalog.dropped(self.now, change);
                Ok(())
            }
            (_, Status::Ok, _) => Err(format!("{:?} came as {response:?}", pending.action)),
            (_, Status::OutcomeUnknown, _) => Ok(()),
            _ => {
                self.catalog.refused(self.now, change);
                Ok(())
            }
        }
    }

    /// An answer that a record can't be read names its place, and a read of just that place found damage or failed.
    fn check_damaged(&mut self, response: &Response<'_>) -> Result<(), String> {
        self.tally.damage_told += 1;
        let Body::Error(text) = response.body else {
            return Err(format!("damage is told without words: {response:?}"));
        };
        let names = |(shard, segment, offset): &(ShardId, SegmentId, u64)| {
            text.starts_with(&format!(
                "shard {shard}, segment {segment}, file offset {offset}:"
            ))
        };
        if !self.bad_reads.iter().any(names) {
            return Err(format!("damage that nobody did: {response:?}"));
        }
        Ok(())
    }

    fn batch_answered(
        &mut self,
        pending: &Pending,
        acts: &[(u16, Act)],
        response: &Response<'_>,
    ) -> Result<(), String> {
        let Body::Batch(results) = &response.body else {
            for (entry, (_, act)) in pending.entries.iter().zip(acts) {
                let outcome = outcome_of(act, response)?;
                self.history.tell(self.now, *entry, outcome);
            }
            return Ok(());
        };
        if results.len() != acts.len() {
            return Err(format!(
                "{} results for {} operations",
                results.len(),
                acts.len()
            ));
        }
        let is_atomic = matches!(pending.action, Action::Atomic(_));
        for ((entry, (_, act)), item) in pending.entries.iter().zip(acts).zip(results) {
            if item.status == Status::Damaged && self.bad_reads.is_empty() {
                return Err(format!("damage that nobody did: {item:?}"));
            }
            let carried_out = !is_atomic || response.status == Status::Ok;
            let outcome = outcome_of_item(act, item, carried_out)?;
            self.history.tell(self.now, *entry, outcome);
        }
        Ok(())
    }

    fn page_answered(
        &mut self,
        client: usize,
        pending: &Pending,
        response: &Response<'_>,
    ) -> Result<(), String> {
        let Body::Scan { cursor, items } = &response.body else {
            // It failed: the scan is given up.
            self.clients[client].scan = None;
            return Ok(());
        };
        let Some(mut scan) = self.clients[client].scan.take() else {
            return Ok(());
        };
        scan.is_asked = false;
        for item in items {
            self.item_scanned(client, pending, &mut scan, item)?;
        }
        if *cursor == Cursor::START {
            self.tally.scans += 1;
            self.missed(&scan);
        } else {
            scan.cursor = *cursor;
            self.clients[client].scan = Some(scan);
        }
        Ok(())
    }

    fn item_scanned(
        &mut self,
        client: usize,
        pending: &Pending,
        scan: &mut Scan,
        item: &ScanItem<'_>,
    ) -> Result<(), String> {
        let key = self
            .keys
            .number(item.key)
            .filter(|_| item.key.starts_with(scan.prefix.as_bytes()))
            .ok_or_else(|| format!("a scan shows the key {:?}", item.key))?;
        if item.value.is_some() != scan.with_values {
            return Err(format!("a scan shows {item:?}"));
        }
        let value = item
            .value
            .map(|bytes| {
                Value::parse(bytes).ok_or_else(|| "a scan shows bytes that nobody wrote".to_owned())
            })
            .transpose()?;
        if !scan.seen.contains(&key) {
            scan.seen.push(key);
        }
        let place = Place {
            keyspace: scan.keyspace,
            key,
        };
        // A scan has no place in the order of a connection's requests.
        let aside = u32::MAX - client as u32;
        let entry = self.history.ask(pending.invoked, aside, place, Act::Missed);
        let outcome = Outcome::Saw {
            version: item.version,
            timestamp_ms: item.timestamp_ms,
            value,
            ttl_ms: None,
            expires_at_ms: Some(item.expires_at_ms),
        };
        self.history.tell(self.now, entry, outcome);
        Ok(())
    }

    /// The scan is through: keys that it did not show were absent at some moment of it.
    fn missed(&mut self, scan: &Scan) {
        if !self.catalog.is_there(scan.keyspace) {
            return;
        }
        for key in 0..self.keys.len() as u16 {
            if self.keys.name(key).starts_with(scan.prefix) && !scan.seen.contains(&key) {
                let place = Place {
                    keyspace: scan.keyspace,
                    key,
                };
                // Of no connection: it is a moment in a span, not a request.
                self.moments += 1;
                let aside = u32::MAX / 2 + self.moments;
                let entry = self.history.ask(scan.began, aside, place, Act::Missed);
                self.history.tell(self.now, entry, Outcome::Absent);
            }
        }
    }
}
