//! EXEC: what of a transaction is a unit, and what is carried out before and behind it.
//!
//! The commands on keys become one unit (`unit`), which takes effect as a whole. Commands that look at a whole keyspace, at the node or at the
//! connection can't be part of it, for they take rounds over all shards (`rounds`, `admin`). They are **asides**, carried out one after the
//! other: those that stand before the first command on keys before the unit, the others once it has taken effect. So
//!
//! - an aside sees all that the transaction did before it; what comes behind it, it sees too, unless it stands before all commands on keys;
//! - what other connections do in between it may see;
//! - an aside that changes something is never carried out if a watched key has changed;
//! - FLUSHDB and FLUSHALL, of which the place counts, must stand before all commands on keys (and nothing be watched) or behind them.
//!
//! ```text
//! plan → (a database that is selected first is made → plan) → asides before → unit → its answers → asides behind → SELECT counts
//! ```
//!
//! An EXEC without asides and without SELECT is sent at once, and the next command needn't wait for it. In any other case it stays at the front of the
//! connection's input, as every command of several rounds does, with its [`Executing`] beside it.

use corduroy_proto_wire::Request;

use super::super::{Driver, Ports};
use super::accounts::Failing;
use super::input::Done;
use super::unit::{Step, move_request};
use super::{Front, Tag};
use crate::gateway::resp::commands;
use crate::gateway::resp::commands::table::Row;
use crate::gateway::resp::order::SessionOrder;
use crate::gateway::resp::session::Transaction;
use crate::gateway::resp::slowlog::Entry;
use crate::gateway::resp::{Order, Shape, reply};
use crate::ports::ConnectionId;
use crate::types::{KeyspaceId, Now};

/// A database's number and its keyspace.
type Database = (u32, KeyspaceId);

/// An EXEC that takes several rounds.
#[derive(Debug)]
pub(super) struct Executing {
    transaction: Transaction,
    tag: Tag,
    /// What is selected if the transaction does not take effect.
    database: Database,
    stage: Stage,
    /// Commands that were looked at in this stage.
    at: usize,
    /// Replies of the asides before the unit.
    replies: Vec<Vec<u8>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Plan,
    Before,
    Behind,
}

/// A transaction, understood.
struct Plan<'a> {
    /// What is done for each of its commands.
    steps: Vec<Step<'a>>,
    /// What is selected when the turn of each comes.
    databases: Vec<Database>,
    /// What is selected in the end.
    database: Database,
    /// Commands that stand before the unit.
    before: usize,
    /// Which commands they are.
    rows: Vec<Row>,
}

impl Plan<'_> {
    fn has_asides(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Aside))
    }
}

/// Why there is no plan.
enum NoPlan {
    /// It is not known that every shard has this database's keyspace.
    Database(u32),
    /// The transaction is refused with this.
    Refused(String),
}

impl<P: Ports> Driver<P> {
    /// EXEC.
    pub(super) fn execute(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
    ) -> Done {
        // What came before on the same keys may still be on its way to their shards, and if this goes over several shards, holds go another way.
        if self.config.shard_count > 1 && !self.resp(id).queue.is_empty() {
            return self.wait_for_replies(id);
        }
        let transaction = match front.session.execute() {
            Ok(transaction) => transaction,
            Err(error) => {
                self.reply_error(id, tag, error.text());
                return Done::Yes;
            }
        };
        if self.hub.accounts.slowlog.is_on() {
            let commands = transaction.commands();
            front.kept = Some(Entry::of_transaction(commands.len(), commands.iter()));
        }
        let database = (front.session.database(), front.session.keyspace());
        match self.plan(now, front, &transaction) {
            Ok(plan) if !plan.has_asides() && plan.database == database => {
                match self.check_transaction(&transaction, &plan.steps) {
                    Ok(()) => self.send_plan(now, id, tag, &transaction, &plan),
                    Err(text) => self.reply_error(id, tag, text),
                }
                Done::Yes
            }
            Err(NoPlan::Refused(text)) => {
                self.reply_error(id, tag, text);
                Done::Yes
            }
            Ok(_) | Err(NoPlan::Database(_)) => {
                front.executing = Some(Box::new(Executing {
                    transaction,
                    tag,
                    database,
                    stage: Stage::Plan,
                    at: 0,
                    replies: Vec::new(),
                }));
                if self.resp(id).queue.is_empty() {
                    return self.go_on_executing(now, id, front);
                }
                self.wait_for_replies(id)
            }
        }
    }

    /// The next round of an EXEC.
    pub(super) fn go_on_executing(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
    ) -> Done {
        let mut executing = front.executing.take().expect("an EXEC is in hand");
        let done = self.execute_round(now, id, front, &mut executing);
        if done == Done::Later {
            front.executing = Some(executing);
        }
        done
    }

    fn execute_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        executing: &mut Executing,
    ) -> Done {
        let tag = executing.tag;
        if executing.stage == Stage::Behind && !self.resp(id).queue.took_effect() {
            return Done::Yes;
        }
        let Executing {
            transaction,
            database,
            stage,
            at,
            replies,
            ..
        } = executing;
        let mut plan = loop {
            match self.plan(now, front, transaction) {
                Ok(plan) => break plan,
                Err(NoPlan::Refused(text)) => {
                    self.reply_error(id, tag, text);
                    return Done::Yes;
                }
                Err(NoPlan::Database(number)) => {
                    let asked = std::mem::take(&mut front.step);
                    if let Err(round) = self.open_database(now, id, tag, number, &asked) {
                        return self.end_rounds(id, tag, round, front);
                    }
                }
            }
        };
        if *stage == Stage::Plan {
            // Before anything is done.
            if let Err(text) = self.check_transaction(transaction, &plan.steps) {
                self.reply_error(id, tag, text);
                return Done::Yes;
            }
            *stage = Stage::Before;
        }
        if *stage == Stage::Before {
            while *at < plan.before {
                if matches!(plan.steps[*at], Step::Aside) {
                    match self.aside(now, id, front, tag, transaction, &plan, *at) {
                        Some(reply) => replies.push(reply),
                        None => {
                            select(front, *database);
                            return Done::Later;
                        }
                    }
                }
                *at += 1;
                let most = self.config.output_bytes_max / 2;
                if replies.len() > 1 && replies.iter().map(Vec::len).sum::<usize>() > most {
                    select(front, *database);
                    let text = format!(
                        "EXECABORT Transaction discarded: replies to what stands before its commands on keys take over {most} bytes (half of output_bytes_max)"
                    );
                    self.reply_error(id, tag, text);
                    return Done::Yes;
                }
            }
            select(front, *database);
            let asides = plan.steps.iter_mut();
            let asides = asides.filter(|step| matches!(step, Step::Aside));
            for (step, reply) in asides.zip(std::mem::take(replies)) {
                *step = Step::Known(reply);
            }
            self.send_plan(now, id, tag, transaction, &plan);
            *stage = Stage::Behind;
            return self.wait_for_replies(id);
        }
        while *at < plan.steps.len() {
            if matches!(plan.steps[*at], Step::Aside) {
                let Some(reply) = self.aside(now, id, front, tag, transaction, &plan, *at) else {
                    select(front, *database);
                    return Done::Later;
                };
                let connection = &mut self.hub.connections[id.slot as usize];
                let resp = connection.resp.as_mut().expect("it speaks RESP");
                resp.queue.fill(reply, &mut connection.output);
                self.hub.mark_dirty(id);
            }
            *at += 1;
        }
        select(front, plan.database);
        Done::Yes
    }

    fn send_plan(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        transaction: &Transaction,
        plan: &Plan<'_>,
    ) {
        for row in &plan.rows {
            self.hub.accounts.called_inside(*row);
        }
        self.send_transaction(now, id, tag, transaction, &plan.steps);
    }

    /// The next round of an aside; its reply if that is the last one.
    #[expect(
        clippy::too_many_arguments,
        reason = "a round's surroundings, and which command of what"
    )]
    fn aside(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        transaction: &Transaction,
        plan: &Plan<'_>,
        at: usize,
    ) -> Option<Vec<u8>> {
        let arguments = transaction.commands().iter().nth(at);
        let arguments = arguments.expect("a plan has a step for each command");
        select(front, plan.databases[at]);
        self.resp(id).captured = Some(Vec::new());
        let done = match commands::order(&arguments, &front.session, now) {
            Ok(order) => self.carry_out_order(now, id, front, tag, order),
            Err(error) => {
                self.reply_error(id, tag, error.text());
                Done::Yes
            }
        };
        let reply = self.resp(id).captured.take();
        if self.hub.accounts.take_failing() != Failing::No
            && let Some(row) = plan.rows.get(at)
        {
            self.hub.accounts.failed(*row);
        }
        match done {
            Done::Yes => reply,
            Done::Later => None,
            Done::Parts | Done::Closed => unreachable!("no aside ends so"),
        }
    }

    /// Understands the commands of a transaction, one after the other: a SELECT among them counts for those after it.
    fn plan<'a>(
        &mut self,
        now: Now,
        front: &mut Front,
        transaction: &'a Transaction,
    ) -> Result<Plan<'a>, NoPlan> {
        let begin = (front.session.database(), front.session.keyspace());
        let plan = self.plan_from(now, front, transaction);
        select(front, begin);
        plan
    }

    fn plan_from<'a>(
        &self,
        now: Now,
        front: &mut Front,
        transaction: &'a Transaction,
    ) -> Result<Plan<'a>, NoPlan> {
        let is_watched = transaction.preconditions().next().is_some();
        let mut steps = Vec::new();
        let mut databases = Vec::new();
        let mut rows = Vec::new();
        let mut before = None;
        let mut flushes = false;
        for (at, arguments) in transaction.commands().iter().enumerate() {
            rows.extend(commands::row_of(&arguments).ok());
            databases.push((front.session.database(), front.session.keyspace()));
            let order = match commands::order(&arguments, &front.session, now) {
                Ok(order) => order,
                Err(error) => {
                    steps.push(Step::Known(reply::error_bytes(error.text())));
                    continue;
                }
            };
            if is_watched && aside_of(&order) == Some(Aside::Changes) {
                before.get_or_insert(at);
            }
            if matches!(order, Order::Flush { .. }) {
                flushes |= before.is_some();
            }
            let step = self.step(front, &arguments, order)?;
            if !step.requests().is_empty() {
                if flushes {
                    let text = "EXECABORT Transaction discarded: FLUSHDB and FLUSHALL must stand before all commands on keys (and no key be watched) or behind them";
                    return Err(NoPlan::Refused(text.into()));
                }
                before.get_or_insert(at);
            }
            steps.push(step);
        }
        Ok(Plan {
            before: before.unwrap_or(steps.len()),
            steps,
            databases,
            rows,
            database: (front.session.database(), front.session.keyspace()),
        })
    }

    /// What is done for one command.
    fn step<'a>(
        &self,
        front: &mut Front,
        arguments: &[&[u8]],
        order: Order<'a>,
    ) -> Result<Step<'a>, NoPlan> {
        let keyspace = |number| {
            let keyspace = self.keyspace_of_database(number);
            keyspace
                .filter(|keyspace| self.is_everywhere(*keyspace))
                .ok_or(NoPlan::Database(number))
        };
        let values = |requests: Vec<(Request<'a>, Shape)>| {
            requests.into_iter().map(|(request, _)| request).collect()
        };
        Ok(match order {
            order if aside_of(&order).is_some() => Step::Aside,
            Order::One(request, shape) => Step::One(request, shape),
            Order::Reply(bytes) | Order::AfterEarlier(bytes) => Step::Known(bytes),
            Order::Array(requests) => Step::Array(values(requests)),
            Order::Sum(requests) => Step::Sum(requests),
            Order::Move(mut moving, shape) => {
                if let Some(number) = moving.database {
                    moving.destination.0 = keyspace(number)?;
                }
                Step::One(move_request(&moving), shape)
            }
            Order::Together {
                requests,
                preconditions,
                ..
            } if preconditions.is_empty() => Step::Sum(requests),
            Order::Session(SessionOrder::Select(number)) => {
                select(front, (number, keyspace(number)?));
                Step::Known(b"+OK\r\n".to_vec())
            }
            // EXEC has forgotten the watched keys.
            Order::Session(SessionOrder::Unwatch) => Step::Known(b"+OK\r\n".to_vec()),
            _ => return Err(NoPlan::Refused(not_in_transaction(arguments[0]))),
        })
    }
}

/// What an aside does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aside {
    Asks,
    Changes,
}

/// Whether an order is carried out beside a transaction's unit, and whether it changes anything then.
fn aside_of(order: &Order<'_>) -> Option<Aside> {
    match order {
        Order::DbSize
        | Order::Keys { .. }
        | Order::Scan(_)
        | Order::RandomKey
        | Order::Info(_)
        | Order::Session(
            SessionOrder::GetName
            | SessionOrder::ClientId
            | SessionOrder::ClientInfo
            | SessionOrder::ClientList(_)
            | SessionOrder::Cluster(_)
            | SessionOrder::SlowlogGet(_)
            | SessionOrder::SlowlogLen
            | SessionOrder::ConfigGet(_),
        ) => Some(Aside::Asks),
        Order::Flush { .. }
        | Order::Session(
            SessionOrder::SetText(..)
            | SessionOrder::ReadOnly(_)
            | SessionOrder::SlowlogReset
            | SessionOrder::ConfigSet(_)
            | SessionOrder::ConfigResetStat,
        ) => Some(Aside::Changes),
        _ => None,
    }
}

fn select(front: &mut Front, (number, keyspace): Database) {
    front.session.select(number, keyspace);
}

fn not_in_transaction(command: &[u8]) -> String {
    let command = String::from_utf8_lossy(command).to_ascii_lowercase();
    format!("EXECABORT Transaction discarded: '{command}' can't be part of one here")
}
