//! The effective configuration for people and for programs: what `corduroy config` prints.
//!
//! As text it is itself a configuration file: each line a setting, and in a comment where its value came from. Saved and
//! given back it means the same node, whatever machine it then runs on.

use std::io::{self, Write};

use serde_json::json;

use super::Resolved;
use super::settings::SETTINGS;

/// A setting's text as a TOML value: a bare number if it is one, a string otherwise.
pub(super) fn toml_text(text: &str) -> String {
    if text.parse::<u32>().is_ok() {
        text.to_owned()
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}

/// Writes the configuration as TOML with comments.
///
/// # Errors
/// When `output` refuses.
pub fn write_toml(resolved: &Resolved, output: &mut dyn Write) -> io::Result<()> {
    let lines: Vec<(String, String)> = resolved
        .values()
        .map(|value| {
            let note = value
                .note
                .map_or_else(String::new, |note| format!(": {note}"));
            let line = format!("{} = {}", value.setting.name, toml_text(&value.text));
            (
                line,
                format!("{}{note}", value.source.origin(value.setting)),
            )
        })
        .collect();
    let width = lines
        .iter()
        .map(|(line, _)| line.chars().count())
        .max()
        .unwrap_or(0);
    for (line, comment) in lines {
        writeln!(output, "{line:width$}  # {comment}")?;
    }
    if resolved.config.salvage {
        writeln!(
            output,
            "# salvage, by the flag --salvage: a start that leaves out what is damaged"
        )?;
    }
    Ok(())
}

/// Writes the configuration as one JSON object: by setting, `value` as it can be given, `source` (`flag`, `environment`, `file`
/// or `default`), `origin` in words, and `note` on how a value was chosen, or null.
///
/// # Errors
/// When `output` refuses.
pub fn write_json(resolved: &Resolved, output: &mut dyn Write) -> io::Result<()> {
    let mut settings = serde_json::Map::with_capacity(SETTINGS.len());
    for value in resolved.values() {
        let origin = value.source.origin(value.setting);
        let row = json!({ "value": value.text, "source": value.source.word(), "origin": origin, "note": value.note });
        settings.insert(value.setting.name.to_owned(), row);
    }
    let object = json!({ "settings": settings, "salvage": resolved.config.salvage });
    serde_json::to_writer_pretty(&mut *output, &object)?;
    writeln!(output)
}
