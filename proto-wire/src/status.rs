//! What a status says about the store: whether the request failed, whether its outcome is known, and whether it may be
//! sent again. The numbers are part of the protocol: below 64 the request was carried out or found nothing to do, from
//! 64 up it failed.

use crate::Status;

impl Status {
    /// The status of this number, if there is one.
    #[inline]
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Status> {
        Some(match number {
            0 => Status::Ok,
            1 => Status::NotFound,
            2 => Status::ConditionFailed,
            64 => Status::InvalidRequest,
            65 => Status::LimitExceeded,
            66 => Status::UnknownKeyspace,
            67 => Status::AlreadyExists,
            68 => Status::NotACounter,
            69 => Status::CrossPartition,
            70 => Status::Unsupported,
            71 => Status::Overloaded,
            72 => Status::ShuttingDown,
            73 => Status::ReadOnly,
            74 => Status::Damaged,
            75 => Status::OutcomeUnknown,
            76 => Status::Handshake,
            77 => Status::Failed,
            _ => return None,
        })
    }

    /// Whether the request failed; the answer's body is then [`crate::Body::Error`], and of no other kind.
    #[inline]
    #[must_use]
    pub const fn is_error(self) -> bool {
        self as u8 >= 64
    }

    /// Whether it is certain what the request did. False for [`Status::OutcomeUnknown`] alone.
    #[inline]
    #[must_use]
    pub const fn outcome_known(self) -> bool {
        !matches!(self, Status::OutcomeUnknown)
    }

    /// Whether the same request, idempotent or not, may be sent again unchanged with a hope of success: nothing was
    /// changed, and the cause passes by itself.
    #[inline]
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Status::Overloaded | Status::ShuttingDown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status added to the enum but not to `from_u8` would make every client refuse the server's answer.
    #[test]
    fn every_number_means_the_status_that_bears_it_or_nothing() {
        let known: Vec<u8> = (0..=u8::MAX)
            .filter(|&number| Status::from_u8(number).is_some())
            .collect();
        assert_eq!(
            known,
            [
                0, 1, 2, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77
            ]
        );
        for number in known {
            let status = Status::from_u8(number).unwrap();
            assert_eq!(status as u8, number);
            assert_eq!(status.is_error(), number >= 64);
        }
    }

    /// A client that takes an unknown outcome for "not done" writes twice or gives up on a write that is there.
    #[test]
    fn only_one_status_leaves_the_outcome_open_and_it_is_not_transient() {
        let open: Vec<Status> = (0..=u8::MAX)
            .filter_map(Status::from_u8)
            .filter(|status| !status.outcome_known())
            .collect();
        assert_eq!(open, [Status::OutcomeUnknown]);
        assert!(!Status::OutcomeUnknown.is_transient());
    }
}
