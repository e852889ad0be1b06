//! A checker that explains everything away finds nothing: each test here plants one broken promise that must be found, beside the
//! same history with the promise kept.

use corduroy_proto_wire::{Expiry, ExpiryCondition, Ttl};

use super::super::action::{Act, When};
use super::super::history::{EntryId, Flush, History, Outcome, Place, Time};
use super::super::value::{Piece, Value};
use super::check_key;

const PLACE: Place = Place {
    keyspace: 1,
    key: 1,
};
const MS: Time = 1_000_000;
const START: u64 = 1_700_000_000_000;

fn value(writer: u32) -> Value {
    Value::Pieces(vec![Piece { writer, len: 20 }])
}

fn put(writer: u32) -> Act {
    conditional(writer, When::Always)
}

fn conditional(writer: u32, when: When) -> Act {
    Act::Put {
        value: value(writer),
        ttl: Ttl::None,
        when,
        return_value: false,
    }
}

const DELETE: Act = Act::Delete {
    when: When::Always,
    return_value: false,
};

/// A history of one key, told in milliseconds.
struct Story(History);

impl Story {
    fn new() -> Story {
        Story(History::new(START))
    }

    fn ask(&mut self, at: Time, connection: u32, act: Act) -> EntryId {
        self.0.ask(at * MS, connection, PLACE, act)
    }

    fn tell(mut self, from: Time, to: Time, connection: u32, act: Act, outcome: Outcome) -> Story {
        let entry = self.ask(from, connection, act);
        self.0.tell(to * MS, entry, outcome);
        self
    }

    fn wrote(self, from: Time, to: Time, connection: u32, act: Act, version: u64) -> Story {
        let outcome = Outcome::Wrote {
            version,
            timestamp_ms: START + from,
            old: None,
            number: None,
        };
        self.tell(from, to, connection, act, outcome)
    }

    fn added(self, from: Time, to: Time, delta: i64, sum: i64, version: u64) -> Story {
        let outcome = Outcome::Wrote {
            version,
            timestamp_ms: START + from,
            old: None,
            number: Some(sum),
        };
        self.tell(from, to, 9, Act::Add(delta), outcome)
    }

    fn saw(self, from: Time, to: Time, connection: u32, version: u64, writer: u32) -> Story {
        let outcome = Outcome::Saw {
            version,
            timestamp_ms: START,
            value: Some(value(writer)),
            ttl_ms: None,
            expires_at_ms: None,
        };
        self.tell(from, to, connection, Act::Get, outcome)
    }

    fn absent(self, from: Time, to: Time, connection: u32) -> Story {
        self.tell(from, to, connection, Act::Get, Outcome::Absent)
    }

    fn unknown(mut self, from: Time, act: Act) -> Story {
        self.ask(from, 50, act);
        self
    }

    #[track_caller]
    fn good(&self) {
        assert_eq!(check_key(&self.0, PLACE), Ok(()));
    }

    #[track_caller]
    fn bad(&self, reason: &str) {
        let error = check_key(&self.0, PLACE).expect_err("the promise is broken");
        assert!(error.contains(reason), "found, but as: {error}");
    }
}

#[test]
fn an_acknowledged_write_must_not_be_lost() {
    let story = || {
        Story::new()
            .wrote(1, 2, 1, put(1), 4)
            .wrote(3, 4, 1, put(2), 5)
    };
    story().saw(5, 6, 2, 5, 2).good();
    story().saw(5, 6, 2, 4, 1).bad("version 5 was told before");
    story().absent(5, 6, 2).bad("the key is not there");
    // The second write was under way: either may be read.
    story().saw(3, 6, 2, 4, 1).good();
}

#[test]
fn bytes_must_be_those_of_the_version() {
    let story = || Story::new().wrote(1, 2, 1, put(1), 4);
    story().saw(3, 4, 2, 4, 7).bad("wrong bytes");
    story().saw(3, 4, 2, 5, 7).bad("nobody wrote version 5");
    story().unknown(2, put(7)).saw(3, 4, 2, 5, 7).good();
    story()
        .unknown(5, put(7))
        .saw(3, 4, 2, 5, 7)
        .bad("nobody wrote version 5");
}

/// Seed 674: the value of a put that nobody was told of was read at the version that a touch of unknown outcome had given it. The put is
/// then free for an earlier version, of which only that it exists was told.
#[test]
fn a_value_may_have_been_logged_again_under_a_later_version() {
    let exists = |version| Outcome::Saw {
        version,
        timestamp_ms: START,
        value: None,
        ttl_ms: None,
        expires_at_ms: None,
    };
    let story = || {
        Story::new()
            .unknown(1, put(7))
            .tell(2, 3, 2, Act::Exists, exists(4))
            .saw(8, 9, 3, 6, 7)
    };
    story().unknown(4, Act::Touch(1000)).good();
    story().bad("nobody wrote version 4");
    story()
        .unknown(10, Act::Touch(1000))
        .bad("nobody wrote version");
}

/// A lease that is prolonged only if that makes it longer must never be cut short, and what was refused must have been refusable.
#[test]
fn an_expiry_must_change_under_its_condition_alone() {
    let expire = |ttl_ms, condition| Act::Expire {
        expiry: Expiry::Millis(ttl_ms),
        condition,
        return_value: false,
    };
    let with_ttl = || {
        let act = Act::Put {
            value: value(1),
            ttl: Ttl::Millis(50),
            when: When::Always,
            return_value: false,
        };
        Story::new().wrote(10, 11, 1, act, 4)
    };
    let (later, none) = (ExpiryCondition::IfLater, ExpiryCondition::IfNone);
    let done = |ttl_ms, condition| with_ttl().wrote(12, 13, 2, expire(ttl_ms, condition), 5);
    done(90, later).saw(80, 81, 3, 5, 1).good();
    done(90, later)
        .absent(80, 81, 3)
        .bad("the key is not there");
    done(20, later).bad("condition did not hold");
    done(90, none).bad("condition did not hold");
    done(0, ExpiryCondition::Always).absent(14, 15, 3).good();
    done(0, ExpiryCondition::Always)
        .saw(14, 15, 3, 5, 1)
        .bad("that version is a delete");
    let refused = |ttl_ms, condition| {
        let outcome = Outcome::Saw {
            version: 4,
            timestamp_ms: START,
            value: None,
            ttl_ms: None,
            expires_at_ms: None,
        };
        with_ttl().tell(12, 13, 2, expire(ttl_ms, condition), outcome)
    };
    refused(20, later).good();
    refused(90, later).bad("the condition held");
    refused(90, none).good();
    refused(90, ExpiryCondition::IfSome).bad("the condition held");
}

/// A put whose time had passed takes the key away, and one whose time is to come does not.
#[test]
fn a_put_at_a_time_must_be_there_until_then() {
    let story = |at_ms| {
        let act = Act::Put {
            value: value(2),
            ttl: Ttl::At(START + at_ms),
            when: When::Always,
            return_value: false,
        };
        Story::new()
            .wrote(1, 2, 1, put(1), 4)
            .wrote(10, 11, 1, act, 5)
    };
    story(60).saw(20, 21, 2, 5, 2).good();
    story(60).absent(20, 21, 2).bad("the key is not there");
    story(60).saw(70, 71, 2, 5, 2).bad("it expired");
    story(9).absent(20, 21, 2).good();
    story(9)
        .saw(20, 21, 2, 5, 2)
        .bad("that version is a delete");
}

#[test]
fn sums_and_overwritten_counters_must_be_right() {
    let told = |story: Story, from: Time, act: Act, number: i64, version: u64| {
        let outcome = Outcome::Wrote {
            version,
            timestamp_ms: START + from,
            old: None,
            number: Some(number),
        };
        story.tell(from, from + 1, 9, act, outcome)
    };
    let story = || Story::new().added(1, 2, -15, -15, 4);
    let overwritten = |len| told(story(), 3, Act::Overwrite(b'7'), len, 5);
    told(overwritten(3), 5, Act::AddFloat(2), 717, 6).good();
    told(overwritten(3), 5, Act::AddFloat(2), -13, 6).bad("the result must be Some(717)");
    overwritten(1).bad("the result must be Some(3)");
}

#[test]
fn versions_must_grow_over_deletes_too() {
    let story = || {
        Story::new()
            .wrote(1, 2, 1, put(1), 4)
            .wrote(3, 4, 1, DELETE, 5)
    };
    story().wrote(5, 6, 2, put(2), 6).good();
    story()
        .wrote(5, 6, 2, put(2), 3)
        .bad("version 3 was given though 5");
    story()
        .wrote(5, 6, 2, put(2), 4)
        .bad("two writes got version 4");
}

#[test]
fn a_deleted_key_must_stay_away() {
    let story = || {
        Story::new()
            .wrote(1, 2, 1, put(1), 4)
            .wrote(3, 4, 1, DELETE, 5)
    };
    story().absent(5, 6, 2).good();
    story().saw(5, 6, 2, 4, 1).bad("version 5 was told before");
}

#[test]
fn one_connection_must_see_its_own_order() {
    // Both in flight at once, the read answered first: only the connection's order says that it must see the write.
    let story = || {
        Story::new()
            .wrote(1, 2, 1, put(1), 4)
            .wrote(3, 9, 1, put(2), 5)
    };
    story().saw(4, 5, 1, 5, 2).good();
    story().saw(4, 5, 2, 4, 1).good();
    story().saw(4, 5, 1, 4, 1).bad("out of order");
}

#[test]
fn a_condition_must_hold_where_it_wrote_and_fail_where_it_did_not() {
    let story = || Story::new().wrote(1, 2, 1, put(1), 4);
    story()
        .wrote(3, 4, 2, conditional(2, When::IfVersion(4)), 5)
        .good();
    story()
        .wrote(3, 4, 2, conditional(2, When::IfAbsent), 5)
        .bad("condition did not hold");
    let refused = Outcome::Saw {
        version: 4,
        timestamp_ms: START,
        value: None,
        ttl_ms: None,
        expires_at_ms: None,
    };
    let failed = |when| story().tell(3, 4, 2, conditional(2, when), refused.clone());
    failed(When::IfVersion(3)).good();
    failed(When::IfVersion(4)).bad("the condition held");
}

#[test]
fn no_sum_may_be_lost() {
    let story = || Story::new().added(1, 2, 5, 5, 4);
    story().added(3, 4, 2, 7, 5).good();
    story()
        .added(3, 4, 2, 2, 5)
        .bad("the result must be Some(7)");
    // An addition of unknown outcome may lie between.
    story().unknown(2, Act::Add(1)).added(3, 4, 2, 8, 5).good();
}

#[test]
fn keys_must_live_exactly_as_long_as_they_may() {
    let story = || {
        let act = Act::Put {
            value: value(1),
            ttl: Ttl::Millis(50),
            when: When::Always,
            return_value: false,
        };
        Story::new().wrote(10, 11, 1, act, 4)
    };
    story().saw(20, 21, 2, 4, 1).good();
    story().absent(70, 71, 2).good();
    story().saw(70, 71, 2, 4, 1).bad("it expired");
    story().absent(20, 21, 2).bad("the key is not there");
}

/// Empty values don't tell which of two puts of unknown outcome wrote them: the one that keeps the key for ever, or the one that expires.
#[test]
fn a_value_that_two_may_have_written_may_have_either_expiry() {
    let empty = |ttl| Act::Put {
        value: Value::Pieces(Vec::new()),
        ttl,
        when: When::Always,
        return_value: false,
    };
    let seen = |expires_at_ms| Outcome::Saw {
        version: 4,
        timestamp_ms: START,
        value: Some(Value::Pieces(Vec::new())),
        ttl_ms: None,
        expires_at_ms: Some(expires_at_ms),
    };
    let story = || Story::new().unknown(2, empty(Ttl::None));
    let expires = || seen(Some(START + 50));
    story()
        .unknown(1, empty(Ttl::Millis(50)))
        .tell(8, 9, 3, Act::Get, expires())
        .good();
    story().tell(8, 9, 3, Act::Get, seen(None)).good();
    story()
        .tell(8, 9, 3, Act::Get, expires())
        .bad("its expiry is None");
}

#[test]
fn what_was_flushed_must_stay_away() {
    let story = || {
        let mut story = Story::new().wrote(1, 2, 1, put(1), 4);
        story.0.flushes.push(Flush {
            keyspace: 1,
            invoked: 3 * MS,
            answered: 4 * MS,
            closed: Time::MAX,
            is_certain: true,
        });
        story
    };
    story().absent(5, 6, 2).good();
    story().saw(5, 6, 2, 4, 1).bad("it was flushed");
}

/// A sum that goes on from before a flush, and is there after it, was neither before the flush nor after it.
#[test]
fn what_follows_from_what_was_flushed_must_not_stay() {
    let story = |sum: i64| {
        let mut story = Story::new().added(1, 2, 5, 5, 4).added(4, 9, 1, sum, 6);
        story.0.flushes.push(Flush {
            keyspace: PLACE.keyspace,
            invoked: 3 * MS,
            answered: 8 * MS,
            closed: Time::MAX,
            is_certain: true,
        });
        story
    };
    let counter = |story: Story, from: Time, version: u64, sum: i64| {
        let outcome = Outcome::Saw {
            version,
            timestamp_ms: START,
            value: Some(Value::Counter(sum)),
            ttl_ms: None,
            expires_at_ms: None,
        };
        story.tell(from, from + 1, 2, Act::Get, outcome)
    };
    // The flush came first, or the sum did and is gone.
    counter(story(1), 10, 6, 1).good();
    story(6).absent(10, 11, 2).good();
    counter(story(6), 10, 6, 6).bad("it was flushed");
    story(6).added(10, 11, 1, 7, 7).bad("took away");
    // A write of unknown outcome may lie between.
    counter(story(6), 10, 6, 6).unknown(3, Act::Add(5)).good();
}
