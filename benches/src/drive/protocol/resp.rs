//! RESP, as Redis, Valkey and Corduroy's second door speak it: `GET` and `SET`.

use super::{Dialect, Malformed, Outcome, Reply, Template, decimal, line, value_and_tail};
use crate::drive::workload::{self, KEY_LEN, Operation};

/// RESP2.
#[derive(Debug)]
pub struct RespDialect;

impl Dialect for RespDialect {
    const IN_ORDER: bool = true;

    fn template(&self, operation: Operation, value_len: usize) -> Template {
        let (words, command) = match operation {
            Operation::Get => (2, "GET"),
            Operation::Put => (3, "SET"),
        };
        let mut bytes = format!("*{words}\r\n$3\r\n{command}\r\n${KEY_LEN}\r\n").into_bytes();
        let key_at = bytes.len();
        bytes.extend_from_slice(&workload::key(0));
        bytes.extend_from_slice(b"\r\n");
        if operation == Operation::Get {
            return Template::new(bytes, key_at);
        }
        bytes.extend_from_slice(format!("${value_len}\r\n").as_bytes());
        let value_at = bytes.len();
        bytes.extend_from_slice(&workload::value(value_len));
        bytes.extend_from_slice(b"\r\n");
        Template::new(bytes, key_at).with_value(value_at, value_len)
    }

    fn reply_len_max(&self, value_len: usize) -> usize {
        value_len + 64
    }

    #[inline]
    fn reply<'a>(&self, bytes: &'a [u8]) -> Result<Option<Reply<'a>>, Malformed> {
        let Some((text, line_len)) = line(bytes)? else {
            return Ok(None);
        };
        let (kind, rest) = text
            .split_first()
            .ok_or(Malformed::of("a reply is an empty line"))?;
        let reply = |len, outcome| Ok(Some(Reply::in_order(len, outcome)));
        match kind {
            b'$' if rest == b"-1" => reply(line_len, Outcome::Missing),
            b'$' => {
                let len =
                    decimal(rest).ok_or(Malformed::of("a bulk string's length is not a number"))?;
                match value_and_tail(bytes, line_len, len, b"\r\n")? {
                    Some((value, end)) => reply(end, Outcome::Value(value)),
                    None => Ok(None),
                }
            }
            b'+' if rest == b"OK" => reply(line_len, Outcome::Done),
            b'-' | b'+' => reply(line_len, Outcome::Refused(rest)),
            _ => Err(Malformed::of(
                "a reply is neither a string, a status nor an error",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::protocol::tests::assert_needs_all_of;

    // A malformed command would be refused by the server at best; at worst the bytes of a value are run as commands.
    #[test]
    fn requests_are_well_formed() {
        let mut out = Vec::new();
        RespDialect
            .template(Operation::Get, 3)
            .append(0, 7, &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000007\r\n");
        out.clear();
        RespDialect
            .template(Operation::Put, 9)
            .append(0, 7, &mut out);
        assert_eq!(
            out,
            b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$9\r\n\x07\0\0\0\0\0\0\0e\r\n"
        );
    }

    #[test]
    fn replies_are_told_apart_and_wait_for_their_last_byte() {
        assert_needs_all_of(&RespDialect, b"$3\r\na\nb\r\n", Outcome::Value(b"a\nb"));
        assert_needs_all_of(&RespDialect, b"$0\r\n\r\n", Outcome::Value(b""));
        assert_needs_all_of(&RespDialect, b"$-1\r\n", Outcome::Missing);
        assert_needs_all_of(&RespDialect, b"+OK\r\n", Outcome::Done);
        assert_needs_all_of(&RespDialect, b"-ERR no\r\n", Outcome::Refused(b"ERR no"));
    }

    // A server that loses count of its own lengths must end the run, not be read out of step.
    #[test]
    fn what_is_no_reply_is_malformed() {
        for bytes in [
            &b"$3\r\nabcd\r\n"[..],
            b"$x\r\n",
            b"$99999999999999999999\r\n",
            b"\r\n",
            b":1\r\n",
        ] {
            assert!(
                RespDialect.reply(bytes).is_err(),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}
