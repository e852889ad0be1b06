//! Everything that can be done with the keys of one keyspace.
//!
//! A handle stands for a keyspace's *name*. The server knows keyspaces by number, and never uses a number twice: when a keyspace
//! is dropped and made again under its old name, the server no longer knows the number, which the handle then asks for again,
//! once, before it sends the request again. So a handle never reaches a keyspace of another name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use corduroy_proto_wire::{
    Body, KeyspaceId, KeyspaceInfo, Request, Status, partition_of_slot, slot_of,
};
use tokio::time::Instant;

use crate::batch::{self, AtomicOutcome, BatchOp, BatchResult};
use crate::call::{Core, Reply};
use crate::error::{Error, Result};
use crate::pool::Target;
use crate::reply;
use crate::scan::Scan;
use crate::value::{
    Appended, Counter, DeleteOptions, DeleteOutcome, PutOptions, PutOutcome, Versioned, Written,
    millis_up,
};

/// A handle on one keyspace. Cheap to clone; all clones share the client's connections.
///
/// Keys are 1 to 65,535 bytes, values 0 bytes to the server's limit. Batches, values that conditions compare with, and values that appends
/// make are at most 1 MiB; whatever is seen to be over a limit is an [`Error::Limit`] before it is sent. Every function may be called by any number of tasks at
/// once; the requests share connections and don't wait for each other. A dropped call is safe: its request may or
/// may not have been carried out.
///
/// # Errors
///
/// All functions fail as [`Error`] says; after a failed write, [`Error::outcome`] tells whether it may have been done.
#[derive(Clone, Debug)]
pub struct Keyspace {
    core: Arc<Core>,
    named: Arc<Named>,
}

/// A keyspace's name and what the server last said about it.
#[derive(Debug)]
struct Named {
    name: String,
    /// Number and partitions; see [`Identity::pack`]. 0 while it is not known.
    identity: AtomicU64,
}

/// How the server knows the keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    id: KeyspaceId,
    /// At least 1.
    partitions: u16,
}

impl Identity {
    fn new(info: &KeyspaceInfo) -> Option<Self> {
        (info.partitions > 0).then_some(Self {
            id: info.id,
            partitions: info.partitions,
        })
    }

    /// Both in one word, which is never 0.
    fn pack(self) -> u64 {
        (u64::from(self.id) << 16) | u64::from(self.partitions)
    }

    fn unpack(word: u64) -> Option<Self> {
        match word as u16 {
            0 => None,
            partitions => Some(Self {
                id: (word >> 16) as KeyspaceId,
                partitions,
            }),
        }
    }

    /// Where a request about this key had best be sent.
    fn target(self, key: Option<&[u8]>) -> Target {
        match key {
            Some(key) => Target::Partition(partition_of_slot(slot_of(key), self.partitions)),
            None => Target::Any,
        }
    }
}

impl Keyspace {
    /// A handle that may know its number already, and asks for it otherwise.
    pub(crate) fn new(core: Arc<Core>, name: &str, info: Option<&KeyspaceInfo>) -> Self {
        let identity = info.and_then(Identity::new).map_or(0, Identity::pack);
        Self {
            core,
            named: Arc::new(Named {
                name: name.to_owned(),
                identity: AtomicU64::new(identity),
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.named.name
    }

    /// A key's value, if the key exists.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        let key = key.as_ref();
        self.call(
            Some(key),
            |keyspace| Request::Get { keyspace, key },
            reply::versioned,
        )
        .await
    }

    /// Whether a key exists.
    pub async fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.version(key).await?.is_some())
    }

    /// A key's version, if the key exists: what [`Keyspace::get`] tells, without the value.
    pub async fn version(&self, key: impl AsRef<[u8]>) -> Result<Option<Written>> {
        let key = key.as_ref();
        self.call(
            Some(key),
            |keyspace| Request::Exists { keyspace, key },
            reply::written_if_found,
        )
        .await
    }

    /// Writes a value, whatever the key holds. The key does not expire.
    ///
    /// Repeatable: after a lost connection it is sent again. The first copy may arrive late, after another client's write: see
    /// the crate's documentation.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let options = PutOptions::new();
        let build = |keyspace| Request::Put {
            keyspace,
            put: options.to_wire(key, value),
        };
        self.call(Some(key), build, reply::written).await
    }

    /// Writes a value with an expiry, under a condition, or asking for the old value.
    ///
    /// Repeatable only without a condition and without asking for the old value.
    ///
    /// ```no_run
    /// # async fn example(keyspace: corduroy_client::Keyspace) -> corduroy_client::Result<()> {
    /// use corduroy_client::{Condition, PutOptions, PutOutcome};
    ///
    /// let options = PutOptions::new().condition(Condition::IfAbsent).return_value(true);
    /// match keyspace.put_with("leader", "node-7", options).await? {
    ///     PutOutcome::Done(written, _) => println!("elected at version {}", written.version),
    ///     PutOutcome::ConditionFailed { value, .. } => println!("somebody else is: {value:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: PutOptions,
    ) -> Result<PutOutcome> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let build = |keyspace| Request::Put {
            keyspace,
            put: options.to_wire(key, value),
        };
        self.call(Some(key), build, reply::put_outcome).await
    }

    /// Removes a key. `None` if it was not there.
    ///
    /// Not repeatable: after a lost connection its outcome is unknown.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Option<Written>> {
        let key = key.as_ref();
        let options = DeleteOptions::new();
        let build = |keyspace| Request::Delete {
            keyspace,
            delete: options.to_wire(key),
        };
        self.call(Some(key), build, reply::written_if_found).await
    }

    /// Removes a key under a condition, or asking for the old value.
    pub async fn delete_with(
        &self,
        key: impl AsRef<[u8]>,
        options: DeleteOptions,
    ) -> Result<DeleteOutcome> {
        let key = key.as_ref();
        let build = |keyspace| Request::Delete {
            keyspace,
            delete: options.to_wire(key),
        };
        self.call(Some(key), build, reply::delete_outcome).await
    }

    /// How long a key has left: `None` if there is no such key, `Some(None)` if it does not expire.
    pub async fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<Duration>>> {
        let key = key.as_ref();
        self.call(
            Some(key),
            |keyspace| Request::Ttl { keyspace, key },
            reply::ttl,
        )
        .await
    }

    /// Has an existing key expire after this long. `None` if there is no such key.
    pub async fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Option<Written>> {
        let key = key.as_ref();
        let ttl_ms = millis_up(ttl);
        self.call(
            Some(key),
            |keyspace| Request::Touch {
                keyspace,
                key,
                ttl_ms,
            },
            reply::written_if_found,
        )
        .await
    }

    /// Takes an existing key's expiry away. `None` if there is no such key.
    pub async fn persist(&self, key: impl AsRef<[u8]>) -> Result<Option<Written>> {
        let key = key.as_ref();
        self.call(
            Some(key),
            |keyspace| Request::Persist { keyspace, key },
            reply::written_if_found,
        )
        .await
    }

    /// Adds to a counter: decimal text, or an absent key, which counts as 0. The key keeps its expiry.
    ///
    /// Not repeatable: after a lost connection its outcome is unknown.
    pub async fn add(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<Counter> {
        let key = key.as_ref();
        self.call(
            Some(key),
            |keyspace| Request::Add {
                keyspace,
                key,
                delta,
            },
            reply::counter,
        )
        .await
    }

    /// Appends to a value; an absent key counts as empty. The key keeps its expiry.
    ///
    /// Not repeatable: after a lost connection its outcome is unknown.
    pub async fn append(
        &self,
        key: impl AsRef<[u8]>,
        suffix: impl AsRef<[u8]>,
    ) -> Result<Appended> {
        let (key, suffix) = (key.as_ref(), suffix.as_ref());
        self.call(
            Some(key),
            |keyspace| Request::Append {
                keyspace,
                key,
                suffix,
            },
            reply::appended,
        )
        .await
    }

    /// Carries out independent operations on any keys, and answers a result for each, in the same order. There is
    /// no order among operations on different keys, and no isolation.
    ///
    /// At most 4,096 operations and 1 MiB, keys included: put larger values on their own. The values that come back take at most 1 MiB too; a
    /// get whose value would be more fails with status `LimitExceeded`, and a write then comes without its old value.
    ///
    /// Repeatable if it consists of unconditional puts, and then gets. Nothing is sent for an empty batch.
    pub async fn batch(&self, operations: Vec<BatchOp>) -> Result<Vec<Result<BatchResult>>> {
        let Some(first) = operations.first() else {
            return Ok(Vec::new());
        };
        let build = |keyspace| Request::Batch {
            keyspace,
            items: operations.iter().map(BatchOp::to_wire).collect(),
        };
        self.call(Some(first.key()), build, |reply| {
            batch::results(reply, &operations)
        })
        .await
    }

    /// Carries out puts and deletes on keys of one partition, all or nothing, conditions included. Keys with the same
    /// `{tag}` are in the same partition. At most 1,024 operations and 1 MiB, keys included; old values over 1 MiB in all are refused with status
    /// `LimitExceeded` before anything is done. Nothing is sent for an empty batch.
    ///
    /// ```no_run
    /// # async fn example(keyspace: corduroy_client::Keyspace) -> corduroy_client::Result<()> {
    /// use corduroy_client::{AtomicOutcome, BatchOp, Condition, PutOptions};
    ///
    /// let seen = keyspace.get("{cart:7}:total").await?.map_or(0, |total| total.version);
    /// let outcome = keyspace
    ///     .atomic(vec![
    ///         BatchOp::put("{cart:7}:item:1", "apple"),
    ///         BatchOp::put_with(
    ///             "{cart:7}:total",
    ///             "1",
    ///             PutOptions::new().condition(Condition::IfVersion(seen)),
    ///         ),
    ///     ])
    ///     .await?;
    /// assert!(matches!(outcome, AtomicOutcome::Done(_)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn atomic(&self, operations: Vec<BatchOp>) -> Result<AtomicOutcome> {
        let Some(first) = operations.first() else {
            return Ok(AtomicOutcome::Done(Vec::new()));
        };
        let build = |keyspace| Request::AtomicBatch {
            keyspace,
            items: operations.iter().map(BatchOp::to_wire).collect(),
        };
        self.call(Some(first.key()), build, |reply| {
            batch::atomic_outcome(reply, &operations)
        })
        .await
    }

    /// All keys that begin with `prefix` (all keys if it is empty), a page at a time. See [`Scan`].
    #[must_use]
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan::new(self.clone(), Bytes::copy_from_slice(prefix.as_ref()))
    }

    /// How many keys there are.
    pub async fn count(&self) -> Result<u64> {
        self.call(None, |keyspace| Request::Count { keyspace }, reply::number)
            .await
    }

    /// Drops all keys.
    ///
    /// Not repeatable: what was written since would go too.
    pub async fn flush(&self) -> Result<()> {
        self.call(None, |keyspace| Request::Flush { keyspace }, reply::done)
            .await
    }

    /// Has a request answered that is about this keyspace. If the server does not know the keyspace's number (any more), the
    /// number of that name is asked for once.
    pub(crate) async fn call<'a, T>(
        &self,
        key: Option<&[u8]>,
        build: impl Fn(KeyspaceId) -> Request<'a>,
        interpret: impl Fn(&Reply<'_>) -> Option<T>,
    ) -> Result<T> {
        let deadline = self.core.deadline();
        let identity = match Identity::unpack(self.named.identity.load(Ordering::Relaxed)) {
            Some(identity) => identity,
            None => self.resolve(deadline).await?,
        };
        let result = self
            .core
            .call(
                identity.target(key),
                &build(identity.id),
                deadline,
                &interpret,
            )
            .await;
        match result {
            Err(Error::Server {
                status: Status::UnknownKeyspace,
                ..
            }) => {
                let now = self.resolve(deadline).await?;
                if now.id == identity.id {
                    return result;
                }
                self.core
                    .call(now.target(key), &build(now.id), deadline, &interpret)
                    .await
            }
            result => result,
        }
    }

    /// Most keys in a page that the server allows.
    pub(crate) fn page_size_max(&self) -> u32 {
        self.core.pool.hello().batch_len_max
    }

    /// Makes sure that there is a keyspace of this name.
    pub(crate) async fn open(&self) -> Result<()> {
        self.resolve(self.core.deadline()).await.map(|_identity| ())
    }

    /// Asks for the number that goes with the name.
    async fn resolve(&self, deadline: Instant) -> Result<Identity> {
        let name = &self.named.name;
        let found = |reply: &Reply<'_>| match (&reply.response.status, &reply.response.body) {
            (Status::NotFound, _) => Some(None),
            (Status::Ok, Body::Keyspaces(keyspaces)) => match keyspaces.as_slice() {
                [info] if info.name == *name => Identity::new(info).map(Some),
                _ => None,
            },
            _ => None,
        };
        let not_found = || Error::KeyspaceNotFound { name: name.clone() };
        match self
            .core
            .call(
                Target::Any,
                &Request::KeyspaceOpen { name },
                deadline,
                found,
            )
            .await
        {
            Ok(Some(identity)) => {
                self.named
                    .identity
                    .store(identity.pack(), Ordering::Relaxed);
                Ok(identity)
            }
            Ok(None)
            | Err(Error::Server {
                status: Status::UnknownKeyspace,
                ..
            }) => Err(not_found()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number and partitions are exchanged as one word; a bit of one in the other sends requests to a stranger's keyspace.
    #[test]
    fn an_identity_comes_out_of_its_word_as_it_went_in() {
        for id in [0, 1, 0xffff, 0x1_0000, KeyspaceId::MAX] {
            for partitions in [1, 64, 16_384, u16::MAX] {
                let identity = Identity { id, partitions };
                assert_eq!(Identity::unpack(identity.pack()), Some(identity));
            }
        }
        assert_eq!(Identity::unpack(0), None);
    }
}
