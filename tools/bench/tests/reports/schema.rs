//! The schema and the reports that are written agree.

use corduroy_bench::results::{JSON_SCHEMA, Report};
use serde_json::{Value, json};

use crate::fixture;

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(JSON_SCHEMA).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
}

fn value(report: &Report) -> Value {
    serde_json::to_value(report).expect("a report is JSON")
}

#[test]
fn what_is_written_is_valid() {
    let validator = validator();
    for report in [
        fixture::single(),
        fixture::closed(),
        fixture::untrusted(),
        fixture::sweep(),
    ] {
        let value = value(&report);
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

// A schema that lets everything through is valid for everything.
#[test]
fn what_is_wrong_is_not() {
    let validator = validator();
    let broken = |change: fn(&mut Value)| {
        let mut value = value(&fixture::closed());
        change(&mut value);
        !validator.is_valid(&value)
    };
    assert!(!broken(|_| {}));
    assert!(broken(
        |report| report["runs"][0]["throughput"] = json!("fast")
    ));
    assert!(broken(
        |report| report["runs"][0]["latencies"][0]["operation"] = json!("fly")
    ));
    assert!(broken(
        |report| report["runs"][0]["pacing"] = json!({"kind": "open-loop"})
    ));
    assert!(broken(|report| {
        report.as_object_mut().unwrap().remove("machine");
    }));
}
