//! Each promise is broken here by hand: a search that finds an order for everything would never find a fault.

use super::super::command::{Command, Expires, Key, Only};
use super::*;

const BOUNDS: Bounds = Bounds {
    value_len_max: 1000,
};

/// Requests in the making; each is answered before the next is sent, unless a test says otherwise.
#[derive(Default)]
struct Story {
    requests: Vec<Request>,
    moment: u64,
}

impl Story {
    fn ask(&mut self, connection: u32, deed: Deed, reply: Option<Reply>) -> &mut Request {
        self.moment += 2;
        self.requests.push(Request {
            connection,
            deed,
            is_audit: false,
            invoked: self.moment,
            answered: match &reply {
                Some(_) => self.moment + 1,
                None => u64::MAX,
            },
            clock: Clock {
                low: 1000,
                high: 1000,
            },
            reply,
            has_failed: false,
        });
        self.requests.last_mut().expect("it was pushed just now")
    }

    fn get(&mut self, connection: u32, key: Key, value: Option<&str>) -> &mut Request {
        let reply = Reply::Bulk(value.map(str::to_owned));
        self.ask(connection, Deed::One(Command::Get(key)), Some(reply))
    }

    fn verdict(&self, half: Half) -> Verdict {
        explain(&State::default(), &self.requests, half, BOUNDS)
    }

    fn is_explained(&self) -> bool {
        self.verdict(Half::Never) == Verdict::Explained
    }
}

fn ok() -> Option<Reply> {
    Some(Reply::Simple("OK".to_owned()))
}

fn set(key: Key, value: &str) -> Deed {
    Deed::One(Command::Set {
        key,
        value: value.into(),
        expires: Expires::Never,
        only: Only::Always,
        get: false,
    })
}

fn both(value: &str) -> Deed {
    Deed::One(Command::MSet(vec![(0, value.into()), (1, value.into())]))
}

fn exec(commands: Vec<Command>, watched: u8) -> Deed {
    Deed::Exec { commands, watched }
}

#[test]
fn a_reply_of_the_past_has_no_place() {
    let mut story = Story::default();
    story.ask(1, set(0, "a"), ok());
    story.ask(1, set(0, "b"), ok());
    story.get(2, 0, Some("b"));
    assert!(story.is_explained());
    story.get(2, 0, Some("a"));
    assert_eq!(story.verdict(Half::Never), Verdict::Contradiction(3));
}

/// Two that overlap may come in either order; the replies say in which.
#[test]
fn requests_that_overlap_have_an_order_all_the_same() {
    let mut story = Story::default();
    story.ask(1, set(0, "a"), ok()).answered = 100;
    story.ask(2, set(0, "b"), ok()).answered = 101;
    story.get(3, 0, Some("b")).answered = 102;
    story.get(4, 0, Some("a")).answered = 103;
    assert!(story.is_explained());
    story.get(3, 0, Some("b")).answered = 104;
    assert!(story.is_explained(), "the second get may still come first");
    story.moment = 200;
    story.get(3, 0, Some("b"));
    story.get(3, 0, Some("a"));
    assert!(!story.is_explained());
}

#[test]
fn one_connection_keeps_its_order_on_a_key() {
    let mut story = Story::default();
    story.ask(1, set(0, "a"), ok()).answered = 100;
    story.get(1, 0, None).answered = 101;
    assert!(!story.is_explained());
    story.requests[1].connection = 2;
    assert!(story.is_explained(), "another's may come before");
}

#[test]
fn what_has_no_reply_happened_once_or_not_at_all() {
    let mut story = Story::default();
    story.ask(1, Deed::One(Command::IncrBy(0, 5)), None);
    story.get(2, 0, None);
    story.get(2, 0, Some("5"));
    story.get(2, 0, Some("5"));
    assert!(story.is_explained());
    story.get(2, 0, Some("10"));
    assert!(!story.is_explained());
}

#[test]
fn nobody_sees_half_of_what_takes_effect_together() {
    let half = |reader: Vec<Command>, parts: Vec<Reply>| {
        let mut story = Story::default();
        story.ask(1, both("a"), ok()).answered = 100;
        story
            .ask(2, exec(reader, 0), Some(Reply::Array(parts)))
            .answered = 101;
        story.is_explained()
    };
    let text = |text: &str| Reply::Bulk(Some(text.to_owned()));
    let reader = vec![Command::Get(0), Command::Get(1)];
    assert!(half(reader.clone(), vec![text("a"), text("a")]));
    assert!(half(
        reader.clone(),
        vec![Reply::Bulk(None), Reply::Bulk(None)]
    ));
    assert!(!half(reader.clone(), vec![text("a"), Reply::Bulk(None)]));
    assert!(!half(reader, vec![Reply::Bulk(None), text("a")]));
}

/// The death of the node may cut in two what was not acknowledged, if it may be on several shards; before it nobody saw that.
#[test]
fn a_death_cuts_only_what_has_no_reply() {
    let story = |reply: Option<Reply>| {
        let mut story = Story::default();
        story.ask(1, both("a"), reply).answered = 100;
        story.get(2, 0, Some("a"));
        story.get(2, 1, None);
        story.moment = 200;
        story.get(3, 0, Some("a")).is_audit = true;
        story.get(3, 1, None).is_audit = true;
        story
    };
    let open = story(None);
    assert_eq!(open.verdict(Half::AnyTime), Verdict::Explained);
    assert_ne!(open.verdict(Half::AtDeath), Verdict::Explained);
    assert!(!open.is_explained(), "on one shard nothing is cut in two");
    let mut unseen = story(None);
    unseen.requests.remove(2);
    assert_eq!(unseen.verdict(Half::AtDeath), Verdict::Explained);
    let mut told = story(ok());
    told.requests.remove(2);
    assert_ne!(told.verdict(Half::AnyTime), Verdict::Explained);
}

/// What was on its way when the node died does not happen between two reads of the audit.
#[test]
fn nothing_happens_after_the_death() {
    let mut story = Story::default();
    story.ask(1, set(0, "a"), None);
    story.get(2, 1, None).is_audit = true;
    story.get(2, 0, None).is_audit = true;
    assert!(story.is_explained());
    story.get(2, 0, Some("a")).is_audit = true;
    assert!(!story.is_explained());
}

#[test]
fn a_watched_key_that_changed_refuses_the_transaction() {
    let story = |between: Option<u32>, reply: Option<Reply>| {
        let mut story = Story::default();
        story.ask(1, set(0, "a"), ok());
        story.ask(1, Deed::Watch(0), ok());
        if let Some(connection) = between {
            story.ask(connection, set(0, "b"), ok());
        }
        story.ask(1, exec(vec![Command::Get(1)], 1), reply);
        story.is_explained()
    };
    let carried_out = || Some(Reply::Array(vec![Reply::Bulk(None)]));
    assert!(story(None, carried_out()));
    assert!(!story(None, Some(Reply::NoArray)), "nothing changed");
    assert!(story(Some(2), Some(Reply::NoArray)));
    assert!(!story(Some(2), carried_out()));
    assert!(!story(Some(1), carried_out()), "its own writes count too");
}

/// EXEC ends what its connection watched, whether its reply arrives or not, and though it only reads: the next EXEC goes by nothing that was watched before.
#[test]
fn a_transaction_that_only_reads_ends_its_watches() {
    let exec = |command: Command, watched: u8| Deed::Exec {
        commands: vec![command],
        watched,
    };
    let looked = exec(Command::Get(1), 0b1);
    let story = |has_looked: bool| {
        let mut story = Story::default();
        story.ask(1, set(0, "a"), ok());
        story.ask(1, Deed::Watch(0), ok());
        if has_looked {
            story.ask(1, looked.clone(), None);
        }
        story.ask(1, set(0, "b"), None);
        story.ask(1, exec(Command::Append(0, "c".into()), 0), None);
        story.get(2, 0, Some("bc"));
        story
    };
    assert!(!looked.only_reads(), "it is not to be left out");
    assert!(story(true).is_explained());
    assert!(!story(false).is_explained());
}

/// DEL of several keys deletes each by itself; the sum is that of all.
#[test]
fn a_sum_counts_what_each_key_had() {
    let share = |key: Key| Deed::Share {
        key,
        group: 7,
        of: 2,
    };
    let story = |sum: i64| {
        let mut story = Story::default();
        story.ask(1, set(0, "a"), ok());
        story.ask(1, share(0), Some(Reply::Number(sum))).answered = 100;
        story.ask(1, share(1), Some(Reply::Number(sum))).answered = 100;
        story.ask(2, set(1, "b"), ok()).answered = 100;
        story.moment = 200;
        story
    };
    assert!(story(1).is_explained());
    assert!(story(2).is_explained());
    assert!(!story(0).is_explained());
    let mut late = story(1);
    late.get(2, 1, None);
    assert!(!late.is_explained(), "if the second was deleted, it counts");
    late.requests[1].reply = Some(Reply::Number(2));
    late.requests[2].reply = Some(Reply::Number(2));
    assert!(late.is_explained());
}

/// A key is there until its time is over, and not after it; in between anything goes.
#[test]
fn a_key_goes_when_its_time_is_over() {
    let story = |low: u64, high: u64, value: Option<&str>| {
        let mut story = Story::default();
        let deed = Deed::One(Command::Set {
            key: 0,
            value: "a".into(),
            expires: Expires::Millis(50),
            only: Only::Always,
            get: false,
        });
        story.ask(1, deed, ok()).clock = Clock {
            low: 1000,
            high: 1002,
        };
        story.get(1, 0, value).clock = Clock { low, high };
        story.is_explained()
    };
    assert!(story(1040, 1049, Some("a")));
    assert!(!story(1040, 1049, None));
    assert!(story(1045, 1051, None) && story(1045, 1051, Some("a")));
    assert!(story(1053, 1060, None));
    assert!(!story(1053, 1060, Some("a")));
}
