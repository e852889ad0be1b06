//! What a connection makes of its answers.

use corduroy_proto_wire::Status;

use super::SUFFIX_LEN;
use super::connection::{Connection, Sent};
use super::history::{State, Subject};
use crate::support::value::described;
use crate::support::wire::Answer;

impl Connection {
    pub(super) fn answered(&mut self, answer: &Answer) {
        let Some(sent) = self.in_flight.remove(&answer.id) else {
            panic!("an answer to nothing that was asked: {answer:?}");
        };
        if answer.status.is_error() {
            *self.refused.entry(answer.status).or_default() += 1;
            if answer.status.outcome_known() {
                self.not_done(sent);
            }
            return;
        }
        match sent {
            Sent::Write(subject, sequence) => self.written(subject, sequence, answer),
            Sent::Read(subject, expected) => self.has_read(subject, expected, answer),
            Sent::Append(at) => {
                self.lists[at].acknowledged += 1;
                assert!(answer.number.unwrap() % SUFFIX_LEN == 0, "{answer:?}");
            }
            Sent::Add => {
                self.adding -= 1;
                self.added += 1;
                let value = answer.number.unwrap();
                assert!(
                    value > self.counter_max,
                    "the counter went from {} to {value}",
                    self.counter_max
                );
                self.counter_max = value;
            }
        }
    }

    fn not_done(&mut self, sent: Sent) {
        match sent {
            Sent::Write(subject, sequence) => {
                let history = self.histories.get_mut(&subject).unwrap();
                history.pending.retain(|state| state.sequence != sequence);
            }
            Sent::Read(..) => {}
            Sent::Append(at) => self.lists[at].refused += 1,
            Sent::Add => self.adding -= 1,
        }
    }

    fn written(&mut self, subject: Subject, sequence: u64, answer: &Answer) {
        let history = self.histories.get_mut(&subject).unwrap();
        let at = history
            .pending
            .iter()
            .position(|state| state.sequence == sequence);
        // A later write to the key was acknowledged first.
        let Some(at) = at else { return };
        let state = history.pending[at];
        let (status, version) = match subject {
            Subject::Cell(_) => (answer.status, answer.version),
            Subject::Pair(_) => answer.items[0],
        };
        if status == Status::NotFound {
            let before = history.before(sequence);
            assert!(
                !state.is_present && before.is_none_or(|before| !before.is_present),
                "{subject:?}: write {sequence} found nothing where {before:?} was"
            );
        } else {
            assert_eq!(status, Status::Ok, "{subject:?}: {answer:?}");
            assert!(
                version > history.version,
                "{subject:?}: version {version} after {}",
                history.version
            );
            history.version = version;
        }
        history.known = Some(state);
        history.pending.drain(..=at);
    }

    fn has_read(&mut self, subject: Subject, expected: State, answer: &Answer) {
        // What was refused before it makes the expectation void.
        if !self.refused.is_empty() {
            return;
        }
        let key = self.keys(subject).swap_remove(0);
        let shown = answer.value.as_ref().map(|value| described(&key, value));
        let wanted = expected.is_present.then_some(expected.sequence);
        assert_eq!(
            shown,
            wanted,
            "{} was read behind write {expected:?}",
            key.escape_ascii()
        );
    }
}
