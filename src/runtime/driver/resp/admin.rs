//! What concerns the whole node: CLIENT LIST and KILL, SLOWLOG, INFO, CONFIG, CLUSTER.
//!
//! Connections and slow commands are with the driver of each shard, so drivers ask each other ([`NodeAsk`]), beside what shards ask. The answers are gathered
//! like any other request's, and the command makes its reply of them in its next round.

use super::super::gather::Gathering;
use super::super::hub::Hub;
use super::super::{Driver, Ports};
use super::rounds::Round;
use super::{Front, Step, Tag};
use crate::gateway::resp::clients::ClientFacts;
use crate::gateway::resp::cluster;
use crate::gateway::resp::config::{self, Change, ConfigData, Durability};
use crate::gateway::resp::info::{self, InfoData, KeyspaceFacts};
use crate::gateway::resp::order::{KillFilter, SessionOrder};
use crate::gateway::resp::slowlog::{self, Entry};
use crate::gateway::resp::{Protocol, reply};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::statistics::ShardStatus;
use crate::shard::{GatherId, ShardCommand};
use crate::types::{Now, ShardId};

/// What a Redis client may ask about the node that does not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// What CONFIG GET tells.
    pub config: ConfigData,
    /// What CLUSTER tells.
    pub cluster: cluster::ClusterData,
    /// Of the process.
    pub process_id: u32,
    /// 40 hexadecimal digits, others after each start.
    pub run_id: String,
    /// The program.
    pub executable: String,
    /// Its configuration file; empty without one.
    pub config_file: String,
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
}

impl Default for NodeFacts {
    /// Those of a node that nobody connects to: simulations and tests.
    fn default() -> NodeFacts {
        NodeFacts {
            config: ConfigData {
                host: String::new(),
                port: 0,
                databases: 16,
                connections_max: 0,
                idle_timeout_seconds: 0,
                memory_bytes: 0,
                durability: Durability::Always,
                directory: String::new(),
                slowlog_slower_than_us: limits::SLOWLOG_SLOWER_THAN_US,
                slowlog_len_max: limits::SLOWLOG_LEN,
                debug: false,
            },
            cluster: cluster::ClusterData {
                node_id: "0".repeat(40),
                host: String::new(),
                port: 0,
            },
            process_id: 0,
            run_id: "0".repeat(40),
            executable: String::new(),
            config_file: String::new(),
            started_ms: 0,
        }
    }
}

/// What a driver asks those of the other shards, and itself.
#[derive(Clone, Debug)]
pub(in super::super) enum NodeAsk {
    /// Its connections; of these ids alone if they are given.
    Clients(Option<Vec<u64>>),
    /// Closes connections; the second is the id of the one that asks.
    Kill(KillFilter, u64),
    /// The slow commands.
    Slowlog,
    /// Forgets them.
    SlowlogReset,
    /// CONFIG SET.
    Change(Vec<Change>),
    /// How many connections it has.
    Figures,
}

/// What they answer, and what the answers of all come to.
#[derive(Debug, Default)]
pub(in super::super) struct NodeTold {
    clients: Vec<ClientFacts>,
    killed: u64,
    entries: Vec<Entry>,
    connections: u64,
    connections_received: u64,
}

impl NodeTold {
    pub(in super::super) fn merge(&mut self, mut other: NodeTold) {
        self.clients.append(&mut other.clients);
        self.killed += other.killed;
        self.entries.append(&mut other.entries);
        self.connections += other.connections;
        self.connections_received += other.connections_received;
    }
}

impl<P: Ports> Driver<P> {
    /// What asks all drivers, or tells of this node.
    pub(super) fn admin_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        order: SessionOrder<'_>,
        told: Option<NodeTold>,
    ) -> Round {
        let protocol = self.resp(id).protocol;
        let mut bytes = Vec::new();
        let ask = match order {
            SessionOrder::ClientInfo => {
                let line = self.own_facts(now, id, front).line();
                reply::verbatim(&mut bytes, protocol, &line);
                return Round::Reply(bytes);
            }
            SessionOrder::Cluster(order) => {
                let mut data = self.config.node.cluster.clone();
                // Some clients (ioredis) pass over a node without an address, so it is the one by which this client came.
                if let Some((_, local)) = self.ports.addresses(id) {
                    data.host = local.ip().to_string();
                    data.port = local.port();
                }
                cluster::write(&mut bytes, protocol, order, &data);
                return Round::Reply(bytes);
            }
            SessionOrder::ConfigGet(patterns) => {
                let mut data = self.config.node.config.clone();
                data.slowlog_slower_than_us = self.hub.slowlog.slower_than_us();
                data.slowlog_len_max = self.hub.slowlog.len_max();
                config::write(&mut bytes, protocol, &patterns, &data);
                return Round::Reply(bytes);
            }
            order => match told {
                Some(told) => {
                    self.write_told(&mut bytes, protocol, &order, told);
                    return Round::Reply(bytes);
                }
                None => match self.ask_of(id, &order) {
                    Ok(ask) => ask,
                    Err(text) => {
                        reply::error(&mut bytes, &text);
                        return Round::Reply(bytes);
                    }
                },
            },
        };
        self.ask_drivers(now, id, front, tag, &ask);
        Round::Asked(Step::Asked)
    }

    fn ask_of(&self, id: ConnectionId, order: &SessionOrder<'_>) -> Result<NodeAsk, String> {
        Ok(match order {
            SessionOrder::ClientList(ids) => NodeAsk::Clients(ids.clone()),
            SessionOrder::ClientKill(filter) => {
                NodeAsk::Kill(filter.clone(), self.client_number(id))
            }
            SessionOrder::SlowlogGet(_) | SessionOrder::SlowlogLen => NodeAsk::Slowlog,
            SessionOrder::SlowlogReset => NodeAsk::SlowlogReset,
            SessionOrder::ConfigSet(pairs) => {
                let changes = config::changes(pairs, &self.config.node.config);
                NodeAsk::Change(changes.map_err(|error| error.to_string())?)
            }
            // What can be reset is the slow log's own command.
            _ => NodeAsk::Figures,
        })
    }

    fn write_told(
        &mut self,
        bytes: &mut Vec<u8>,
        protocol: Protocol,
        order: &SessionOrder<'_>,
        mut told: NodeTold,
    ) {
        match order {
            SessionOrder::ClientList(_) => {
                told.clients.sort_unstable_by_key(|client| client.id);
                let lines: String = told.clients.iter().map(ClientFacts::line).collect();
                reply::verbatim(bytes, protocol, &lines);
            }
            SessionOrder::ClientKill(filter) if filter.old_form && told.killed == 0 => {
                reply::error(bytes, "ERR No such client");
            }
            SessionOrder::ClientKill(filter) if filter.old_form => reply::simple(bytes, "OK"),
            SessionOrder::ClientKill(_) => reply::integer(bytes, told.killed as i64),
            SessionOrder::SlowlogLen => reply::integer(bytes, told.entries.len() as i64),
            SessionOrder::SlowlogGet(count) => {
                let entries = &mut told.entries;
                entries.sort_by_key(|entry| std::cmp::Reverse((entry.at_seconds, entry.id)));
                let most = usize::try_from(*count).unwrap_or(usize::MAX);
                entries.truncate(most);
                slowlog::write(bytes, entries.iter());
            }
            _ => reply::simple(bytes, "OK"),
        }
    }

    /// INFO: asks for the connections, then for the shards' figures.
    #[expect(
        clippy::too_many_arguments,
        reason = "a round's surroundings and what it goes on with"
    )]
    pub(super) fn info_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        sections: &[String],
        step: Step,
        collected: Option<Gathering>,
    ) -> Round {
        match (step, collected) {
            (_, Some(Gathering::Node(told))) => {
                let slot = self.collect(id, tag);
                let gathering = Gathering::Status { shards: Vec::new() };
                self.ask_all(now, id, slot, gathering, &ShardCommand::Status);
                Round::Asked(Step::Info(told))
            }
            (Step::Info(told), Some(Gathering::Status { shards })) => {
                let text = info::text(sections, &self.info(now, &told, &shards));
                let mut bytes = Vec::new();
                reply::verbatim(&mut bytes, self.resp(id).protocol, &text);
                Round::Reply(bytes)
            }
            _ => {
                self.ask_drivers(now, id, front, tag, &NodeAsk::Figures);
                Round::Asked(Step::Asked)
            }
        }
    }

    fn info(&self, now: Now, told: &NodeTold, shards: &[ShardStatus]) -> InfoData {
        let node = &self.config.node;
        let process = self.ports.process();
        let sum = |figure: fn(&ShardStatus) -> u64| shards.iter().map(figure).sum::<u64>();
        let mut keyspaces: Vec<KeyspaceFacts> = Vec::new();
        for keyspace in shards.iter().flat_map(|shard| &shard.keyspaces) {
            let database = match keyspace.name.as_str() {
                crate::shard::DEFAULT_KEYSPACE => Some(0),
                name => name.parse().ok().filter(|&number: &u32| number > 0),
            };
            let Some(database) = database else {
                continue;
            };
            match keyspaces.iter_mut().find(|it| it.database == database) {
                Some(facts) => facts.keys += keyspace.keys,
                None => keyspaces.push(KeyspaceFacts {
                    database,
                    keys: keyspace.keys,
                    expiring: 0,
                }),
            }
        }
        keyspaces.retain(|facts| facts.keys > 0);
        keyspaces.sort_unstable_by_key(|facts| facts.database);
        let commands = shards.iter().flat_map(|shard| &shard.requests);
        InfoData {
            version: self
                .config
                .server_name
                .trim_start_matches("corduroy/")
                .to_owned(),
            process_id: node.process_id,
            run_id: node.run_id.clone(),
            port: node.config.port,
            now_us: now.wall.0 * 1000,
            uptime_seconds: now.wall.0.saturating_sub(node.started_ms) / 1000,
            executable: node.executable.clone(),
            config_file: node.config_file.clone(),
            shards: shards.len(),
            clients: told.connections,
            clients_max: node.config.connections_max as u64,
            memory_used_bytes: sum(|shard| shard.tail_bytes + shard.index_bytes),
            memory_resident_bytes: process.resident_bytes,
            memory_resident_bytes_max: process.resident_bytes_max,
            memory_allowed_bytes: node.config.memory_bytes,
            memory_machine_bytes: process.machine_bytes,
            durability: Some(node.config.durability),
            writes_refused: shards.iter().find_map(|shard| shard.writes_refused.clone()),
            log_live_bytes: sum(|shard| shard.live_bytes),
            log_dead_bytes: sum(|shard| shard.dead_bytes),
            log_segments: sum(|shard| shard.segments),
            connections_received: told.connections_received,
            commands: commands.map(|kind| kind.requests).sum(),
            expired_keys: sum(|shard| shard.expired),
            cold_reads: sum(|shard| shard.cold_reads),
            errors: sum(|shard| shard.errors),
            cpu_system_us: process.cpu_system_us,
            cpu_user_us: process.cpu_user_us,
            keyspaces,
            ..InfoData::default()
        }
    }

    /// Asks all drivers of the node.
    fn ask_drivers(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        ask: &NodeAsk,
    ) {
        let slot = self.collect(id, tag);
        let gathering = Gathering::Node(NodeTold::default());
        let all = usize::from(self.config.shard_count);
        let gather = self.hub.gather(id, slot, all, gathering);
        let me = self.config.shard;
        for shard in (0..self.config.shard_count)
            .map(ShardId)
            .filter(|shard| *shard != me)
        {
            self.hub.links[shard.index()]
                .out
                .asks
                .push((gather, ask.clone()));
        }
        let own = self.own_facts(now, id, front);
        let told = self.tell(now, ask, Some((id, own)));
        self.hub.gather_told(gather, told);
    }

    /// Another driver asks.
    pub(in super::super) fn asked(
        &mut self,
        now: Now,
        from: ShardId,
        gather: GatherId,
        ask: &NodeAsk,
    ) {
        let told = self.tell(now, ask, None);
        self.hub.links[from.index()].out.tells.push((gather, told));
    }

    /// `own` is what is known of the connection that asks, whose front is in use.
    fn tell(
        &mut self,
        now: Now,
        ask: &NodeAsk,
        own: Option<(ConnectionId, ClientFacts)>,
    ) -> NodeTold {
        let mut told = NodeTold {
            connections: self.hub.connections.len() as u64,
            connections_received: self.hub.connections_received(),
            ..NodeTold::default()
        };
        match ask {
            NodeAsk::Clients(ids) => {
                let mut clients = self.clients(now, own);
                clients
                    .retain(|(_, client)| ids.as_ref().is_none_or(|ids| ids.contains(&client.id)));
                told.clients = clients.into_iter().map(|(_, client)| client).collect();
            }
            NodeAsk::Kill(filter, asking) => {
                let mine = own.as_ref().map(|(id, _)| *id);
                for (id, client) in self.clients(now, own) {
                    if !filter.means(&client, *asking) {
                        continue;
                    }
                    told.killed += 1;
                    if Some(id) == mine {
                        // It still gets its reply.
                        self.resp(id).ends = true;
                    } else {
                        self.cut(id);
                    }
                }
            }
            NodeAsk::Slowlog => told.entries = self.hub.slowlog.newest(-1).cloned().collect(),
            NodeAsk::SlowlogReset => self.hub.slowlog.clear(),
            NodeAsk::Change(changes) => {
                for change in changes {
                    match *change {
                        Change::SlowlogSlowerThan(micros) => {
                            self.hub.slowlog.set_slower_than(micros);
                        }
                        Change::SlowlogLenMax(len) => self.hub.slowlog.set_len_max(len),
                    }
                }
            }
            NodeAsk::Figures => {}
        }
        told
    }

    /// This shard's connections, at most as many as one turn can tell of.
    fn clients(
        &self,
        now: Now,
        mut own: Option<(ConnectionId, ClientFacts)>,
    ) -> Vec<(ConnectionId, ClientFacts)> {
        let connections = self.hub.connections.iter();
        let ids = connections.map(|(slot, connection)| connection.id(slot));
        ids.take(limits::CLIENT_LIST_MAX)
            .map(|id| match &mut own {
                Some((mine, facts)) if *mine == id => (id, std::mem::take(facts)),
                _ => (id, self.facts(now, id)),
            })
            .collect()
    }

    fn own_facts(&self, now: Now, id: ConnectionId, front: &Front) -> ClientFacts {
        let mut facts = self.facts(now, id);
        facts.take_session(&front.session);
        facts
    }

    fn facts(&self, now: Now, id: ConnectionId) -> ClientFacts {
        let connection = &self.hub.connections[id.slot as usize];
        let seconds = |since: u64| now.mono.0.saturating_sub(since) / 1_000_000_000;
        let mut facts = ClientFacts {
            id: self.client_number(id),
            descriptor: u64::from(id.slot),
            age_seconds: seconds(connection.opened_at.0),
            idle_seconds: seconds(connection.received_at.0),
            input_bytes: connection.input_bytes() as u64,
            output_bytes: connection.unsent() as u64,
            ..ClientFacts::default()
        };
        if let Some((client, local)) = self.ports.addresses(id) {
            facts.address = client.to_string();
            facts.local_address = local.to_string();
        }
        let front = connection
            .resp
            .as_ref()
            .and_then(|resp| resp.front.as_ref());
        if let Some(front) = front {
            facts.take_session(&front.session);
        }
        facts
    }
}

impl Hub {
    /// Takes another driver's answer, or this one's own.
    pub(in super::super) fn gather_told(&mut self, id: GatherId, told: NodeTold) {
        let gather = self.gather_mut(id);
        gather.remaining -= 1;
        let Gathering::Node(all) = &mut gather.gathering else {
            unreachable!("drivers are asked for that");
        };
        all.merge(told);
        if gather.remaining == 0 {
            self.complete.push(id);
        }
    }
}
