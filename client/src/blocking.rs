//! The same client for programs without an async runtime (feature `blocking`).
//!
//! Every function here is the one of the same name in the crate's root, and waits for it. The connections are served by a private
//! runtime with one background thread for each [`Client`] that was made, so they stay alive, answer and time out while nobody calls.
//! Handles may be shared by any number of threads; their requests are multiplexed as those of tasks are.
//!
//! ```no_run
//! use corduroy_client::blocking::Client;
//!
//! # fn example() -> corduroy_client::Result<()> {
//! let client = Client::connect("127.0.0.1:7379")?;
//! let keyspace = client.default_keyspace();
//! keyspace.put("greeting", "hello")?;
//! for entry in keyspace.scan("gree") {
//!     println!("{:?}", entry?.key);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Panics
//!
//! Nothing here may be called from within an async task: it would hold up the runtime that the task runs on. Tokio panics at the
//! attempt.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::{
    Appended, AtomicOutcome, BatchOp, BatchResult, ClientBuilder, Counter, Cursor, DeleteOptions,
    DeleteOutcome, Error, ExpireOutcome, Expiry, ExpiryCondition, FloatSum, HelloReply,
    KeyspaceInfo, PutOptions, PutOutcome, Result, ScanEntry, Versioned, Written,
};

/// The runtime that a client and all its handles share; its thread ends with the last of them.
#[derive(Clone, Debug)]
struct Background(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    /// Taken out only when this is dropped.
    runtime: Option<Runtime>,
}

impl Background {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("corduroy-client")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| Error::Runtime {
                source: Arc::new(source),
            })?;
        Ok(Self(Arc::new(Owned {
            runtime: Some(runtime),
        })))
    }

    fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self
            .0
            .runtime
            .as_ref()
            .expect("the runtime is there until it is dropped");
        runtime.block_on(future)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Connections need no farewell, so nobody waits for the thread; and this may be dropped inside an async task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl ClientBuilder {
    /// Opens the first connection, for a client that blocks.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`], and [`Error::Runtime`] if the background thread can't be started.
    pub fn build_blocking(self) -> Result<Client> {
        let background = Background::start()?;
        let client = background.wait_for(self.build())?;
        Ok(Client { client, background })
    }
}

/// See [`crate::Client`].
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
    background: Background,
}

impl Client {
    /// See [`crate::Client::connect`].
    ///
    /// # Errors
    ///
    /// See [`ClientBuilder::build_blocking`].
    pub fn connect(address: impl Into<String>) -> Result<Self> {
        Self::builder().address(address).build_blocking()
    }

    /// Settings to connect with, to be concluded with [`ClientBuilder::build_blocking`].
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// See [`crate::Client::default_keyspace`].
    #[must_use]
    pub fn default_keyspace(&self) -> Keyspace {
        self.handle(self.client.default_keyspace())
    }

    /// See [`crate::Client::keyspace`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        Ok(self.handle(self.background.wait_for(self.client.keyspace(name))?))
    }

    /// See [`crate::Client::create_keyspace`].
    pub fn create_keyspace(&self, name: &str, partitions: Option<u16>) -> Result<Keyspace> {
        let made = self
            .background
            .wait_for(self.client.create_keyspace(name, partitions))?;
        Ok(self.handle(made))
    }

    /// See [`crate::Client::drop_keyspace`].
    pub fn drop_keyspace(&self, name: &str) -> Result<bool> {
        self.background.wait_for(self.client.drop_keyspace(name))
    }

    /// See [`crate::Client::list_keyspaces`].
    pub fn list_keyspaces(&self) -> Result<Vec<KeyspaceInfo>> {
        self.background.wait_for(self.client.list_keyspaces())
    }

    /// See [`crate::Client::status`].
    pub fn status(&self) -> Result<String> {
        self.background.wait_for(self.client.status())
    }

    /// See [`crate::Client::compact`].
    pub fn compact(&self) -> Result<()> {
        self.background.wait_for(self.client.compact())
    }

    /// See [`crate::Client::backup`].
    pub fn backup(&self, series: &str, timeout: Duration) -> Result<String> {
        self.background
            .wait_for(self.client.backup(series, timeout))
    }

    /// See [`crate::Client::ping`].
    pub fn ping(&self) -> Result<Duration> {
        self.background.wait_for(self.client.ping())
    }

    /// See [`crate::Client::server`].
    #[must_use]
    pub fn server(&self) -> HelloReply {
        self.client.server()
    }

    fn handle(&self, keyspace: crate::Keyspace) -> Keyspace {
        Keyspace {
            keyspace,
            background: self.background.clone(),
        }
    }
}

/// See [`crate::Keyspace`].
#[derive(Clone, Debug)]
pub struct Keyspace {
    keyspace: crate::Keyspace,
    background: Background,
}

impl Keyspace {
    /// See [`crate::Keyspace::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.keyspace.name()
    }

    /// See [`crate::Keyspace::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        self.background.wait_for(self.keyspace.get(key))
    }

    /// See [`crate::Keyspace::exists`].
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.background.wait_for(self.keyspace.exists(key))
    }

    /// See [`crate::Keyspace::version`].
    pub fn version(&self, key: impl AsRef<[u8]>) -> Result<Option<Written>> {
        self.background.wait_for(self.keyspace.version(key))
    }

    /// See [`crate::Keyspace::put`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written> {
        self.background.wait_for(self.keyspace.put(key, value))
    }

    /// See [`crate::Keyspace::put_with`].
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: PutOptions,
    ) -> Result<PutOutcome> {
        self.background
            .wait_for(self.keyspace.put_with(key, value, options))
    }

    /// See [`crate::Keyspace::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Option<Written>> {
        self.background.wait_for(self.keyspace.delete(key))
    }

    /// See [`crate::Keyspace::delete_with`].
    pub fn delete_with(
        &self,
        key: impl AsRef<[u8]>,
        options: DeleteOptions,
    ) -> Result<DeleteOutcome> {
        self.background
            .wait_for(self.keyspace.delete_with(key, options))
    }

    /// See [`crate::Keyspace::ttl`].
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<Duration>>> {
        self.background.wait_for(self.keyspace.ttl(key))
    }

    /// See [`crate::Keyspace::touch`].
    pub fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Option<Written>> {
        self.background.wait_for(self.keyspace.touch(key, ttl))
    }

    /// See [`crate::Keyspace::persist`].
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<Option<Written>> {
        self.background.wait_for(self.keyspace.persist(key))
    }

    /// See [`crate::Keyspace::add`].
    pub fn add(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<Counter> {
        self.background.wait_for(self.keyspace.add(key, delta))
    }

    /// See [`crate::Keyspace::append`].
    pub fn append(&self, key: impl AsRef<[u8]>, suffix: impl AsRef<[u8]>) -> Result<Appended> {
        self.background.wait_for(self.keyspace.append(key, suffix))
    }

    /// See [`crate::Keyspace::expires_at`].
    pub fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<u64>>> {
        self.background.wait_for(self.keyspace.expires_at(key))
    }

    /// See [`crate::Keyspace::expire`].
    pub fn expire(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        condition: ExpiryCondition,
    ) -> Result<ExpireOutcome> {
        self.background
            .wait_for(self.keyspace.expire(key, expiry, condition))
    }

    /// See [`crate::Keyspace::overwrite`].
    pub fn overwrite(
        &self,
        key: impl AsRef<[u8]>,
        offset: u32,
        bytes: impl AsRef<[u8]>,
    ) -> Result<Appended> {
        self.background
            .wait_for(self.keyspace.overwrite(key, offset, bytes))
    }

    /// See [`crate::Keyspace::add_float`].
    pub fn add_float(
        &self,
        key: impl AsRef<[u8]>,
        increment: impl AsRef<[u8]>,
    ) -> Result<FloatSum> {
        self.background
            .wait_for(self.keyspace.add_float(key, increment))
    }

    /// See [`crate::Keyspace::batch`].
    pub fn batch(&self, operations: Vec<BatchOp>) -> Result<Vec<Result<BatchResult>>> {
        self.background.wait_for(self.keyspace.batch(operations))
    }

    /// See [`crate::Keyspace::atomic`].
    pub fn atomic(&self, operations: Vec<BatchOp>) -> Result<AtomicOutcome> {
        self.background.wait_for(self.keyspace.atomic(operations))
    }

    /// See [`crate::Keyspace::scan`]. The scan is an iterator over its entries.
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan {
            scan: self.keyspace.scan(prefix),
            background: self.background.clone(),
        }
    }

    /// See [`crate::Keyspace::count`].
    pub fn count(&self) -> Result<u64> {
        self.background.wait_for(self.keyspace.count())
    }

    /// See [`crate::Keyspace::flush`].
    pub fn flush(&self) -> Result<()> {
        self.background.wait_for(self.keyspace.flush())
    }
}

/// See [`crate::Scan`]. An iterator over the entries; after an error it may be asked again.
#[derive(Clone, Debug)]
#[must_use = "a scan does nothing until a page of it is asked for"]
pub struct Scan {
    scan: crate::Scan,
    background: Background,
}

impl Scan {
    /// See [`crate::Scan::with_values`].
    pub fn with_values(mut self, wanted: bool) -> Self {
        self.scan = self.scan.with_values(wanted);
        self
    }

    /// See [`crate::Scan::page_size`].
    pub fn page_size(mut self, keys: u32) -> Self {
        self.scan = self.scan.page_size(keys);
        self
    }

    /// See [`crate::Scan::from_cursor`].
    pub fn from_cursor(mut self, cursor: Cursor) -> Self {
        self.scan = self.scan.from_cursor(cursor);
        self
    }

    /// See [`crate::Scan::cursor`].
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.scan.cursor()
    }

    /// See [`crate::Scan::next_page`].
    pub fn next_page(&mut self) -> Result<Option<Vec<ScanEntry>>> {
        self.background.wait_for(self.scan.next_page())
    }
}

impl Iterator for Scan {
    type Item = Result<ScanEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.background.wait_for(self.scan.next()).transpose()
    }
}
