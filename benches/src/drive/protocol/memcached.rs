//! memcached's text protocol: `get` and `set`.

use super::{Dialect, Malformed, Outcome, Reply, Template, decimal, line, value_and_tail};
use crate::drive::workload::{self, Operation};

/// memcached's text protocol.
#[derive(Debug)]
pub struct MemcachedDialect;

impl Dialect for MemcachedDialect {
    const IN_ORDER: bool = true;

    fn template(&self, operation: Operation, value_len: usize) -> Template {
        let mut bytes = match operation {
            Operation::Get => b"get ".to_vec(),
            Operation::Put => b"set ".to_vec(),
        };
        let key_at = bytes.len();
        bytes.extend_from_slice(&workload::key(0));
        if operation == Operation::Get {
            bytes.extend_from_slice(b"\r\n");
            return Template::new(bytes, key_at);
        }
        bytes.extend_from_slice(format!(" 0 0 {value_len}\r\n").as_bytes());
        let value_at = bytes.len();
        bytes.extend_from_slice(&workload::value(value_len));
        bytes.extend_from_slice(b"\r\n");
        Template::new(bytes, key_at).with_value(value_at, value_len)
    }

    fn reply_len_max(&self, value_len: usize) -> usize {
        value_len + 128
    }

    #[inline]
    fn reply<'a>(&self, bytes: &'a [u8]) -> Result<Option<Reply<'a>>, Malformed> {
        let Some((text, line_len)) = line(bytes)? else {
            return Ok(None);
        };
        let reply = |len, outcome| Ok(Some(Reply::in_order(len, outcome)));
        match text {
            b"STORED" => reply(line_len, Outcome::Done),
            b"END" => reply(line_len, Outcome::Missing),
            _ if text.starts_with(b"VALUE ") => {
                // VALUE <key> <flags> <bytes>
                let digits = text.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
                let len =
                    decimal(digits).ok_or(Malformed::of("a value's length is not a number"))?;
                match value_and_tail(bytes, line_len, len, b"\r\nEND\r\n")? {
                    Some((value, end)) => reply(end, Outcome::Value(value)),
                    None => Ok(None),
                }
            }
            _ if text == b"ERROR" || text == b"NOT_STORED" => {
                reply(line_len, Outcome::Refused(text))
            }
            _ if text.starts_with(b"SERVER_ERROR") || text.starts_with(b"CLIENT_ERROR") => {
                reply(line_len, Outcome::Refused(text))
            }
            _ => Err(Malformed::of("a line is none of memcached's replies")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::protocol::tests::assert_needs_all_of;

    #[test]
    fn requests_are_well_formed() {
        let mut out = Vec::new();
        MemcachedDialect
            .template(Operation::Get, 3)
            .append(0, 7, &mut out);
        assert_eq!(out, b"get key:000000000007\r\n");
        out.clear();
        MemcachedDialect
            .template(Operation::Put, 9)
            .append(0, 7, &mut out);
        assert_eq!(
            out,
            b"set key:000000000007 0 0 9\r\n\x07\0\0\0\0\0\0\0e\r\n"
        );
    }

    #[test]
    fn replies_are_told_apart_and_wait_for_their_last_byte() {
        let value = b"VALUE key:000000000007 0 3\r\na\nb\r\nEND\r\n";
        assert_needs_all_of(&MemcachedDialect, value, Outcome::Value(b"a\nb"));
        assert_needs_all_of(&MemcachedDialect, b"END\r\n", Outcome::Missing);
        assert_needs_all_of(&MemcachedDialect, b"STORED\r\n", Outcome::Done);
        assert_needs_all_of(&MemcachedDialect, b"ERROR\r\n", Outcome::Refused(b"ERROR"));
        let full = b"SERVER_ERROR out of memory storing object\r\n";
        assert_needs_all_of(
            &MemcachedDialect,
            full,
            Outcome::Refused(&full[..full.len() - 2]),
        );
    }

    #[test]
    fn what_is_no_reply_is_malformed() {
        for bytes in [
            &b"VALUE k 0 3\r\nabcd\r\nEND\r\n"[..],
            b"VALUE k 0 x\r\n",
            b"HELLO\r\n",
        ] {
            assert!(
                MemcachedDialect.reply(bytes).is_err(),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}
