//! Values that say who wrote them.
//!
//! A value is a row of **pieces**: a put writes one, an append adds one. A piece begins with the number of the operation that
//! wrote it and its own length, and the rest follows from the number. So every byte that ever comes back can be checked, and a value
//! that belongs to another key, another operation or half of one shows at once. Counters are decimal text, as the server keeps them.

use super::random::spread;

/// Shortest piece, in bytes.
pub(super) const PIECE_LEN_MIN: u32 = 8;

/// What one operation wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The operation's number.
    pub(super) writer: u32,
    pub(super) len: u32,
}

impl Piece {
    pub(super) fn render(self, out: &mut Vec<u8>) {
        let end = out.len() + self.len as usize;
        out.extend_from_slice(&self.writer.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        let mut word = spread(u64::from(self.writer) << 32 | u64::from(self.len));
        // Some values have long runs of zeros: recovery counts sectors of zeros.
        let zeros = word.is_multiple_of(5);
        while out.len() < end {
            word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
            let bytes = if zeros { [0; 8] } else { word.to_le_bytes() };
            let left = (end - out.len()).min(8);
            out.extend_from_slice(&bytes[..left]);
        }
    }
}

/// A whole value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Pieces(Vec<Piece>),
    Counter(i64),
}

impl Value {
    pub(super) fn render(&self) -> Vec<u8> {
        match self {
            Value::Counter(number) => number.to_string().into_bytes(),
            Value::Pieces(pieces) => {
                let mut bytes = Vec::new();
                for piece in pieces {
                    piece.render(&mut bytes);
                }
                bytes
            }
        }
    }

    /// Takes bytes apart; `None` if nobody can have written them.
    pub(super) fn parse(bytes: &[u8]) -> Option<Value> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        let mut rendered = Vec::new();
        while !rest.is_empty() {
            let piece = rest.first_chunk::<8>().map(|head| Piece {
                writer: u32::from_le_bytes([head[0], head[1], head[2], head[3]]),
                len: u32::from_le_bytes([head[4], head[5], head[6], head[7]]),
            });
            let whole = piece
                .filter(|piece| piece.len >= PIECE_LEN_MIN && piece.len as usize <= rest.len());
            let Some(piece) = whole else {
                return if pieces.is_empty() {
                    counter(bytes)
                } else {
                    None
                };
            };
            rendered.clear();
            piece.render(&mut rendered);
            let (found, after) = rest.split_at(rendered.len());
            if found != rendered {
                return None;
            }
            pieces.push(piece);
            rest = after;
        }
        Some(Value::Pieces(pieces))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Value::Counter(number) => number.to_string().len(),
            Value::Pieces(pieces) => pieces.iter().map(|piece| piece.len as usize).sum(),
        }
    }
}

fn counter(bytes: &[u8]) -> Option<Value> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(Value::Counter(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checker that takes any bytes for a value would never find a wrong one.
    #[test]
    fn only_what_was_written_parses() {
        let value = Value::Pieces(vec![
            Piece { writer: 5, len: 40 },
            Piece {
                writer: 70_000,
                len: 1033,
            },
        ]);
        let bytes = value.render();
        assert_eq!(Value::parse(&bytes), Some(value));
        assert_eq!(Value::parse(b"-17"), Some(Value::Counter(-17)));
        for place in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= 1;
            assert_eq!(Value::parse(&wrong), None, "byte {place}");
        }
        assert_eq!(Value::parse(&bytes[..bytes.len() - 1]), None);
    }
}
