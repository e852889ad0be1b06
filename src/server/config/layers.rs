//! The layers of a configuration: what each of flags, environment and file says, as text with its source.
//!
//! [`Layers::new`] collects, refusing names that mean nothing; [`Layers::parse`] then takes the highest layer's text for
//! one setting. A value that a higher layer covers is not looked at, so a flag can always mend what the others say.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use super::error::{ConfigError, nearest};
use super::file;
use super::kinds::Kind;
use super::settings::{SETTINGS, Setting, VARIABLE_PREFIX};

/// Flags that can't be kept in a file or in the environment.
pub(super) const FLAGS_ONLY: [&str; 1] = ["salvage"];

/// Names the configuration file.
const CONFIG_VARIABLE: &str = "CORDUROY_CONFIG";

/// Variables that begin as settings do and belong to others: the file itself, the command line client, the tests.
const OTHER_VARIABLES: [&str; 4] = [
    CONFIG_VARIABLE,
    "CORDUROY_SERVER",
    "CORDUROY_KEYSPACE",
    "CORDUROY_TESTS",
];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag on the command line.
    Flag,
    /// An environment variable.
    Environment,
    /// A key of the configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The value's line, from 1.
        line: usize,
    },
    /// Nobody said anything.
    Default,
}

impl Source {
    /// One word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Source::Flag => "flag",
            Source::Environment => "environment",
            Source::File { .. } => "file",
            Source::Default => "default",
        }
    }

    /// Where a person finds what set `setting`.
    #[must_use]
    pub fn origin(&self, setting: &Setting) -> String {
        match self {
            Source::Flag => format!("flag --{}", setting.flag()),
            Source::Environment => format!("environment {}", setting.variable()),
            Source::File { path, line } => format!("{}:{line}", path.display()),
            Source::Default => "default".to_owned(),
        }
    }
}

/// A value, and where it came from.
#[derive(Debug)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) source: Source,
    /// The source in words.
    pub(super) origin: String,
}

/// What one layer says about one setting.
struct Text {
    text: OsString,
    source: Source,
}

/// The text of each setting that any layer names: the highest one's.
pub(super) struct Layers {
    texts: BTreeMap<&'static str, Text>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.texts.iter().map(|(name, text)| (name, &text.text)))
            .finish()
    }
}

impl Layers {
    /// Lays flags over the environment over the file. Names that mean nothing are added to `errors`.
    pub(super) fn new(
        flags: impl IntoIterator<Item = (&'static Setting, OsString)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&file::Contents>,
        errors: &mut Vec<ConfigError>,
    ) -> Layers {
        let mut texts = BTreeMap::new();
        if let Some(contents) = file {
            for (setting, text, line) in contents.entries(errors) {
                let source = Source::File {
                    path: contents.path.clone(),
                    line,
                };
                texts.insert(
                    setting.name,
                    Text {
                        text: text.into(),
                        source,
                    },
                );
            }
        }
        for (name, text) in environment {
            if let Some(setting) = setting_of_variable(&name, &text, errors) {
                texts.insert(
                    setting.name,
                    Text {
                        text,
                        source: Source::Environment,
                    },
                );
            }
        }
        for (setting, text) in flags {
            texts.insert(
                setting.name,
                Text {
                    text,
                    source: Source::Flag,
                },
            );
        }
        Layers { texts }
    }

    /// The value of one setting. `None` after adding what is wrong with it to `errors`.
    pub(super) fn parse<K: Kind>(
        &self,
        name: &str,
        kind: &K,
        errors: &mut Vec<ConfigError>,
    ) -> Option<Given<K::Value>> {
        let setting = Setting::named(name).expect("only settings of the table are parsed");
        let (text, source) = match self.texts.get(setting.name) {
            Some(Text { text, source }) => (text.as_os_str(), source.clone()),
            None => (OsStr::new(setting.default), Source::Default),
        };
        let origin = source.origin(setting);
        let Some(text) = text.to_str() else {
            let text = text.to_string_lossy().into_owned();
            errors.push(ConfigError::NotUtf8 {
                setting: setting.name,
                origin,
                text,
            });
            return None;
        };
        match kind.parse(text) {
            Ok(value) => Some(Given {
                value,
                source,
                origin,
            }),
            Err(reason) => {
                let (text, allowed) = (text.to_owned(), kind.allowed());
                errors.push(ConfigError::Value {
                    setting: setting.name,
                    origin,
                    text,
                    reason,
                    allowed,
                });
                None
            }
        }
    }
}

/// The file that was named, and by what: the flag before the environment.
pub(super) fn named_file(
    flag: Option<PathBuf>,
    environment: &[(OsString, OsString)],
) -> Option<(PathBuf, &'static str)> {
    if let Some(path) = flag {
        return Some((path, "flag --config"));
    }
    let (_, path) = environment
        .iter()
        .find(|(name, _)| name == CONFIG_VARIABLE)?;
    Some((PathBuf::from(path), "environment CORDUROY_CONFIG"))
}

/// The setting that an environment variable means; an error if it begins like one and is none.
fn setting_of_variable(
    name: &OsStr,
    value: &OsStr,
    errors: &mut Vec<ConfigError>,
) -> Option<&'static Setting> {
    let name = name.to_string_lossy();
    let key = name.strip_prefix(VARIABLE_PREFIX)?.to_ascii_lowercase();
    if let Some(setting) = SETTINGS.iter().find(|setting| *name == setting.variable()) {
        return Some(setting);
    }
    if OTHER_VARIABLES.contains(&&*name) || is_service_link(&key, value) {
        return None;
    }
    if let Some(&flag) = FLAGS_ONLY.iter().find(|flag| key == **flag) {
        errors.push(ConfigError::FlagOnly {
            name: flag,
            origin: format!("environment {name}"),
        });
        return None;
    }
    let nearest = nearest_setting(&key).map(Setting::variable);
    errors.push(ConfigError::UnknownVariable {
        name: name.into_owned(),
        nearest,
    });
    None
}

/// The setting whose name is near enough to a misspelt one.
pub(super) fn nearest_setting(key: &str) -> Option<&'static Setting> {
    nearest(key, SETTINGS.iter().map(|setting| setting.name)).and_then(Setting::named)
}

/// Whether a variable was put there by a container orchestrator, for a service that happens to be called `corduroy…`:
/// `CORDUROY_SERVICE_HOST`, `CORDUROY_PORT=tcp://…`, `CORDUROY_PORT_7379_TCP_ADDR`. Whoever deploys the node didn't write
/// those and can hardly remove them, so they must not keep it from starting.
fn is_service_link(key: &str, value: &OsStr) -> bool {
    if key.ends_with("service_host")
        || key.ends_with("service_port")
        || key.contains("service_port_")
    {
        return true;
    }
    let is_url = value.to_str().is_some_and(|value| value.contains("://"));
    if key == "port" || key.ends_with("_port") {
        return is_url;
    }
    let Some((_, tail)) = key.rsplit_once("port_") else {
        return false;
    };
    let mut parts = tail.split('_');
    let numbered = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
    numbered
        && parts
            .next()
            .is_some_and(|protocol| ["tcp", "udp", "sctp"].contains(&protocol))
}
