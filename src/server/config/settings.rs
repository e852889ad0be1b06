//! The table of settings: each is declared here, once.
//!
//! A row gives the help (its first line is the short one), the name, the placeholder for its value, the kind with its
//! bounds, the default, and how the effective value prints. From it come the flag, the environment variable, the TOML key,
//! `--help`, the rows of `corduroy config`, and the test that holds `docs/configuration.md` to it.

use std::time::Duration;

use super::Config;
use super::choices::{Cores, Filter, Format, Spinning, Sync, YesOrNo, cores_text};
use super::error::ConfigError;
use super::kinds::{
    Address, AddressOrOff, Auto, Bytes, Count, Directory, DirectoryOrOff, Kind, PowerOfTwo, Time,
    TimeOrNone, bytes_text, time_text,
};
use super::layers::{Given, Layers, Source};
use crate::limits;

/// One setting as people see it.
#[derive(Debug)]
pub struct Setting {
    /// Its TOML key.
    pub name: &'static str,
    /// What stands for its value in help texts.
    pub value_name: &'static str,
    /// The text of its default.
    pub default: &'static str,
    /// What it does. The first line is a sentence of its own.
    pub help: &'static str,
    allowed: fn() -> String,
    shown: fn(&Config) -> String,
}

impl Setting {
    /// The name of its flag, without dashes in front: `value-len-max`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The name of its environment variable: `CORDUROY_VALUE_LEN_MAX`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// What it may be, as a noun phrase.
    #[must_use]
    pub fn allowed(&self) -> String {
        (self.allowed)()
    }

    /// Its value in a configuration, as text that parses back to it.
    #[must_use]
    pub fn shown(&self, config: &Config) -> String {
        (self.shown)(config)
    }

    /// The setting with this TOML key.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

/// What the names of environment variables begin with.
pub const VARIABLE_PREFIX: &str = "CORDUROY_";

/// Declares the settings: the table [`SETTINGS`] and the struct [`Requested`] with a field for each.
macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $name:ident $value_name:literal: $kind:ty = $bounds:expr, default $default:literal, shown $shown:expr;
    )+) => {
        /// Every setting, in the order in which help and documentation list them.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            value_name: $value_name,
            default: $default,
            help: concat!($($help, "\n"),+),
            allowed: || Kind::allowed(&$bounds),
            shown: $shown,
        }),+];

        /// What was asked for: each setting's value from the highest layer that names it, and where that was.
        #[derive(Debug)]
        pub(super) struct Requested {
            $(pub(super) $name: Given<<$kind as Kind>::Value>,)+
        }

        impl Requested {
            /// Parses every setting. All that is wrong is added to `errors`; `None` if anything was.
            pub(super) fn gather(layers: &Layers, errors: &mut Vec<ConfigError>) -> Option<Requested> {
                $(let $name = layers.parse(stringify!($name), &$bounds, errors);)+
                Some(Requested { $($name: $name?),+ })
            }

            /// Where each value came from, in the table's order.
            pub(super) fn sources(&self) -> Vec<(&'static str, Source)> {
                vec![$((stringify!($name), self.$name.source.clone())),+]
            }
        }
    };
}

settings! {
    /// Directory of the node's data.
    /// It is made if it isn't there, and locked while the node runs. A relative path counts from the current directory.
    data "DIR": Directory = Directory, default "./corduroy-data",
        shown |config| config.data.display().to_string();

    /// Address and port for clients.
    /// On an address other than loopback everyone who reaches it can read and write.
    listen "ADDRESS": Address = Address, default "127.0.0.1:7379",
        shown |config| config.listen.to_string();

    /// Address and port of the admin HTTP (/livez, /readyz, /status), or off.
    /// Of several nodes on one machine each wants its own. Whoever reaches it can read how the node is, and change nothing.
    admin "ADDRESS": AddressOrOff = AddressOrOff, default "127.0.0.1:7381",
        shown |config| config.admin.map_or_else(|| "off".to_owned(), |address| address.to_string());

    /// Cores that run a shard each.
    /// `all` is what the process may run on by its CPU affinity (taskset, cpuset), not what the machine has; a number takes
    /// the first of those; a list names them. Several nodes on one machine want lists that don't overlap. A start
    /// with another number than the data was written with moves the data first.
    cores "CORES": Cores = Cores { max: limits::SHARDS_MAX }, default "all",
        shown |config| cores_text(&config.cores);

    /// Most memory of the node.
    /// `auto` is a quarter of the machine's memory, or of its cgroup's limit if that is lower; more if the shards could not
    /// work with it. The index and what connections hold come first, the rest keeps the end of the log.
    memory "SIZE": Auto<Bytes> = Auto(Bytes { min: limits::MEMORY_MIN, max: limits::MEMORY_MAX }), default "auto",
        shown |config| bytes_text(config.memory);

    /// When an acknowledged write is on disk.
    /// `always`: before it is acknowledged; `interval=50ms`: at most that long after, which is what power loss can take;
    /// `never`: when the kernel sees fit. The death of the process alone loses nothing under any of them.
    sync "WHEN": Sync = Sync { interval: Time { min: Duration::from_millis(1), max: Duration::from_secs(60) } },
        default "always",
        shown |config| config.sync.to_string();

    /// Longest value that clients can store.
    /// Longer ones that were stored under a higher limit can still be read.
    value_len_max "SIZE": Bytes = Bytes { min: 1, max: limits::VALUE_LEN_MAX as u64 }, default "16MiB",
        shown |config| bytes_text(config.value_len_max as u64);

    /// Length of a new segment of the log.
    /// `auto` goes by memory and value_len_max. A segment holds one of the longest values with room to spare; each shard
    /// keeps two in memory at least and prepares the next on disk.
    segment_len "SIZE": Auto<PowerOfTwo> =
        Auto(PowerOfTwo(Bytes { min: limits::SEGMENT_LEN_ASKED_MIN, max: limits::SEGMENT_LEN_MAX })), default "auto",
        shown |config| bytes_text(config.segment_len);

    /// Whether the log's dead space is reclaimed while the node serves.
    /// Without it the log grows with every write, and `corduroy-cli compact` reclaims by hand.
    compaction "WHETHER": YesOrNo = YesOrNo, default "yes",
        shown |config| String::from(if config.compaction { "yes" } else { "no" });

    /// How often everything on disk is read and checked in the background; 0: never.
    /// A checksum that fails, or a read, is named with file and offset in the log and in `status`. Reads are spread over the period.
    scrub_period "TIME": TimeOrNone = TimeOrNone(Time { min: Duration::from_secs(1), max: YEAR }), default "30days",
        shown |config| time_text(config.scrub_period.unwrap_or_default());

    /// Directory that backups go to, or off.
    /// Clients that ask for a backup choose the name of a series below it and nothing else. On the data directory's own filesystem
    /// segments are linked, not copied: that takes no space, and doesn't outlive the disk.
    backup_directory "DIR": DirectoryOrOff = DirectoryOrOff, default "off",
        shown |config| config.backup_directory.as_ref().map_or_else(|| "off".to_owned(), |path| path.display().to_string());

    /// How often the node takes a backup by itself; 0: never.
    /// Into the series `default` of backup_directory, which must be set. Counted from the last backup there, over restarts too.
    backup_every "TIME": TimeOrNone = TimeOrNone(Time { min: Duration::from_secs(1), max: FOUR_WEEKS }), default "0s",
        shown |config| time_text(config.backup_every.unwrap_or_default());

    /// How many backups the node keeps of those that it takes by itself; 0: all.
    /// After each of them the oldest of the series `default` go, whoever asked for them.
    backup_keep "COUNT": Count = Count { min: 0, max: limits::BACKUPS_KEPT_MAX }, default "0",
        shown |config| config.backup_keep.to_string();

    /// Most client connections.
    /// One more is refused with a sentence. Each takes a file descriptor (ulimit -n).
    connections_max "COUNT": Count = Count { min: 1, max: limits::CONNECTIONS_MAX }, default "10000",
        shown |config| config.connections_max.to_string();

    /// A connection without a request for this long is closed; 0: never.
    idle_timeout "TIME": TimeOrNone = TimeOrNone(Time { min: Duration::from_millis(1), max: DAY }), default "0s",
        shown |config| time_text(config.idle_timeout.unwrap_or_default());

    /// A connection that hasn't said by then which protocol it speaks is closed.
    handshake_timeout "TIME": Time = Time { min: Duration::from_millis(1), max: HOUR }, default "10s",
        shown |config| time_text(config.handshake_timeout);

    /// A connection that takes none of its replies, or leaves a frame unfinished, for this long is closed.
    stall_timeout "TIME": Time = Time { min: Duration::from_millis(1), max: HOUR }, default "30s",
        shown |config| time_text(config.stall_timeout);

    /// Most unanswered requests of one connection.
    /// Beyond it the node works off no more of that connection's requests until it has answered some.
    in_flight_max "COUNT": Count = Count { min: 1, max: limits::IN_FLIGHT_MAX }, default "1024",
        shown |config| config.in_flight_max.to_string();

    /// Most bytes of replies that wait for one connection.
    /// Beyond it the connection is closed. Long before, at 1 MiB, the node works off no more of its requests until its client has
    /// taken some; at half of it, gets whose values come from other cores are refused.
    output_bytes_max "SIZE": Bytes = Bytes { min: 4096, max: limits::OUTPUT_BYTES_MAX }, default "64MiB",
        shown |config| bytes_text(config.output_bytes_max as u64);

    /// Longest wait for requests in flight when the node is told to stop.
    /// What is unanswered then is cut off; what was acknowledged is on disk all the same.
    stop_timeout "TIME": Time = Time { min: Duration::from_millis(1), max: HOUR }, default "10s",
        shown |config| time_text(config.stop_timeout);

    /// Whether a core without work spins before it sleeps.
    /// Spinning makes hops between cores several times faster when the cores are the node's own, and slower when they are
    /// shared. `auto` lets the node decide.
    spin "WHETHER": Spinning = Spinning { time: Time { min: Duration::from_micros(1), max: Duration::from_millis(1) } },
        default "auto",
        shown |config| config.spin.to_string();

    /// How long a core rests between two looks at its connections while requests come densely; 0: never.
    /// One turn then serves what several would have served, which costs less CPU a request and at most this long in latency. For
    /// many clients that keep the node from sleeping; 8 to 24 that each wait for an answer get half of what they get without.
    coalesce "TIME": TimeOrNone = TimeOrNone(Time { min: Duration::from_micros(1), max: Duration::from_millis(1) }), default "0s",
        shown |config| time_text(config.coalesce.unwrap_or_default());

    /// Whether Redis clients may use DEBUG.
    /// DEBUG SLEEP keeps its own connection waiting and nobody else; it is for testing clients.
    debug_commands "WHETHER": YesOrNo = YesOrNo, default "no",
        shown |config| String::from(if config.debug_commands { "yes" } else { "no" });

    /// Which log lines are written.
    /// A level, or levels by target: info,corduroy::storage=debug.
    log "FILTER": Filter = Filter, default "info",
        shown |config| config.log.to_string();

    /// How log lines look: for people, or one JSON object a line.
    log_format "FORMAT": Format = Format, default "text",
        shown |config| config.log_format.to_string();
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const FOUR_WEEKS: Duration = Duration::from_secs(28 * 24 * 3600);
/// As humantime has it.
const YEAR: Duration = Duration::from_secs(31_557_600);
