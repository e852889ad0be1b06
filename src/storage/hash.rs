//! A key's place in the index, which nobody can foretell. (Its slot, which the whole world agrees on, is the wire protocol's:
//! `corduroy_proto_wire::slot_of`.)
//!
//! SipHash-1-3 under a secret of 128 bits. Keyed, so that no client can choose keys that collide; the secret
//! lives in the data directory, because the cursor of a scan is a position in hash order and has to survive a restart.
//! A secret that changed would not lose data (recovery hashes all keys again) but would break scans that are under way.

use std::fmt;

use siphasher::sip::SipHasher13;

/// Length of the [`KeyHasher`]'s secret, in bytes.
pub const HASH_SECRET_LEN: usize = 16;

/// A key's hash under the node's secret. Its order is the order of scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub u64);

/// Hashes keys for the index under the data directory's secret.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    sip: SipHasher13,
}

impl KeyHasher {
    /// A hasher with the given secret.
    #[must_use]
    pub fn new(secret: &[u8; HASH_SECRET_LEN]) -> Self {
        Self {
            sip: SipHasher13::new_with_key(secret),
        }
    }

    /// The key's hash. All of the key counts, its tag has no say.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.sip.hash(key))
    }
}

impl fmt::Debug for KeyHasher {
    /// Keeps the secret out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes order the scans and are rebuilt at each start: another function under the same secret would break every cursor
    /// that a client holds. The vector is the first of SipHash-1-3's reference implementation.
    #[test]
    fn the_index_hash_never_changes() {
        let secret = std::array::from_fn(|index| index as u8);
        assert_eq!(KeyHasher::new(&secret).hash(b"").0, 0xabac_0158_050f_c4dc);
        assert_ne!(
            KeyHasher::new(&[0; HASH_SECRET_LEN]).hash(b""),
            KeyHasher::new(&secret).hash(b"")
        );
    }

    /// Debug output ends up in logs, and whoever knows the secret can make keys collide.
    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(
            format!("{:?}", KeyHasher::new(&[7; HASH_SECRET_LEN])),
            "KeyHasher { .. }"
        );
    }
}
