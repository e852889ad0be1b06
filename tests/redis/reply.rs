//! Replies as trees, in both protocols, without losing a byte: two replies are equal exactly if their bytes are.

use std::fmt;

/// One reply.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Its first line, without the line break: its type's sign, and a number or a text.
    pub(crate) line: Vec<u8>,
    /// What follows the line of a bulk or verbatim string.
    pub(crate) bulk: Option<Vec<u8>>,
    /// What follows the line of an array, a map (keys and values in turn), a set or a push.
    pub(crate) items: Vec<Reply>,
}

impl Reply {
    /// The reply that begins `bytes`, and its length; if it isn't whole, how many bytes there must be at least.
    ///
    /// # Panics
    ///
    /// If it is no reply.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Reply, usize), usize> {
        let line_len = bytes.windows(2).position(|pair| pair == b"\r\n");
        let line_len = line_len.ok_or(bytes.len() + 1)?;
        let line = bytes[..line_len].to_vec();
        let mut len = line_len + 2;
        let number = || -> i64 {
            let digits = std::str::from_utf8(&line[1..]).unwrap();
            digits
                .parse()
                .unwrap_or_else(|_| panic!("a length that is none: {:?}", line.escape_ascii()))
        };
        let mut bulk = None;
        let mut items = Vec::new();
        match line.first() {
            Some(b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') => {}
            Some(b'$' | b'=') => {
                if let Ok(bulk_len) = usize::try_from(number()) {
                    let end = len + bulk_len + 2;
                    let rest = bytes.get(len..end).ok_or(end)?;
                    assert!(rest.ends_with(b"\r\n"), "a string longer than it says");
                    bulk = Some(rest[..bulk_len].to_vec());
                    len += rest.len();
                }
            }
            Some(sign @ (b'*' | b'%' | b'~' | b'>')) => {
                let count = number() * if *sign == b'%' { 2 } else { 1 };
                for _ in 0..count {
                    let (item, item_len) =
                        Reply::parse(&bytes[len..]).map_err(|least| len + least)?;
                    items.push(item);
                    len += item_len;
                }
            }
            _ => panic!("no reply: {}", bytes[..bytes.len().min(200)].escape_ascii()),
        }
        Ok((Reply { line, bulk, items }, len))
    }

    pub(crate) fn sign(&self) -> u8 {
        self.line[0]
    }

    pub(crate) fn is_error(&self) -> bool {
        self.sign() == b'-'
    }

    /// Neither a string nor an array, in either protocol.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.line.as_slice(), b"$-1" | b"*-1" | b"_")
    }

    /// An integer's number.
    pub(crate) fn integer(&self) -> Option<i64> {
        let digits = self.line.strip_prefix(b":")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The text of an error, a simple string or a bulk string.
    pub(crate) fn text(&self) -> String {
        let bytes = self.bulk.as_deref().unwrap_or(&self.line[1..]);
        String::from_utf8_lossy(bytes).into_owned()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line.escape_ascii())?;
        if let Some(bulk) = &self.bulk {
            write!(f, " {}", shown(bulk))?;
        }
        if !self.items.is_empty() {
            f.debug_list().entries(&self.items).finish()?;
        }
        Ok(())
    }
}

/// Bytes for a person to read: long ones by their beginning and length.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 80;
    if bytes.len() <= SHOWN {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!(
        "\"{}\"... ({} bytes)",
        bytes[..SHOWN].escape_ascii(),
        bytes.len()
    )
}
