//! The client's connections: some for each shard of the server, opened when they are first needed and opened again
//! when they are lost.
//!
//! # Routing
//!
//! The first answer to a hello tells the number of shards; from then on each shard has a **group** of **places** for
//! connections. A request about a key goes to the group of the shard that owns it and so to the owning core directly; any other one
//! goes wherever a connection is open. A server that comes back with another number of shards says so in its next hello, and the
//! groups are laid out anew. A request that goes to the wrong shard in the meantime is answered all the same: the
//! server passes it on. Without routing there is one group, and the server chooses the core.
//!
//! # Opening
//!
//! A place is opened by one task, whoever and however many wait for it: callers that give up don't stop it, and a
//! thousand callers don't make a thousand attempts. After a failure the next attempt at that place waits for the backoff of the
//! [`RetryPolicy`] first; the failure itself goes to everybody who waited.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use corduroy_proto_wire::{HelloReply, shard_of_partition};
use tokio::sync::watch;

use crate::connection::{Connection, ConnectionOptions};
use crate::error::ConnectError;
use crate::retry::RetryPolicy;

/// Which of the server's shards shall serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one that holds this partition.
    Partition(u16),
    /// Whichever.
    Any,
}

/// All connections of a client.
#[derive(Debug)]
pub(crate) struct Pool {
    opener: Arc<Opener>,
    /// Whether requests go to the shard that owns their key.
    direct: bool,
    connections_per_group: usize,
    layout: RwLock<Arc<Layout>>,
}

/// How a place opens its connection.
#[derive(Debug)]
struct Opener {
    options: ConnectionOptions,
    retry: RetryPolicy,
}

/// Where connections go, for one number of shards.
#[derive(Debug)]
struct Layout {
    /// The hello that it was made from.
    hello: HelloReply,
    /// One for each shard; a single one without routing.
    groups: Vec<Group>,
    /// Turns over the groups, for requests that may go to any.
    turn: AtomicUsize,
}

/// The connections to one shard.
#[derive(Debug)]
struct Group {
    shard: Option<u16>,
    places: Vec<Arc<Place>>,
    turn: AtomicUsize,
}

/// Room for one connection.
#[derive(Debug)]
struct Place {
    state: Mutex<PlaceState>,
}

#[derive(Debug)]
enum PlaceState {
    Vacant {
        /// How many attempts have failed since the last that succeeded.
        failures: u32,
    },
    Opening(watch::Receiver<Option<Opened>>),
    Open(Arc<Connection>),
}

type Opened = Result<Arc<Connection>, ConnectError>;

impl Pool {
    /// Opens the first connection, which tells how the server is laid out.
    pub(crate) async fn open(
        options: ConnectionOptions,
        retry: RetryPolicy,
        direct: bool,
        connections_per_group: usize,
    ) -> Result<Self, ConnectError> {
        let first = Connection::open(&options, None).await?;
        Ok(Self::around(
            first,
            options,
            retry,
            direct,
            connections_per_group,
        ))
    }

    /// A pool that has its first connection.
    pub(crate) fn around(
        first: Connection,
        options: ConnectionOptions,
        retry: RetryPolicy,
        direct: bool,
        connections_per_group: usize,
    ) -> Self {
        let layout = Arc::new(Layout::new(&Arc::new(first), direct, connections_per_group));
        Self {
            opener: Arc::new(Opener { options, retry }),
            direct,
            connections_per_group,
            layout: RwLock::new(layout),
        }
    }

    /// The address as it was given, with the port.
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.opener.options.address
    }

    /// What the server last said of itself.
    pub(crate) fn hello(&self) -> HelloReply {
        self.layout().hello.clone()
    }

    /// An open connection, opened for the purpose if need be.
    pub(crate) async fn connection(&self, target: Target) -> Opened {
        let layout = self.layout();
        let connection = layout.group(target).connection(&self.opener).await?;
        if self.direct && connection.hello().shard_count != layout.hello.shard_count {
            self.lay_out_again(&connection);
        }
        Ok(connection)
    }

    fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The server came back with another number of shards.
    fn lay_out_again(&self, connection: &Arc<Connection>) {
        let mut layout = self.layout.write().unwrap_or_else(PoisonError::into_inner);
        if layout.hello.shard_count != connection.hello().shard_count {
            *layout = Arc::new(Layout::new(
                connection,
                self.direct,
                self.connections_per_group,
            ));
        }
    }
}

impl Layout {
    fn new(first: &Arc<Connection>, direct: bool, connections_per_group: usize) -> Self {
        let hello = first.hello().clone();
        let group = |shard| Group::new(shard, connections_per_group);
        let groups: Vec<Group> = if direct {
            (0..hello.shard_count)
                .map(|shard| group(Some(shard)))
                .collect()
        } else {
            vec![group(None)]
        };
        let home = if direct { usize::from(hello.shard) } else { 0 };
        *groups[home].places[0].state() = PlaceState::Open(Arc::clone(first));
        Self {
            hello,
            groups,
            turn: AtomicUsize::new(0),
        }
    }

    fn group(&self, target: Target) -> &Group {
        match target {
            Target::Partition(partition) if self.groups.len() > 1 => {
                &self.groups[usize::from(shard_of_partition(partition, self.hello.shard_count))]
            }
            Target::Partition(_) | Target::Any => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                let count = self.groups.len();
                let in_turn =
                    || (0..count).map(|step| &self.groups[(turn.wrapping_add(step)) % count]);
                in_turn()
                    .find(|group| group.is_open())
                    .unwrap_or(&self.groups[turn % count])
            }
        }
    }
}

impl Group {
    fn new(shard: Option<u16>, connections: usize) -> Self {
        let places = (0..connections).map(|_| Arc::new(Place::new())).collect();
        Self {
            shard,
            places,
            turn: AtomicUsize::new(0),
        }
    }

    fn is_open(&self) -> bool {
        self.places.iter().any(|place| place.connection().is_some())
    }

    /// The connection whose turn it is; another one that is open while that one is being opened.
    async fn connection(&self, opener: &Arc<Opener>) -> Opened {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.places.len();
        let place = &self.places[turn % count];
        if let Some(connection) = place.connection() {
            return Ok(connection);
        }
        let opening = place.begin_opening(opener, self.shard);
        let others = (1..count).map(|step| &self.places[turn.wrapping_add(step) % count]);
        match others.filter_map(|other| other.connection()).next() {
            Some(connection) => Ok(connection),
            None => opened(opening).await,
        }
    }
}

impl Place {
    fn new() -> Self {
        Self {
            state: Mutex::new(PlaceState::Vacant { failures: 0 }),
        }
    }

    fn state(&self) -> MutexGuard<'_, PlaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if it is open and nothing is known against it.
    fn connection(&self) -> Option<Arc<Connection>> {
        match &*self.state() {
            PlaceState::Open(connection) if connection.is_usable() => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    /// Has the place opened, unless somebody else had the idea. What is received is the result.
    fn begin_opening(
        self: &Arc<Self>,
        opener: &Arc<Opener>,
        shard: Option<u16>,
    ) -> watch::Receiver<Option<Opened>> {
        let mut state = self.state();
        let failures = match &*state {
            // The task that would answer may have gone down with its runtime.
            PlaceState::Opening(opening)
                if opening.has_changed().is_ok() || opening.borrow().is_some() =>
            {
                return opening.clone();
            }
            PlaceState::Open(connection) if connection.is_usable() => {
                return watch::channel(Some(Ok(Arc::clone(connection)))).1;
            }
            PlaceState::Vacant { failures } => *failures,
            PlaceState::Opening(_) | PlaceState::Open(_) => 0,
        };
        let (result, opening) = watch::channel(None);
        *state = PlaceState::Opening(opening.clone());
        let (place, opener) = (Arc::clone(self), Arc::clone(opener));
        tokio::spawn(async move {
            if failures > 0 {
                tokio::time::sleep(opener.retry.backoff(failures, &mut fastrand::Rng::new())).await;
            }
            let opened = opener.open(shard).await.map(Arc::new);
            *place.state() = match &opened {
                Ok(connection) => PlaceState::Open(Arc::clone(connection)),
                Err(_) => PlaceState::Vacant {
                    failures: failures.saturating_add(1),
                },
            };
            // All who waited may have given up.
            let _ = result.send(Some(opened));
        });
        opening
    }
}

impl Opener {
    /// A connection to the shard. If the server turns that away for good, it may have fewer shards than it had: then to any, whose
    /// hello tells.
    async fn open(&self, shard: Option<u16>) -> Result<Connection, ConnectError> {
        match Connection::open(&self.options, shard).await {
            Err(ConnectError::Refused { status, .. })
                if shard.is_some() && !status.is_transient() =>
            {
                Connection::open(&self.options, None).await
            }
            result => result,
        }
    }
}

/// Waits for a place's task.
async fn opened(mut opening: watch::Receiver<Option<Opened>>) -> Opened {
    match opening.wait_for(Option::is_some).await {
        Ok(opened) => opened.clone().unwrap_or(Err(ConnectError::Closed)),
        Err(_task_is_gone) => Err(ConnectError::Shutdown),
    }
}
