//! The requests that wait for an answer, by request id.
//!
//! An id is a place in a table (low 16 bits) and the place's generation (high 16 bits), which moves on each time the place is
//! vacated. So finding an answer's request is an index and a comparison, ids of requests in flight are different
//! however often the generations wrap around, and a second answer to one request finds nobody instead of the request
//! that has taken the place since. Generations skip 0, and with it the ids that the protocol keeps for itself.

use corduroy_proto_wire::{CONNECTION_REQUEST_ID, RequestId};

use crate::limits::IN_FLIGHT_MAX;

const PLACE_BITS: u32 = 16;
const _: () = assert!(
    CONNECTION_REQUEST_ID >> PLACE_BITS == 0,
    "no generation is 0, so no request gets this id"
);

/// A table of what is in flight; its size follows the largest number that ever was at once.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    places: Vec<Place<T>>,
    /// The vacant places; the last one vacated is taken first, which keeps the table small and warm.
    vacant: Vec<u16>,
}

#[derive(Debug)]
struct Place<T> {
    /// Never 0.
    generation: u16,
    occupant: Option<T>,
}

impl<T> InFlight<T> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// Takes in one more and names it. The caller keeps to [`IN_FLIGHT_MAX`] (by a semaphore).
    pub(super) fn insert(&mut self, occupant: T) -> RequestId {
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => {
                assert!(
                    self.places.len() < IN_FLIGHT_MAX,
                    "the semaphore bounds what is in flight"
                );
                self.places.push(Place {
                    generation: 1,
                    occupant: None,
                });
                (self.places.len() - 1) as u16
            }
        };
        let place = &mut self.places[usize::from(index)];
        assert!(place.occupant.is_none(), "a vacant place is empty");
        place.occupant = Some(occupant);
        (RequestId::from(place.generation) << PLACE_BITS) | RequestId::from(index)
    }

    /// The one of this id, if it is still in flight.
    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut T> {
        self.place(id)?.occupant.as_mut()
    }

    /// Takes the one of this id out, if it is still in flight.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<T> {
        let place = self.place(id)?;
        let occupant = place.occupant.take()?;
        place.generation = match place.generation.wrapping_add(1) {
            0 => 1,
            generation => generation,
        };
        self.vacant.push(id as u16);
        Some(occupant)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.vacant.clear();
        self.places.drain(..).filter_map(|place| place.occupant)
    }

    /// How many are in flight.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    fn place(&mut self, id: RequestId) -> Option<&mut Place<T>> {
        let index = usize::from(id as u16);
        let generation = (id >> PLACE_BITS) as u16;
        self.places
            .get_mut(index)
            .filter(|place| place.generation == generation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A late second answer must not complete the request that has taken over the place: its caller would be handed
    /// another key's value.
    #[test]
    fn an_id_finds_its_own_request_or_none() {
        let mut in_flight = InFlight::new();
        let first = in_flight.insert("first");
        assert_eq!(in_flight.remove(first), Some("first"));
        let second = in_flight.insert("second");
        assert_ne!(first, second);
        assert_eq!(in_flight.remove(first), None);
        assert_eq!(in_flight.get_mut(second), Some(&mut "second"));
        assert_eq!(in_flight.len(), 1);
    }

    /// A connection that lives for billions of requests wraps every counter. While one request stays in flight all the
    /// time, no other may ever be given its id, nor the id 0, which belongs to the connection.
    #[test]
    fn ids_stay_distinct_while_generations_wrap_around() {
        let mut in_flight = InFlight::new();
        let lasting = in_flight.insert(0);
        for round in 1..200_000u32 {
            let id = in_flight.insert(round);
            assert_ne!(id, lasting);
            assert_ne!(id >> PLACE_BITS, 0);
            assert_eq!(in_flight.remove(id), Some(round));
        }
        assert_eq!(in_flight.remove(lasting), Some(0));
        assert_eq!(in_flight.len(), 0);
    }

    /// The table must be as large as the most that was in flight at once, and not as large as all that ever was.
    #[test]
    fn places_are_used_again_up_to_the_limit() {
        let mut in_flight = InFlight::new();
        for _ in 0..3 {
            let ids: HashSet<RequestId> = (0..IN_FLIGHT_MAX)
                .map(|number| in_flight.insert(number))
                .collect();
            assert_eq!(ids.len(), IN_FLIGHT_MAX);
            assert_eq!(in_flight.places.len(), IN_FLIGHT_MAX);
            for id in ids {
                assert!(in_flight.remove(id).is_some());
            }
            assert_eq!(in_flight.len(), 0);
        }
        assert_eq!(in_flight.drain().count(), 0);
    }
}
