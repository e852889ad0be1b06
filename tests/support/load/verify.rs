//! Reading everything back after a crash or a stop.

use std::collections::HashMap;

use corduroy_proto_wire::RequestId;

use super::connection::Connection;
use super::history::{List, Subject};
use super::{Found, LIST_LEN, SUFFIX_LEN, WINDOW, suffix};
use crate::support::value::described;
use crate::support::wire::{Answer, Wire};

impl Connection {
    /// Holds the node to what it acknowledged of cells and pairs.
    pub(super) fn verify_cells(&mut self, wire: &mut Wire, found: &mut Found) {
        let subjects: Vec<Subject> = self.histories.keys().copied().collect();
        for chunk in subjects.chunks(WINDOW) {
            let keys: Vec<Vec<Vec<u8>>> = chunk.iter().map(|&subject| self.keys(subject)).collect();
            let mut answers = read_all(wire, keys.iter().flatten()).into_iter();
            for (&subject, keys) in chunk.iter().zip(&keys) {
                let halves: Vec<(Option<u64>, u64)> = keys
                    .iter()
                    .zip(&mut answers)
                    .map(|(key, answer)| {
                        let value = answer.value.as_ref();
                        (value.map(|value| described(key, value)), answer.version)
                    })
                    .collect();
                let (shown, version) = halves[0];
                assert!(
                    halves.iter().all(|half| half.0 == shown),
                    "half of {subject:?} of connection {} is there: {halves:?}",
                    self.number
                );
                found.present += keys.len() as u64 * u64::from(shown.is_some());
                let history = self.histories.get_mut(&subject).unwrap();
                let number = self.number;
                history.settle(shown, version, found, || {
                    format!("{subject:?} of connection {number}")
                });
            }
        }
    }

    /// The same for lists.
    pub(super) fn verify_lists(&mut self, wire: &mut Wire, found: &mut Found) {
        let first_open = self
            .lists
            .iter()
            .position(|list| list.acknowledged + list.refused < LIST_LEN)
            .unwrap_or(0);
        let keys: Vec<Vec<u8>> = (0..self.lists.len()).map(|at| self.list_key(at)).collect();
        let mut open = Vec::new();
        for (at, answer) in keys
            .chunks(WINDOW)
            .flat_map(|chunk| read_all(wire, chunk.iter()))
            .enumerate()
        {
            let list = &self.lists[at];
            let value = answer.value.unwrap_or_default();
            found.present += u64::from(!value.is_empty());
            let len = value.len() as u64 / SUFFIX_LEN as u64;
            let whole: Vec<u8> = (0..len).flat_map(suffix).collect();
            assert!(
                value == whole && (list.acknowledged..=list.sent - list.refused).contains(&len),
                "list {at} of connection {} after {list:?}: {}",
                self.number,
                value.escape_ascii()
            );
            open.push(len);
        }
        // Lists are not gone on with after a crash: their next suffix is not certain.
        for (list, len) in self.lists.iter_mut().zip(open).skip(first_open) {
            *list = List {
                acknowledged: len,
                sent: len,
                refused: 0,
            };
        }
        self.lists.push(List::default());
    }
}

/// Reads keys, all at once.
fn read_all<'a>(wire: &mut Wire, keys: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Answer> {
    let ids: Vec<RequestId> = keys.map(|key| wire.queue_get(key)).collect();
    wire.flush().unwrap();
    let mut answers: HashMap<RequestId, Answer> = HashMap::new();
    while answers.len() < ids.len() {
        let answer = wire.receive().unwrap();
        assert!(!answer.status.is_error(), "{answer:?}");
        answers.insert(answer.id, answer);
    }
    ids.iter().map(|id| answers.remove(id).unwrap()).collect()
}
