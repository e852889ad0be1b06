//! What can be wrong with a configuration, each as a sentence that names the setting, where its value came from, the value,
//! and what to write instead. Nothing was changed on the machine when any of these is returned.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Everything that is wrong with a configuration, so that it can be mended at one go.
#[derive(Debug, Error)]
pub struct Rejected {
    /// At least one.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A setting's text is not a value of its kind.
    #[error("{setting} can't be \"{text}\" ({origin}): {reason}; allowed is {allowed}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// Where the text came from.
        origin: String,
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: ValueError,
        /// What is allowed.
        allowed: String,
    },
    /// A flag or a variable holds bytes that are not UTF-8.
    #[error("{setting} can't be {text:?} ({origin}): it is not UTF-8")]
    NotUtf8 {
        /// The setting.
        setting: &'static str,
        /// Where it came from.
        origin: String,
        /// What was given, as far as it can be shown.
        text: String,
    },
    /// A key of the file is no setting.
    #[error("{}:{line}: there is no setting \"{key}\"{}", .path.display(), suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key's line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The setting that it looks like.
        nearest: Option<String>,
    },
    /// A `CORDUROY_*` variable is no setting.
    #[error("there is no setting for the environment variable {name}{}", suggestion(.nearest.as_deref()))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The variable that it looks like.
        nearest: Option<String>,
    },
    /// Something that is a flag only stands in the file or in the environment.
    #[error(
        "{origin}: {name} can only be given as the flag --{name}, for one start: kept in a file or in the environment \
         it would drop damaged data at a later start that nobody watches"
    )]
    FlagOnly {
        /// The flag without its dashes.
        name: &'static str,
        /// Where it stands.
        origin: String,
    },
    /// The file has a value that is neither text nor a whole number.
    #[error(
        "{}:{line}: {setting} is {found} here; write it as a string or a whole number, such as {setting} = {example}",
        .path.display()
    )]
    FileType {
        /// The file.
        path: PathBuf,
        /// The value's line, from 1.
        line: usize,
        /// The setting.
        setting: &'static str,
        /// The TOML type that was found.
        found: &'static str,
        /// The setting's default as TOML.
        example: String,
    },
    /// The file is not TOML.
    #[error("{}:{line}: this is not TOML: {message}", .path.display())]
    FileSyntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The file can't be read.
    #[error("can't read the configuration file {} ({origin}): {source}", .path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why this file is read.
        origin: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The file is too long to be a configuration.
    #[error("the configuration file {} is longer than {len_max} bytes: is it another file?", .path.display())]
    FileTooLong {
        /// The file.
        path: PathBuf,
        /// The longest that is read.
        len_max: u64,
    },
    /// The machine doesn't say what it has.
    #[error("can't find out {what} ({}): {source}; give {setting} by hand", .path.display())]
    Machine {
        /// What was to be found out.
        what: &'static str,
        /// The setting that makes it unnecessary.
        setting: &'static str,
        /// The file or call that was asked.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// More cores are wanted than the process may run on.
    #[error(
        "cores = {asked} ({origin}) is more than the {} that this process may run on ({available}): lower it, or widen \
         the process's CPU affinity (taskset, cpuset)", counted(*.available_count, "core")
    )]
    CoreCount {
        /// How many are wanted.
        asked: usize,
        /// Where that was said.
        origin: String,
        /// How many there are.
        available_count: usize,
        /// Which.
        available: String,
    },
    /// A listed core is not one that the process may run on.
    #[error(
        "cores = {asked} ({origin}) names {missing}, on which this process may not run (it may on {available}): change the \
         list, or widen the process's CPU affinity (taskset, cpuset)"
    )]
    CoreMissing {
        /// The list.
        asked: String,
        /// Where it was said.
        origin: String,
        /// The listed cores that are not available.
        missing: String,
        /// Those that are.
        available: String,
    },
    /// A new segment can't hold what it must.
    #[error(
        "segment_len = {segment_len} ({origin}) is too short for value_len_max = {value_len_max} ({value_origin}): a \
         segment holds at least one of the longest values and {slack}; raise segment_len to {needed}, or lower \
         value_len_max to {value_len_fitting}"
    )]
    SegmentTooShort {
        /// The segment's length.
        segment_len: String,
        /// Where it was said.
        origin: String,
        /// The longest value.
        value_len_max: String,
        /// Where that was said.
        value_origin: String,
        /// What a segment holds besides.
        slack: String,
        /// The shortest segment that will do.
        needed: String,
        /// The longest value that will do.
        value_len_fitting: String,
    },
    /// The replies that may wait for a connection don't hold the longest one.
    #[error(
        "output_bytes_max = {output_bytes_max} ({origin}) is too small for value_len_max = {value_len_max} \
         ({value_origin}): one reply must fit, with {slack} for its key and frame; raise output_bytes_max to {needed}"
    )]
    OutputTooSmall {
        /// What may wait.
        output_bytes_max: String,
        /// Where it was said.
        origin: String,
        /// The longest value.
        value_len_max: String,
        /// Where that was said.
        value_origin: String,
        /// What a reply holds besides.
        slack: String,
        /// The least that will do.
        needed: String,
    },
    /// Backups are due, and go nowhere.
    #[error(
        "backup_every = {backup_every} ({origin}) needs a place for the backups; set backup_directory"
    )]
    NoBackupDirectory {
        /// How often.
        backup_every: String,
        /// Where it was said.
        origin: String,
    },
    /// More memory than there is.
    #[error(
        "memory = {memory} ({origin}) is more than the {available} of {limit}: the kernel would end the node under load; \
         lower it, and leave room for the page cache"
    )]
    MemoryBeyondMachine {
        /// What is wanted.
        memory: String,
        /// Where that was said.
        origin: String,
        /// What there is.
        available: String,
        /// Who says so.
        limit: &'static str,
    },
    /// Less memory than the shards need.
    #[error(
        "memory = {memory} ({origin}) is too little for {} with segments of {segment_len}, which need {needed}: {}",
        counted(*.shard_count, "shard"), remedies(*.memory_raise, .needed, *.shard_count_fitting, *.segment_given)
    )]
    MemoryTooSmall {
        /// What there is.
        memory: String,
        /// Where that was said.
        origin: String,
        /// Number of shards.
        shard_count: usize,
        /// Length of their segments.
        segment_len: String,
        /// Whether that length was given, not chosen by the longest value.
        segment_given: bool,
        /// The least that will do.
        needed: String,
        /// Whether the machine has that much.
        memory_raise: bool,
        /// How many shards would fit.
        shard_count_fitting: usize,
    },
}

/// Why a text is not a value of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// Not an address with a port.
    #[error("it is not an IP address with a port (a host's name is not looked up)")]
    Address,
    /// Neither an address with a port nor `off`.
    #[error("it is neither off nor an IP address with a port (a host's name is not looked up)")]
    AddressOrOff,
    /// Not a whole number.
    #[error("it is not a whole number")]
    Number,
    /// Not a size.
    #[error("it is not a size")]
    Bytes,
    /// Not a time.
    #[error("it is not a time with a unit")]
    Time,
    /// Too small or too large.
    #[error("it is out of bounds")]
    OutOfBounds,
    /// A size that must be a power of two.
    #[error("it is not a power of two")]
    NotPowerOfTwo,
    /// Neither `all` nor a number nor a list.
    #[error("it is neither all nor a number nor a list of CPU numbers")]
    Cores,
    /// A range from a higher to a lower number.
    #[error("{first}-{last} runs backwards")]
    CoresBackwards {
        /// Where the range begins.
        first: usize,
        /// Where it ends.
        last: usize,
    },
    /// One core in two places of a list.
    #[error("it names core {core} twice")]
    CoreTwice {
        /// The core.
        core: usize,
    },
    /// None of the words that are allowed.
    #[error("it is none of the choices{}", suggestion(*.nearest))]
    Choice {
        /// The word that it looks like.
        nearest: Option<&'static str>,
    },
    /// Directives with letters that no target has.
    #[error("it has characters other than ASCII")]
    NotAscii,
    /// Directives that the log filter refuses.
    #[error("the filter says: {reason}")]
    Filter {
        /// What it says.
        reason: String,
    },
}

impl ValueError {
    /// That `text` is none of `choices`, with the nearest of them.
    pub(super) fn choice(text: &str, choices: &[&'static str]) -> ValueError {
        ValueError::Choice {
            nearest: nearest(text, choices.iter().copied()),
        }
    }
}

/// The candidate that a misspelt word most likely means, if any is near enough to be worth saying.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.75;
    // Letters that are wrong, missing or swapped count first; a common beginning helps where words differ in length.
    let similarity = |candidate: &str| {
        let edits = strsim::normalized_damerau_levenshtein(word, candidate);
        let prefix = strsim::jaro_winkler(word, candidate);
        (edits + prefix, edits.max(prefix))
    };
    candidates
        .into_iter()
        .map(|candidate| (similarity(candidate), candidate))
        .filter(|((_, best), _)| *best >= SIMILARITY_MIN)
        .map(|((sum, _), candidate)| (sum, candidate))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

fn remedies(
    memory_raise: bool,
    needed: &str,
    shard_count_fitting: usize,
    segment_given: bool,
) -> String {
    let mut remedies = Vec::new();
    if memory_raise {
        remedies.push(format!("raise memory to {needed}"));
    }
    if shard_count_fitting > 0 {
        remedies.push(format!("take fewer cores (--cores {shard_count_fitting})"));
    }
    let shorter = if segment_given {
        "lower segment_len"
    } else {
        "lower value_len_max, by which segment_len is chosen"
    };
    remedies.push(shorter.to_owned());
    remedies.join(", or ")
}
