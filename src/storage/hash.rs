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

/// What tells two keys of a partition apart where the keys themselves are not at hand: 96 bits under the secret.
///
/// Among a billion keys of one partition two that share all of them are met with a chance of less than one in 10¹¹, and nobody can look for
/// such a pair without the secret. `docs/decisions/0023-saved-indexes.md` says why that is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyIdentity {
    /// The hash that the index goes by.
    pub hash: KeyHash,
    /// Bits of a second hash, under a secret derived from the first.
    pub check: u32,
}

/// Makes [`KeyIdentity`]s under the data directory's secret.
#[derive(Clone, Copy)]
pub struct KeyIdentifier {
    hasher: KeyHasher,
    check: SipHasher13,
    fingerprint: u64,
}

impl KeyIdentifier {
    /// An identifier with the given secret.
    #[must_use]
    pub fn new(secret: &[u8; HASH_SECRET_LEN]) -> Self {
        // A hash under a secret key is a function that nobody else can foretell, so it gives secrets for other purposes.
        let derive = SipHasher13::new_with_key(secret);
        let mut check = [0; HASH_SECRET_LEN];
        check[..8].copy_from_slice(&derive.hash(b"corduroy key check, low half").to_le_bytes());
        check[8..].copy_from_slice(&derive.hash(b"corduroy key check, high half").to_le_bytes());
        Self {
            hasher: KeyHasher::new(secret),
            check: SipHasher13::new_with_key(&check),
            fingerprint: derive.hash(b"corduroy secret's fingerprint"),
        }
    }

    /// The key's identity.
    #[must_use]
    #[inline]
    pub fn identify(&self, key: &[u8]) -> KeyIdentity {
        KeyIdentity {
            hash: self.hasher.hash(key),
            check: self.check.hash(key) as u32,
        }
    }

    /// Says under which secret identities were made, and nothing about the secret.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl fmt::Debug for KeyIdentifier {
    /// Keeps the secret out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyIdentifier").finish_non_exhaustive()
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

    const CHECK_OF_NOTHING: u32 = 0x2ac3_cf76;
    const FINGERPRINT: u64 = 0xdeef_aabb_144a_94ed;

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

    /// Saved indexes hold identities: another function under the same secret would take every overwrite for another key. And a check that
    /// followed from the hash would tell nothing apart that the hash does not.
    #[test]
    fn identities_never_change() {
        let secret = std::array::from_fn(|index| index as u8);
        let identifier = KeyIdentifier::new(&secret);
        let identity = identifier.identify(b"");
        assert_eq!(identity.hash, KeyHasher::new(&secret).hash(b""));
        assert_eq!(identity.check, CHECK_OF_NOTHING);
        assert_eq!(identifier.fingerprint(), FINGERPRINT);
        let other = KeyIdentifier::new(&[0; HASH_SECRET_LEN]);
        assert_ne!(other.identify(b"").check, identity.check);
        assert_ne!(other.fingerprint(), identifier.fingerprint());
    }

    /// Debug output ends up in logs, and whoever knows the secret can make keys collide.
    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(
            format!("{:?}", KeyHasher::new(&[7; HASH_SECRET_LEN])),
            "KeyHasher { .. }"
        );
        assert_eq!(
            format!("{:?}", KeyIdentifier::new(&[7; HASH_SECRET_LEN])),
            "KeyIdentifier { .. }"
        );
    }
}
