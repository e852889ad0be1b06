//! The configuration file: TOML, flat, one key a setting, each value with its line.

#![expect(
    clippy::result_large_err,
    reason = "an error here ends the start: it is made once, and its size costs nothing"
)]

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::layers::{FLAGS_ONLY, nearest_setting};
use super::print::toml_text;
use super::settings::Setting;
use crate::limits::CONFIG_FILE_LEN_MAX;

/// What a file holds.
pub(super) struct Contents {
    /// The file, as it was named.
    pub(super) path: PathBuf,
    text: String,
}

impl Contents {
    /// The file to go by: the one that was named, which must be there, or the default one if it is.
    ///
    /// # Errors
    /// When it can't be read, or is far too long.
    pub(super) fn find(
        named: Option<(PathBuf, &'static str)>,
        default: &Path,
    ) -> Result<Option<Contents>, ConfigError> {
        let Some((path, origin)) = named else {
            return Contents::read(default, "the default file");
        };
        match Contents::read(&path, origin)? {
            Some(contents) => Ok(Some(contents)),
            None => Err(ConfigError::FileUnreadable {
                path,
                origin,
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Reads a file. `None`: there is none at `path`.
    fn read(path: &Path, origin: &'static str) -> Result<Option<Contents>, ConfigError> {
        let unreadable = |source| ConfigError::FileUnreadable {
            path: path.to_owned(),
            origin,
            source,
        };
        let mut text = String::new();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        // One byte more than is allowed tells a file at the limit from one beyond it.
        let len = file
            .take(CONFIG_FILE_LEN_MAX + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if len as u64 > CONFIG_FILE_LEN_MAX {
            return Err(ConfigError::FileTooLong {
                path: path.to_owned(),
                len_max: CONFIG_FILE_LEN_MAX,
            });
        }
        Ok(Some(Contents {
            path: path.to_owned(),
            text,
        }))
    }

    /// The settings that it gives: text and line of each. What is wrong is added to `errors`.
    pub(super) fn entries(
        &self,
        errors: &mut Vec<ConfigError>,
    ) -> Vec<(&'static Setting, String, usize)> {
        let table = match DeTable::parse(&self.text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let line = self.line(error.span().map_or(0, |span| span.start));
                let message = error.message().to_owned();
                errors.push(ConfigError::FileSyntax {
                    path: self.path.clone(),
                    line,
                    message,
                });
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for (key, value) in &table {
            match self.entry(key.get_ref(), self.line(key.span().start), value) {
                Ok(entry) => entries.push(entry),
                Err(error) => errors.push(error),
            }
        }
        entries
    }

    fn entry(
        &self,
        key: &str,
        key_line: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(&'static Setting, String, usize), ConfigError> {
        let Some(setting) = Setting::named(key) else {
            if let Some(&name) = FLAGS_ONLY.iter().find(|flag| **flag == key) {
                let origin = format!("{}:{key_line}", self.path.display());
                return Err(ConfigError::FlagOnly { name, origin });
            }
            let nearest =
                nearest_setting(&key.replace('-', "_")).map(|setting| setting.name.to_owned());
            return Err(ConfigError::UnknownKey {
                path: self.path.clone(),
                line: key_line,
                key: key.to_owned(),
                nearest,
            });
        };
        let line = self.line(value.span().start);
        let found = match value.get_ref() {
            DeValue::String(text) => return Ok((setting, text.clone().into_owned(), line)),
            DeValue::Integer(number) if number.radix() == 10 => {
                return Ok((setting, number.as_str().replace('_', ""), line));
            }
            DeValue::Integer(_) => "a number that is not decimal",
            DeValue::Float(_) => "a number with a fraction or an exponent",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let example = toml_text(setting.default);
        Err(ConfigError::FileType {
            path: self.path.clone(),
            line,
            setting: setting.name,
            found,
            example,
        })
    }

    /// The line, from 1, that holds a byte.
    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}
