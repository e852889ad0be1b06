//! The JSON form of results about keys. Its names are part of the interface: they may be added to, and never changed.

use super::Reply;
use super::keys::ListedKey;
use crate::text::json::JsonBytes;
use serde_json::{Map, Value, json};

fn json_bytes(bytes: &[u8]) -> Value {
    json!(JsonBytes(bytes))
}

/// What a command on `key` came to.
pub(super) fn of_reply(key: &[u8], reply: &Reply) -> Value {
    let mut object = Map::new();
    let mut set = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    set("key", json_bytes(key));
    match reply {
        Reply::Found { value, .. } => {
            set("found", true.into());
            set("value", json_bytes(value));
        }
        Reply::NotFound => set("found", false.into()),
        Reply::Done { old, .. } => {
            set("done", true.into());
            if let Some(old) = old {
                set("old_value", old.as_deref().map_or(Value::Null, json_bytes));
            }
        }
        Reply::ConditionFailed { value, .. } => {
            set("done", false.into());
            if let Some(value) = value {
                set("value", json_bytes(value));
            }
        }
        Reply::Counter { value, .. } => set("value", (*value).into()),
        Reply::Length { length, .. } => set("length", (*length).into()),
        Reply::Ttl(left) => set(
            "ttl_ms",
            left.map_or(Value::Null, |left| json!(left.as_millis())),
        ),
        Reply::Exists(exists) => set("found", (*exists).into()),
    }
    let stamp = match reply {
        Reply::Found { stamp, .. }
        | Reply::Done { stamp, .. }
        | Reply::Counter { stamp, .. }
        | Reply::Length { stamp, .. } => Some(*stamp),
        Reply::ConditionFailed { current, .. } => *current,
        Reply::NotFound | Reply::Ttl(_) | Reply::Exists(_) => None,
    };
    if let Some(stamp) = stamp {
        set("version", stamp.version.into());
        set("timestamp_ms", stamp.timestamp_ms.into());
    }
    Value::Object(object)
}

/// One key of a scan.
pub(super) fn of_listed(key: &ListedKey) -> Value {
    let mut object = Map::new();
    object.insert("key".to_owned(), json_bytes(&key.key));
    if let Some(value) = &key.value {
        object.insert("value".to_owned(), json_bytes(value));
    }
    object.insert("version".to_owned(), key.stamp.version.into());
    object.insert("timestamp_ms".to_owned(), key.stamp.timestamp_ms.into());
    if let Some(expires_at_ms) = key.expires_at_ms {
        object.insert("expires_at_ms".to_owned(), expires_at_ms.into());
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::super::Stamp;
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;

    const STAMP: Stamp = Stamp {
        version: 7,
        timestamp_ms: 1000,
    };

    /// Programs parse this; a field that changes its name or its kind breaks them.
    #[test]
    fn json_is_stable() {
        let cases = [
            (
                Reply::Found {
                    value: Bytes::from_static(b"v"),
                    stamp: STAMP,
                },
                r#"{"found":true,"key":"k","timestamp_ms":1000,"value":"v","version":7}"#,
            ),
            (Reply::NotFound, r#"{"found":false,"key":"k"}"#),
            (
                Reply::Done {
                    stamp: STAMP,
                    old: None,
                },
                r#"{"done":true,"key":"k","timestamp_ms":1000,"version":7}"#,
            ),
            (
                Reply::Done {
                    stamp: STAMP,
                    old: Some(None),
                },
                r#"{"done":true,"key":"k","old_value":null,"timestamp_ms":1000,"version":7}"#,
            ),
            (
                Reply::ConditionFailed {
                    current: Some(STAMP),
                    value: Some(Bytes::from_static(b"\xff")),
                },
                r#"{"done":false,"key":"k","timestamp_ms":1000,"value":{"base64":"/w=="},"version":7}"#,
            ),
            (
                Reply::ConditionFailed {
                    current: None,
                    value: None,
                },
                r#"{"done":false,"key":"k"}"#,
            ),
            (
                Reply::Counter {
                    value: -3,
                    stamp: STAMP,
                },
                r#"{"key":"k","timestamp_ms":1000,"value":-3,"version":7}"#,
            ),
            (Reply::Ttl(None), r#"{"key":"k","ttl_ms":null}"#),
            (
                Reply::Ttl(Some(Duration::from_millis(5))),
                r#"{"key":"k","ttl_ms":5}"#,
            ),
            (Reply::Exists(true), r#"{"found":true,"key":"k"}"#),
        ];
        for (reply, expected) in cases {
            assert_eq!(of_reply(b"k", &reply).to_string(), expected);
        }
    }
}
