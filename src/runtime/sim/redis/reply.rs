//! Replies as a Redis client reads them. Written anew from the protocol's description, and not with the server's own code.

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Simple(String),
    Error(String),
    Number(i64),
    Bulk(Option<String>),
    Array(Vec<Reply>),
    /// An array that is none: a transaction that was not carried out.
    NoArray,
}

/// Takes one reply from the front; `None` if it is not whole, and then nothing is taken.
pub(super) fn take_reply(rest: &mut &[u8]) -> Result<Option<Reply>, String> {
    let mut ahead = *rest;
    let reply = take(&mut ahead)?;
    if reply.is_some() {
        *rest = ahead;
    }
    Ok(reply)
}

fn take(rest: &mut &[u8]) -> Result<Option<Reply>, String> {
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let (line, after) = (&rest[..end], &rest[end + 2..]);
    let text = String::from_utf8_lossy(line.get(1..).unwrap_or_default()).into_owned();
    let number = || -> Result<i64, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is no number in a reply"))
    };
    *rest = after;
    let reply = match line.first() {
        Some(b'+') => Reply::Simple(text),
        Some(b'-') => Reply::Error(text),
        Some(b':') => Reply::Number(number()?),
        Some(b'$') if text == "-1" => Reply::Bulk(None),
        Some(b'$') => {
            let len = usize::try_from(number()?).map_err(|_| format!("a length of {text}"))?;
            let Some(value) = after.get(..len + 2) else {
                return Ok(None);
            };
            if !value.ends_with(b"\r\n") {
                return Err("a value does not end where its length says".to_owned());
            }
            *rest = &after[len + 2..];
            Reply::Bulk(Some(String::from_utf8_lossy(&value[..len]).into_owned()))
        }
        Some(b'*') if text == "-1" => Reply::NoArray,
        Some(b'*') => {
            let mut parts = Vec::new();
            for _ in 0..number()? {
                match take(rest)? {
                    Some(part) => parts.push(part),
                    None => return Ok(None),
                }
            }
            Reply::Array(parts)
        }
        _ => return Err(format!("no reply begins like {line:?}")),
    };
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply that is cut anywhere is waited for; what follows it is left.
    #[test]
    fn replies_are_taken_whole() {
        let bytes = b"*3\r\n:-5\r\n$2\r\nab\r\n$-1\r\n+OK\r\n";
        let whole = bytes.len() - 5;
        for len in 0..whole {
            let mut rest = &bytes[..len];
            assert_eq!(take_reply(&mut rest), Ok(None), "{len} bytes");
            assert_eq!(rest.len(), len, "nothing is taken");
        }
        let mut rest = &bytes[..];
        let parts = vec![
            Reply::Number(-5),
            Reply::Bulk(Some("ab".to_owned())),
            Reply::Bulk(None),
        ];
        assert_eq!(take_reply(&mut rest), Ok(Some(Reply::Array(parts))));
        assert_eq!(rest, b"+OK\r\n");
        assert!(take_reply(&mut &b"?\r\n"[..]).is_err());
        assert!(take_reply(&mut &b"$1\r\nabc\r\n"[..]).is_err());
    }
}
