//! Commands on the node: what it is, how it does, how it is set.

use corduroy_proto_wire::slot_of;

use super::{Answer, Ask, CommandError, Fixed, is, number, repeated};
use crate::gateway::resp::order::{ClusterOrder, Order, SessionOrder};
use crate::gateway::resp::reply;
use crate::limits;

/// Most sections that INFO is asked for; more are not there.
const SECTIONS_MAX: usize = 64;

fn session<'a>(order: SessionOrder<'a>) -> Answer<'a> {
    Ok(Order::Session(order))
}

fn written<'a>(write: impl FnOnce(&mut Vec<u8>)) -> Answer<'a> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    Ok(Order::Reply(bytes))
}

fn subcommand_syntax(command: &'static str, subcommand: &[u8]) -> CommandError {
    CommandError::SubcommandSyntax {
        command,
        subcommand: repeated(subcommand),
    }
}

pub(super) fn info<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let section = |name: &&[u8]| String::from_utf8_lossy(&repeated(name)).to_ascii_lowercase();
    let sections = ask.rest(1).iter().take(SECTIONS_MAX).map(section);
    Ok(Order::Info(sections.collect()))
}

pub(super) fn config_get<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::ConfigGet(ask.rest(2).to_vec()))
}

pub(super) fn config_set<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let (pairs, []) = ask.rest(2).as_chunks::<2>() else {
        return Err(Fixed::Syntax.into());
    };
    let pairs = pairs.iter().map(|&[name, value]| (name, value)).collect();
    session(SessionOrder::ConfigSet(pairs))
}

pub(super) fn config_resetstat<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::ConfigResetStat)
}

pub(super) fn config_rewrite<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Err(Fixed::NoRewrite.into())
}

/// No latency events are noted under Redis's names: `status` has percentiles of each kind of request instead.
pub(super) fn latency_empty<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    written(|bytes| reply::array(bytes, 0))
}

pub(super) fn latency_histogram<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    written(|bytes| reply::map(bytes, ask.session.protocol(), 0))
}

pub(super) fn latency_reset<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    written(|bytes| reply::integer(bytes, 0))
}

pub(super) fn latency_doctor<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let text = "Latency events are not noted here. `corduroy-cli status` has the percentiles of each kind of request and of the turns of each shard.\n";
    written(|bytes| reply::verbatim(bytes, ask.session.protocol(), text))
}

pub(super) fn latency_graph<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    Err(CommandError::NoSamples(repeated(ask.argument(2))))
}

pub(super) fn slowlog_get<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let count = match ask.rest(2) {
        [] => 10,
        [count] => number::integer(count)
            .filter(|&count| count >= -1)
            .ok_or(Fixed::SlowlogCount)?,
        _ => return Err(subcommand_syntax("SLOWLOG", ask.argument(1))),
    };
    session(SessionOrder::SlowlogGet(count))
}

pub(super) fn slowlog_len<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::SlowlogLen)
}

pub(super) fn slowlog_reset<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::SlowlogReset)
}

pub(super) fn cluster_slots<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::Cluster(ClusterOrder::Slots))
}

pub(super) fn cluster_shards<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::Cluster(ClusterOrder::Shards))
}

pub(super) fn cluster_nodes<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::Cluster(ClusterOrder::Nodes))
}

pub(super) fn cluster_myid<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::Cluster(ClusterOrder::MyId))
}

pub(super) fn cluster_info<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::Cluster(ClusterOrder::Info))
}

pub(super) fn cluster_keyslot<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    written(|bytes| reply::integer(bytes, i64::from(slot_of(ask.argument(2)))))
}

/// Of DEBUG only SLEEP, which lets a test hold a connection up, and only where the settings allow it.
pub(super) fn debug<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if !ask.session.settings().debug {
        return Err(Fixed::DebugNotAllowed.into());
    }
    match ask.rest(1) {
        [subcommand, seconds] if is(subcommand, "SLEEP") => {
            let seconds = std::str::from_utf8(seconds).ok();
            let seconds = seconds.and_then(|seconds| seconds.parse::<f64>().ok());
            let seconds = seconds.filter(|seconds| !seconds.is_nan());
            let seconds = seconds.ok_or(Fixed::NotAFloat)?;
            // The conversion saturates: below at 0.
            let nanos = (seconds * 1e9) as u64;
            Ok(Order::Sleep {
                nanos: nanos.min(limits::DEBUG_SLEEP_NS_MAX),
            })
        }
        [subcommand, ..] => Err(subcommand_syntax("DEBUG", subcommand)),
        [] => Err(ask.arity_error()),
    }
}

pub(super) fn lolwut<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if let [option, version, ..] = ask.rest(1)
        && is(option, "VERSION")
    {
        number::integer(version).ok_or(Fixed::NotAnInteger)?;
    }
    let text = concat!("Corduroy ver. ", env!("CARGO_PKG_VERSION"), "\n");
    written(|bytes| reply::verbatim(bytes, ask.session.protocol(), text))
}

pub(super) fn time<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let now_ms = ask.now.wall.0;
    written(|bytes| {
        reply::array(bytes, 2);
        reply::bulk(bytes, (now_ms / 1000).to_string().as_bytes());
        reply::bulk(bytes, (now_ms % 1000 * 1000).to_string().as_bytes());
    })
}

/// All that is acknowledged is in the log, so the last save is always now.
pub(super) fn lastsave<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    written(|bytes| reply::integer(bytes, ask.now_ms() / 1000))
}

/// `master`, at offset 0, without replicas.
pub(super) fn role<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    written(|bytes| {
        reply::array(bytes, 3);
        reply::bulk(bytes, b"master");
        reply::integer(bytes, 0);
        reply::array(bytes, 0);
    })
}
