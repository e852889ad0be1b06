//! The effective configuration and where each value came from.
//!
//! Every setting is declared once, in the table [`SETTINGS`]: its name, type, bounds, default and help. Its flag
//! (`--value-len-max`), its environment variable (`CORDUROY_VALUE_LEN_MAX`), its TOML key (`value_len_max`), the text of
//! `--help` and what `docs/configuration.md` must say all derive from that row, so they cannot drift.
//!
//! A configuration is made in three steps, each of which reports everything that is wrong before it gives up:
//!
//! 1. **gather**: flags over environment over file over default. The first layer that names a setting wins, its text is
//!    parsed into a type that holds only allowed values, and its [`Source`] is kept. Unknown names are refused.
//! 2. **decide**: what depends on the machine (`cores = "all"`, `memory = "auto"`) or on other settings
//!    (`segment_len = "auto"`) becomes a number.
//! 3. **relate**: bounds between settings are checked on the numbers (memory against shards and segments, segments against
//!    values), so that a node which starts cannot run into them later.
//!
//! The result is a [`Config`] of plain values for the node and a [`Resolved`] for people.

mod choices;
mod decide;
mod error;
mod file;
mod kinds;
mod layers;
mod machine;
mod print;
mod settings;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ConfigError, Rejected, ValueError};
pub use layers::Source;
pub use machine::{Machine, Memory};
pub use print::{write_json, write_toml};
pub use settings::{SETTINGS, Setting, VARIABLE_PREFIX};
pub use values::{LogFilter, LogFormat, Spin, SyncPolicy};

/// What a node runs with: every value checked, every `auto` decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the node's data.
    pub data: PathBuf,
    /// Where clients connect, native and RESP.
    pub listen: SocketAddr,
    /// Where the admin HTTP answers; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// CPU numbers, ascending, none twice, 1 to [`SHARDS_MAX`](crate::limits::SHARDS_MAX) of them: shard `i` runs on
    /// `cores[i]`. Each was in the process's affinity mask.
    pub cores: Vec<usize>,
    /// Most memory of the process, in bytes.
    pub memory: u64,
    /// When an acknowledged write is on disk.
    pub sync: SyncPolicy,
    /// Longest value, in bytes; at most [`VALUE_LEN_MAX`](crate::limits::VALUE_LEN_MAX).
    pub value_len_max: usize,
    /// Length of a new segment, in bytes: a power of two that holds one of the longest values and more.
    pub segment_len: u64,
    /// Most client connections of the node.
    pub connections_max: usize,
    /// A connection without a request for this long is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// A connection that hasn't said which protocol it speaks after this long is closed.
    pub handshake_timeout: Duration,
    /// A connection whose replies could not be sent, or whose frame is unfinished, for this long is closed.
    pub stall_timeout: Duration,
    /// Most unanswered requests of a connection; beyond it the node works off no more of them.
    pub in_flight_max: usize,
    /// Most bytes of replies that wait for a connection; beyond it the connection is cut. `limits::OUTPUT_HIGH_WATER` comes first.
    pub output_bytes_max: usize,
    /// Longest wait for requests in flight when the node stops.
    pub stop_timeout: Duration,
    /// Whether a core without work spins before it sleeps.
    pub spin: Spin,
    /// How long a core rests between two looks at its connections while requests come densely.
    pub coalesce: Option<Duration>,
    /// Whether the log's dead space is reclaimed while the node serves.
    pub compaction: bool,
    /// How often everything on disk is read and checked; `None`: never.
    pub scrub_period: Option<Duration>,
    /// Where backups go; `None`: the node takes none.
    pub backup_directory: Option<PathBuf>,
    /// How often the node takes a backup by itself; `None`: never.
    pub backup_every: Option<Duration>,
    /// How many of those are kept; 0: all.
    pub backup_keep: usize,
    /// Whether Redis clients may use DEBUG.
    pub debug_commands: bool,
    /// Start in spite of damage in the middle of the log, without what is damaged. A flag only, never kept in a file.
    pub salvage: bool,
    /// Which log lines are written.
    pub log: LogFilter,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Config {
    /// Number of shards: one a core.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.cores.len()).expect("cores are bounded by SHARDS_MAX")
    }
}

/// The file that is read if it exists and no other is named.
pub const DEFAULT_FILE: &str = "./corduroy.toml";

/// What the command line says.
#[derive(Debug, Default)]
pub struct Flags {
    /// The configuration file to read.
    pub file: Option<PathBuf>,
    /// Each setting that has a flag, with its text.
    pub settings: Vec<(&'static Setting, OsString)>,
    /// Start in spite of damage.
    pub salvage: bool,
}

/// A configuration, and where each value came from.
#[derive(Debug)]
pub struct Resolved {
    /// What the node runs with.
    pub config: Config,
    sources: Vec<(&'static str, Source)>,
    notes: Vec<Note>,
}

/// One setting's effective value.
#[derive(Debug)]
pub struct EffectiveValue<'a> {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value, as text that parses back to it.
    pub text: String,
    /// Where it came from.
    pub source: &'a Source,
    /// How it was chosen, if it was.
    pub note: Option<&'a str>,
}

/// How the value of a setting was chosen.
#[derive(Debug)]
struct Note {
    setting: &'static str,
    text: String,
}

impl Note {
    fn new(setting: &'static str, text: String) -> Note {
        Note { setting, text }
    }
}

impl Resolved {
    /// The configuration of this process: `flags` over its environment over its file.
    ///
    /// # Errors
    /// With everything that is wrong, each a sentence for the person who starts the node.
    pub fn of_process(flags: Flags) -> Result<Resolved, Rejected> {
        Resolved::new(
            flags,
            std::env::vars_os(),
            Path::new(DEFAULT_FILE),
            Machine::read(),
        )
    }

    /// The configuration of a process with this environment, on this machine.
    ///
    /// # Errors
    /// With everything that is wrong, each a sentence for the person who starts the node.
    pub fn new(
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        default_file: &Path,
        machine: Machine,
    ) -> Result<Resolved, Rejected> {
        let environment: Vec<(OsString, OsString)> = environment.into_iter().collect();
        let named = layers::named_file(flags.file, &environment);
        let file = file::Contents::find(named, default_file).map_err(|error| Rejected {
            errors: vec![error],
        })?;
        let mut errors = Vec::new();
        let layers = layers::Layers::new(flags.settings, environment, file.as_ref(), &mut errors);
        // Relations are checked even if a name was unknown, so that one round of mending does.
        let decided = settings::Requested::gather(&layers, &mut errors).and_then(|requested| {
            decide::decide(&requested, flags.salvage, machine, &mut errors)
                .map(|decided| (decided, requested.sources()))
        });
        match decided {
            Some(((config, notes), sources)) if errors.is_empty() => Ok(Resolved {
                config,
                sources,
                notes,
            }),
            _ => Err(Rejected { errors }),
        }
    }

    /// Every setting's effective value, in the table's order.
    pub fn values(&self) -> impl Iterator<Item = EffectiveValue<'_>> {
        SETTINGS
            .iter()
            .zip(&self.sources)
            .map(|(setting, (name, source))| {
                debug_assert_eq!(
                    setting.name, *name,
                    "sources are gathered in the table's order"
                );
                let note = self
                    .notes
                    .iter()
                    .find(|note| note.setting == *name)
                    .map(|note| note.text.as_str());
                EffectiveValue {
                    setting,
                    text: setting.shown(&self.config),
                    source,
                    note,
                }
            })
    }
}
