//! How the text of a setting becomes a value: one [`Kind`] for each sort of setting, with its bounds.
//!
//! A kind also says in words what it allows. Error messages, `--help` and the documentation use those words, so a bound
//! that changes changes everywhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::error::ValueError;

/// A sort of setting.
pub(super) trait Kind {
    /// What its text becomes: a type without disallowed values.
    type Value;

    /// The value, or why the text is none.
    fn parse(&self, text: &str) -> Result<Self::Value, ValueError>;

    /// What is allowed, as a noun phrase that can end a sentence.
    fn allowed(&self) -> String;
}

/// A directory's path, relative to the current directory.
pub(super) struct Directory;

impl Kind for Directory {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Result<PathBuf, ValueError> {
        if text.is_empty() {
            Err(ValueError::Empty)
        } else {
            Ok(PathBuf::from(text))
        }
    }

    fn allowed(&self) -> String {
        "a directory's path".into()
    }
}

/// A directory's path, or `off` for none.
pub(super) struct DirectoryOrOff;

impl Kind for DirectoryOrOff {
    type Value = Option<PathBuf>;

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, ValueError> {
        match text {
            "off" => Ok(None),
            path => Directory.parse(path).map(Some),
        }
    }

    fn allowed(&self) -> String {
        "off, or a directory's path".into()
    }
}

/// An IP address with a port.
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn parse(&self, text: &str) -> Result<SocketAddr, ValueError> {
        text.parse().map_err(|_| ValueError::Address)
    }

    fn allowed(&self) -> String {
        "an IP address and a port, such as 127.0.0.1:7379, 0.0.0.0:7379 or [::1]:7379".into()
    }
}

/// An address, or `off` for none.
pub(super) struct AddressOrOff;

impl Kind for AddressOrOff {
    type Value = Option<SocketAddr>;

    fn parse(&self, text: &str) -> Result<Option<SocketAddr>, ValueError> {
        if text == "off" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| ValueError::AddressOrOff)
    }

    fn allowed(&self) -> String {
        "off, or an IP address and a port, such as 127.0.0.1:7381".into()
    }
}

/// A whole number.
pub(super) struct Count {
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Kind for Count {
    type Value = usize;

    fn parse(&self, text: &str) -> Result<usize, ValueError> {
        let number: usize = text.parse().map_err(|_| ValueError::Number)?;
        if (self.min..=self.max).contains(&number) {
            Ok(number)
        } else {
            Err(ValueError::OutOfBounds)
        }
    }

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
}

/// A number of bytes, with or without a unit.
pub(super) struct Bytes {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Kind for Bytes {
    type Value = u64;

    fn parse(&self, text: &str) -> Result<u64, ValueError> {
        let ByteSize(bytes) = text.parse().map_err(|_| ValueError::Bytes)?;
        if (self.min..=self.max).contains(&bytes) {
            Ok(bytes)
        } else {
            Err(ValueError::OutOfBounds)
        }
    }

    fn allowed(&self) -> String {
        format!(
            "a size from {} to {} (1KiB is 1024 bytes, 1kB is 1000)",
            bytes_text(self.min),
            bytes_text(self.max)
        )
    }
}

/// [`Bytes`] that are a power of two.
pub(super) struct PowerOfTwo(pub(super) Bytes);

impl Kind for PowerOfTwo {
    type Value = u64;

    fn parse(&self, text: &str) -> Result<u64, ValueError> {
        let bytes = self.0.parse(text)?;
        if bytes.is_power_of_two() {
            Ok(bytes)
        } else {
            Err(ValueError::NotPowerOfTwo)
        }
    }

    fn allowed(&self) -> String {
        format!(
            "a power of two from {} to {}",
            bytes_text(self.0.min),
            bytes_text(self.0.max)
        )
    }
}

/// Another kind, or `auto`: `None`, to be decided from the machine and the other settings.
pub(super) struct Auto<K>(pub(super) K);

impl<K: Kind> Kind for Auto<K> {
    type Value = Option<K::Value>;

    fn parse(&self, text: &str) -> Result<Self::Value, ValueError> {
        if text == "auto" {
            Ok(None)
        } else {
            self.0.parse(text).map(Some)
        }
    }

    fn allowed(&self) -> String {
        format!("auto, or {}", self.0.allowed())
    }
}

/// A length of time.
pub(super) struct Time {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Kind for Time {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, ValueError> {
        let time = humantime::parse_duration(text).map_err(|_| ValueError::Time)?;
        if (self.min..=self.max).contains(&time) {
            Ok(time)
        } else {
            Err(ValueError::OutOfBounds)
        }
    }

    fn allowed(&self) -> String {
        format!(
            "a time from {} to {}",
            time_text(self.min),
            time_text(self.max)
        )
    }
}

/// A length of time, or `0` for none.
pub(super) struct TimeOrNone(pub(super) Time);

impl Kind for TimeOrNone {
    type Value = Option<Duration>;

    fn parse(&self, text: &str) -> Result<Option<Duration>, ValueError> {
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Ok(None),
            _ => self.0.parse(text).map(Some),
        }
    }

    fn allowed(&self) -> String {
        format!("0 (none), or {}", self.0.allowed())
    }
}

/// A size that parses back to exactly this many bytes, in the largest unit that divides it.
pub(super) fn bytes_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    UNITS
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || bytes.to_string(),
            |(unit, name)| format!("{}{name}", bytes / unit),
        )
}

/// A time that parses back to exactly this long.
pub(super) fn time_text(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
