//! The JSON Schema of a report: made of the types by a test, kept in `docs/` where those who write readers find it, and part of the program.

/// The schema (draft 2020-12) as it is kept in `docs/bench-results.schema.json`.
pub const JSON_SCHEMA: &str = include_str!("../../../../docs/bench-results.schema.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Report, SCHEMA};

    /// Write the file anew instead of comparing it.
    const UPDATE: &str = "CORDUROY_UPDATE_SCHEMA";

    // A schema that is written by hand is right until the next field.
    #[test]
    fn the_schema_is_that_of_the_types() {
        let mut schema = schemars::schema_for!(Report);
        schema.insert(
            "title".to_owned(),
            format!("A report of corduroy-bench, schema {SCHEMA}").into(),
        );
        let mut text = serde_json::to_string_pretty(&schema).unwrap();
        text.push('\n');
        if std::env::var_os(UPDATE).is_some() {
            let path = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../docs/bench-results.schema.json"
            );
            std::fs::write(path, &text).unwrap();
            return;
        }
        assert!(
            text == JSON_SCHEMA,
            "docs/bench-results.schema.json is out of date; {UPDATE}=1 cargo test -p corduroy-bench --lib schema"
        );
    }
}
