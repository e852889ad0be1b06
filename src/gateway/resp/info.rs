//! INFO: the node in the words of Redis, by the fields that tools read.
//!
//! Clients decide by `redis_version` what they may send, so it names the version whose commands and replies are spoken here;
//! `corduroy_version` beside it tells who answers. A figure that the node does not have is left out, unless tools fail without it.

use std::fmt::Write;

use super::config::Durability;

/// The version of Redis whose commands and replies are spoken.
pub const REDIS_VERSION: &str = "7.0.15";

/// What INFO is made of. The driver fills it in from all shards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InfoData {
    /// The node's own version.
    pub version: String,
    /// Of the process.
    pub process_id: u32,
    /// 40 hexadecimal digits, others after each start.
    pub run_id: String,
    /// The client port.
    pub port: u16,
    /// Wall-clock time in microseconds since 1970.
    pub now_us: u64,
    /// Since the start.
    pub uptime_seconds: u64,
    /// The program.
    pub executable: String,
    /// Its configuration file; empty without one.
    pub config_file: String,
    /// Cores that run a shard each.
    pub shards: usize,
    /// Open client connections.
    pub clients: u64,
    /// Most of them.
    pub clients_max: u64,
    /// Bytes that the node's index, log tail and connections hold.
    pub memory_used_bytes: u64,
    /// Bytes of the process in memory, as the kernel counts.
    pub memory_resident_bytes: u64,
    /// The most of them so far.
    pub memory_resident_bytes_max: u64,
    /// `--memory`.
    pub memory_allowed_bytes: u64,
    /// Of the machine.
    pub memory_machine_bytes: u64,
    /// When writes are on disk; `None` counts as always.
    pub durability: Option<Durability>,
    /// Why writes are refused, if they are on any shard.
    pub writes_refused: Option<String>,
    /// Bytes of the log that are the newest of their key.
    pub log_live_bytes: u64,
    /// Bytes of the log that nothing points at.
    pub log_dead_bytes: u64,
    /// Segment files.
    pub log_segments: u64,
    /// Connections since the start.
    pub connections_received: u64,
    /// Connections that were refused because there were too many.
    pub connections_rejected: u64,
    /// Commands and native requests since the start.
    pub commands: u64,
    /// Of them in the last second or so.
    pub commands_per_second: u64,
    /// Bytes from clients.
    pub input_bytes: u64,
    /// Bytes to clients.
    pub output_bytes: u64,
    /// Keys whose time had passed.
    pub expired_keys: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Records that were read from disk.
    pub cold_reads: u64,
    /// Requests that were refused or failed.
    pub errors: u64,
    /// Processor time of the process in the kernel, in microseconds.
    pub cpu_system_us: u64,
    /// Processor time of the process outside it, in microseconds.
    pub cpu_user_us: u64,
    /// Whether clients are told that this is a cluster: of one node, with all slots.
    pub cluster_enabled: bool,
    /// By command.
    pub commandstats: Vec<CommandStatistics>,
    /// Databases that have keys, by number.
    pub keyspaces: Vec<KeyspaceFacts>,
}

/// How often a command was carried out and how long that took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandStatistics {
    /// `get`, `client|list`.
    pub name: &'static str,
    /// How often.
    pub calls: u64,
    /// How long, all together, in microseconds.
    pub micros: u64,
    /// How many were refused before they were carried out, which are no calls.
    pub rejected: u64,
    /// How many ended with an error.
    pub failed: u64,
}

/// One database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceFacts {
    /// SELECT's number.
    pub database: u32,
    /// Its keys.
    pub keys: u64,
    /// Those of them that expire.
    pub expiring: u64,
}

/// A section: its name in lower case, its heading, whether it is among those that INFO shows without arguments, and what is in it.
struct Section {
    name: &'static str,
    heading: &'static str,
    by_default: bool,
    write: fn(&InfoData, &mut Fields),
}

static SECTIONS: &[Section] = &[
    Section::shown("server", "Server", server),
    Section::shown("clients", "Clients", clients),
    Section::shown("memory", "Memory", memory),
    Section::shown("persistence", "Persistence", persistence),
    Section::shown("stats", "Stats", stats),
    Section::shown("replication", "Replication", replication),
    Section::shown("cpu", "CPU", cpu),
    Section {
        by_default: false,
        ..Section::shown("commandstats", "Commandstats", commandstats)
    },
    Section::shown("cluster", "Cluster", cluster),
    Section::shown("keyspace", "Keyspace", keyspace),
];

impl Section {
    const fn shown(
        name: &'static str,
        heading: &'static str,
        write: fn(&InfoData, &mut Fields),
    ) -> Section {
        Section {
            name,
            heading,
            by_default: true,
            write,
        }
    }

    fn is_wanted(&self, names: &[String]) -> bool {
        if names.is_empty() {
            return self.by_default;
        }
        names.iter().any(|name| match name.as_str() {
            "all" | "everything" => true,
            "default" => self.by_default,
            name => name == self.name,
        })
    }
}

/// The text of these sections, named in lower case; of the default ones if none is named.
#[must_use]
pub fn text(names: &[String], data: &InfoData) -> String {
    let mut fields = Fields::default();
    for section in SECTIONS {
        if section.is_wanted(names) {
            if !fields.text.is_empty() {
                fields.text.push_str("\r\n");
            }
            fields.text.push_str("# ");
            fields.text.push_str(section.heading);
            fields.text.push_str("\r\n");
            (section.write)(data, &mut fields);
        }
    }
    fields.text
}

/// Lines of `name:value`.
#[derive(Default)]
struct Fields {
    text: String,
}

impl Fields {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        let start = self.text.len();
        write!(self.text, "{name}:{value}").expect("a string takes all that is written to it");
        // A path with a line break in it would make lines of its own.
        if self.text[start..].contains(['\r', '\n']) {
            let line = self.text[start..].replace(['\r', '\n'], " ");
            self.text.truncate(start);
            self.text.push_str(&line);
        }
        self.text.push_str("\r\n");
    }

    /// A number of bytes, and the same for people.
    fn add_bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        self.add(&format!("{name}_human"), human(bytes));
    }
}

/// A number of bytes with Redis's units.
fn human(bytes: u64) -> String {
    let scaled = |shift: u32| bytes as f64 / (1u64 << shift) as f64;
    match bytes {
        0..0x400 => format!("{bytes}B"),
        0x400..0x10_0000 => format!("{:.2}K", scaled(10)),
        0x10_0000..0x4000_0000 => format!("{:.2}M", scaled(20)),
        0x4000_0000..0x100_0000_0000 => format!("{:.2}G", scaled(30)),
        _ => format!("{:.2}T", scaled(40)),
    }
}

fn server(data: &InfoData, fields: &mut Fields) {
    fields.add("redis_version", REDIS_VERSION);
    fields.add("corduroy_version", &data.version);
    fields.add("redis_git_sha1", "00000000");
    fields.add("redis_git_dirty", 0);
    fields.add("redis_mode", "standalone");
    fields.add("os", "Linux");
    fields.add("arch_bits", usize::BITS);
    fields.add("multiplexing_api", "io_uring");
    fields.add("process_id", data.process_id);
    fields.add("run_id", &data.run_id);
    fields.add("tcp_port", data.port);
    fields.add("server_time_usec", data.now_us);
    fields.add("uptime_in_seconds", data.uptime_seconds);
    fields.add("uptime_in_days", data.uptime_seconds / (24 * 3600));
    fields.add("hz", 10);
    fields.add("executable", &data.executable);
    fields.add("config_file", &data.config_file);
    fields.add("shards", data.shards);
}

fn clients(data: &InfoData, fields: &mut Fields) {
    fields.add("connected_clients", data.clients);
    fields.add("cluster_connections", 0);
    fields.add("maxclients", data.clients_max);
    fields.add("blocked_clients", 0);
    fields.add("tracking_clients", 0);
}

fn memory(data: &InfoData, fields: &mut Fields) {
    fields.add_bytes("used_memory", data.memory_used_bytes);
    fields.add_bytes("used_memory_rss", data.memory_resident_bytes);
    fields.add_bytes("used_memory_peak", data.memory_resident_bytes_max);
    fields.add_bytes("total_system_memory", data.memory_machine_bytes);
    fields.add_bytes("corduroy_memory_allowed", data.memory_allowed_bytes);
    // In Redis's sense, where data beyond it are refused or put out: none.
    fields.add_bytes("maxmemory", 0);
    fields.add("maxmemory_policy", "noeviction");
}

fn persistence(data: &InfoData, fields: &mut Fields) {
    let status = if data.writes_refused.is_some() {
        "err"
    } else {
        "ok"
    };
    let durability = data.durability.unwrap_or(Durability::Always);
    fields.add("loading", 0);
    fields.add("async_loading", 0);
    fields.add("rdb_changes_since_last_save", 0);
    fields.add("rdb_bgsave_in_progress", 0);
    fields.add("rdb_last_save_time", data.now_us / 1_000_000);
    fields.add("rdb_last_bgsave_status", "ok");
    fields.add("aof_enabled", 1);
    fields.add("aof_rewrite_in_progress", 0);
    fields.add("aof_rewrite_scheduled", 0);
    fields.add("aof_last_bgrewrite_status", "ok");
    fields.add("aof_last_write_status", status);
    fields.add(
        "aof_current_size",
        data.log_live_bytes + data.log_dead_bytes,
    );
    fields.add("corduroy_sync", sync_text(durability));
    fields.add("corduroy_log_segments", data.log_segments);
    fields.add("corduroy_log_live_bytes", data.log_live_bytes);
    fields.add("corduroy_log_dead_bytes", data.log_dead_bytes);
    if let Some(reason) = &data.writes_refused {
        fields.add("corduroy_writes_refused", reason);
    }
}

fn sync_text(durability: Durability) -> String {
    match durability {
        Durability::Always => "always".into(),
        Durability::Interval(millis) => format!("interval={millis}ms"),
        Durability::Never => "never".into(),
    }
}

fn stats(data: &InfoData, fields: &mut Fields) {
    fields.add("total_connections_received", data.connections_received);
    fields.add("total_commands_processed", data.commands);
    fields.add("instantaneous_ops_per_sec", data.commands_per_second);
    fields.add("total_net_input_bytes", data.input_bytes);
    fields.add("total_net_output_bytes", data.output_bytes);
    fields.add("rejected_connections", data.connections_rejected);
    fields.add("sync_full", 0);
    fields.add("sync_partial_ok", 0);
    fields.add("sync_partial_err", 0);
    fields.add("expired_keys", data.expired_keys);
    fields.add("evicted_keys", 0);
    fields.add("keyspace_hits", data.hits);
    fields.add("keyspace_misses", data.misses);
    fields.add("pubsub_channels", 0);
    fields.add("pubsub_patterns", 0);
    fields.add("latest_fork_usec", 0);
    fields.add("total_error_replies", data.errors);
    fields.add("corduroy_cold_reads", data.cold_reads);
}

fn replication(data: &InfoData, fields: &mut Fields) {
    fields.add("role", "master");
    fields.add("connected_slaves", 0);
    fields.add("master_failover_state", "no-failover");
    fields.add("master_replid", &data.run_id);
    fields.add("master_repl_offset", 0);
    fields.add("repl_backlog_active", 0);
}

fn cpu(data: &InfoData, fields: &mut Fields) {
    let seconds = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    fields.add("used_cpu_sys", seconds(data.cpu_system_us));
    fields.add("used_cpu_user", seconds(data.cpu_user_us));
    fields.add("used_cpu_sys_children", seconds(0));
    fields.add("used_cpu_user_children", seconds(0));
}

fn commandstats(data: &InfoData, fields: &mut Fields) {
    for command in &data.commandstats {
        let per_call = command.micros as f64 / command.calls.max(1) as f64;
        fields.add(
            &format!("cmdstat_{}", command.name),
            format_args!(
                "calls={},usec={},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
                command.calls, command.micros, command.rejected, command.failed
            ),
        );
    }
}

fn cluster(data: &InfoData, fields: &mut Fields) {
    fields.add("cluster_enabled", u8::from(data.cluster_enabled));
}

fn keyspace(data: &InfoData, fields: &mut Fields) {
    for keyspace in &data.keyspaces {
        if keyspace.keys > 0 {
            fields.add(
                &format!("db{}", keyspace.database),
                format_args!(
                    "keys={},expires={},avg_ttl=0",
                    keyspace.keys, keyspace.expiring
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(names: &[&str], data: &InfoData) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        text(&names, data)
    }

    /// Tools take lines apart at the first colon and sections at `# `; libraries refuse to start without some of the fields.
    #[test]
    fn the_text_is_sections_of_fields_and_has_those_that_tools_read() {
        let data = InfoData {
            version: "0.1.0".into(),
            config_file: "a\r\nredis_version:1".into(),
            writes_refused: Some("disk full".into()),
            keyspaces: vec![
                KeyspaceFacts {
                    database: 0,
                    keys: 3,
                    expiring: 1,
                },
                KeyspaceFacts {
                    database: 1,
                    ..KeyspaceFacts::default()
                },
            ],
            ..InfoData::default()
        };
        let text = sections(&[], &data);
        for line in text.split_terminator("\r\n") {
            assert!(
                line.is_empty() || line.starts_with("# ") || line.contains(':'),
                "{line}"
            );
            assert!(!line.contains(['\r', '\n']));
        }
        for field in [
            "# Server\r\nredis_version:7.0.15\r\ncorduroy_version:0.1.0\r\n",
            "\r\nredis_mode:standalone\r\n",
            "\r\nrole:master\r\n",
            "\r\nloading:0\r\n",
            "\r\nconnected_clients:0\r\n",
            "\r\nused_memory_human:0B\r\n",
            "\r\nmaster_repl_offset:0\r\n",
            "\r\naof_enabled:1\r\n",
            "\r\naof_last_write_status:err\r\n",
            "\r\ncluster_enabled:0\r\n",
            "\r\n\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n",
        ] {
            assert!(text.contains(field), "{field}");
        }
        assert!(!text.contains("db1:") && !text.contains("\r\nredis_version:1\r\n"));
        assert!(!text.contains("# Commandstats"));
    }

    /// A section that is asked for by name and one that is in no list.
    #[test]
    fn sections_are_chosen_by_name() {
        let data = InfoData {
            cpu_system_us: 1_500_000,
            commandstats: vec![CommandStatistics {
                name: "get",
                calls: 4,
                micros: 10,
                rejected: 2,
                failed: 1,
            }],
            ..InfoData::default()
        };
        assert_eq!(sections(&["nosuch"], &data), "");
        assert_eq!(
            sections(&["cpu", "nosuch"], &data),
            "# CPU\r\nused_cpu_sys:1.500000\r\nused_cpu_user:0.000000\r\nused_cpu_sys_children:0.000000\r\n\
             used_cpu_user_children:0.000000\r\n"
        );
        assert_eq!(
            sections(&["commandstats"], &data),
            "# Commandstats\r\ncmdstat_get:calls=4,usec=10,usec_per_call=2.50,rejected_calls=2,failed_calls=1\r\n"
        );
        for names in [["all", "cpu"], ["everything", "default"]] {
            let all = sections(&names, &data);
            assert_eq!(all.matches("# ").count(), SECTIONS.len());
        }
        assert_eq!(sections(&["default"], &data), sections(&[], &data));
    }

    /// The figures for people are Redis's own way of writing them.
    #[test]
    fn bytes_for_people() {
        for (bytes, expected) in [
            (0, "0B"),
            (1023, "1023B"),
            (32_768, "32.00K"),
            (3_887_392, "3.71M"),
            (25_276_059_648, "23.54G"),
            (1 << 41, "2.00T"),
        ] {
            assert_eq!(human(bytes), expected);
        }
    }
}
