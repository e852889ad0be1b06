//! Bytes in JSON: a string where they are UTF-8, else `{"base64": "…"}`.
//!
//! Most keys and values are text, and JSON should show them as such; the rest must still come back byte for byte. The object
//! form can't be mistaken for a string, so reading needs no flag. The reader also takes the object form for
//! bytes that are UTF-8: a producer that does not want to look may encode everything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Borrowed bytes that serialize in the form above.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonBytes<'a>(pub(crate) &'a [u8]);

impl Serialize for JsonBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("base64", STANDARD.encode(self.0))]),
        }
    }
}

/// Owned bytes that deserialize from either form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JsonBuf(pub(crate) Vec<u8>);

impl Serialize for JsonBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        JsonBytes(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor).map(Self)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or {\"base64\": \"…\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Vec<u8>, E> {
        Ok(text.into_bytes())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
        let Some((name, text)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::missing_field("base64"));
        };
        if name != "base64" {
            return Err(de::Error::unknown_field(&name, &["base64"]));
        }
        if map.next_key::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::custom(
                "bytes are {\"base64\": \"…\"} and nothing beside it",
            ));
        }
        STANDARD
            .decode(text)
            .map_err(|error| de::Error::custom(format_args!("base64: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A value that came back as other bytes, because it looked like text or like base64, would be silent damage.
        #[test]
        fn round_trips(bytes: Vec<u8>) {
            let text = serde_json::to_string(&JsonBytes(&bytes)).unwrap();
            prop_assert_eq!(serde_json::from_str::<JsonBuf>(&text).unwrap().0, bytes);
        }

        #[test]
        fn text_stays_text(text: String) {
            let json = serde_json::to_value(JsonBytes(text.as_bytes())).unwrap();
            prop_assert_eq!(json.as_str(), Some(text.as_str()));
        }
    }

    /// A number or a list where bytes belong is a mistake in the file, not the bytes of its spelling.
    #[test]
    fn refuses_what_is_not_bytes() {
        for json in [
            "1",
            "null",
            "[]",
            "{}",
            r#"{"base65":"AA=="}"#,
            r#"{"base64":"A"}"#,
            r#"{"base64":"AA==","more":1}"#,
        ] {
            assert!(serde_json::from_str::<JsonBuf>(json).is_err(), "{json}");
        }
        assert_eq!(
            serde_json::from_str::<JsonBuf>(r#"{"base64":"/w=="}"#)
                .unwrap()
                .0,
            [0xff]
        );
    }
}
