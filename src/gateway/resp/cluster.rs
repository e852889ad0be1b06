//! CLUSTER: the layout as cluster-aware clients read it. One node has all slots, so every key is routed to it.
//!
//! Which core of the node has a key is no matter of these clients: a request for another core's key travels there inside the node.

use corduroy_proto_wire::SLOTS;

use super::order::ClusterOrder;
use super::reply::{self, Protocol};

/// What CLUSTER's replies are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterData {
    /// 40 hexadecimal digits, the same for as long as the data directory lives.
    pub node_id: String,
    /// Where clients reach the node. Empty: where they have reached it already, which is right behind any address translation.
    pub host: String,
    /// The port that it listens on.
    pub port: u16,
}

/// Writes the reply to one of CLUSTER's subcommands.
pub fn write(out: &mut Vec<u8>, protocol: Protocol, order: ClusterOrder, data: &ClusterData) {
    let last_slot = i64::from(SLOTS - 1);
    let ClusterData {
        node_id,
        host,
        port,
    } = data;
    match order {
        ClusterOrder::MyId => reply::bulk(out, node_id.as_bytes()),
        ClusterOrder::Info => reply::verbatim(out, protocol, &info()),
        ClusterOrder::Nodes => {
            let line = format!(
                "{node_id} {host}:{port}@{port} myself,master - 0 0 0 connected 0-{last_slot}\n"
            );
            reply::verbatim(out, protocol, &line);
        }
        ClusterOrder::Slots => {
            reply::array(out, 1);
            reply::array(out, 3);
            reply::integer(out, 0);
            reply::integer(out, last_slot);
            reply::array(out, 4);
            reply::bulk(out, host.as_bytes());
            reply::integer(out, i64::from(*port));
            reply::bulk(out, node_id.as_bytes());
            // What else there is to say of the node's addresses.
            reply::map(out, protocol, 0);
        }
        ClusterOrder::Shards => write_shards(out, protocol, data, last_slot),
    }
}

fn write_shards(out: &mut Vec<u8>, protocol: Protocol, data: &ClusterData, last_slot: i64) {
    reply::array(out, 1);
    reply::map(out, protocol, 2);
    reply::bulk(out, b"slots");
    reply::array(out, 2);
    reply::integer(out, 0);
    reply::integer(out, last_slot);
    reply::bulk(out, b"nodes");
    reply::array(out, 1);
    reply::map(out, protocol, 7);
    let text = |out: &mut Vec<u8>, field: &str, text: &str| {
        reply::bulk(out, field.as_bytes());
        reply::bulk(out, text.as_bytes());
    };
    text(out, "id", &data.node_id);
    reply::bulk(out, b"port");
    reply::integer(out, i64::from(data.port));
    text(out, "ip", &data.host);
    text(out, "endpoint", &data.host);
    text(out, "role", "master");
    reply::bulk(out, b"replication-offset");
    reply::integer(out, 0);
    text(out, "health", "online");
}

fn info() -> String {
    let mut text = String::from("cluster_state:ok\r\n");
    for (field, number) in [
        ("cluster_slots_assigned", SLOTS),
        ("cluster_slots_ok", SLOTS),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", 0),
        ("cluster_known_nodes", 1),
        ("cluster_size", 1),
        ("cluster_current_epoch", 0),
        ("cluster_my_epoch", 0),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
        ("total_cluster_links_buffer_limit_exceeded", 0),
    ] {
        text.push_str(&format!("{field}:{number}\r\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "fc552c22657c79a3d754c788b12058d16d93ae35";

    fn written(order: ClusterOrder, protocol: Protocol) -> String {
        let data = ClusterData {
            node_id: ID.into(),
            host: String::new(),
            port: 17441,
        };
        let mut out = Vec::new();
        write(&mut out, protocol, order, &data);
        String::from_utf8(out).unwrap()
    }

    /// A cluster client that can't read the layout does not start. These are the bytes of redis-server 7.0.15 with all slots on one node; but for
    /// the bus, which there is at port 27441 there and not at all here.
    #[test]
    fn the_layout_is_told_as_redis_tells_it() {
        let slots =
            format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$0\r\n\r\n:17441\r\n$40\r\n{ID}\r\n");
        let resp2 = written(ClusterOrder::Slots, Protocol::Resp2);
        assert_eq!(resp2, format!("{slots}*0\r\n"));
        let resp3 = written(ClusterOrder::Slots, Protocol::Resp3);
        assert_eq!(resp3, format!("{slots}%0\r\n"));
        assert_eq!(
            written(ClusterOrder::Shards, Protocol::Resp2),
            format!(
                "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n*14\r\n$2\r\nid\r\n$40\r\n{ID}\r\n\
                 $4\r\nport\r\n:17441\r\n$2\r\nip\r\n$0\r\n\r\n$8\r\nendpoint\r\n$0\r\n\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
                 $18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"
            )
        );
        let line = format!("{ID} :17441@17441 myself,master - 0 0 0 connected 0-16383\n");
        assert_eq!(
            written(ClusterOrder::Nodes, Protocol::Resp2),
            format!("$94\r\n{line}\r\n")
        );
        assert_eq!(
            written(ClusterOrder::Nodes, Protocol::Resp3),
            format!("=98\r\ntxt:{line}\r\n")
        );
        assert_eq!(
            written(ClusterOrder::Info, Protocol::Resp2),
            "$312\r\ncluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\n\
             cluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:0\r\ncluster_my_epoch:0\r\n\
             cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
             total_cluster_links_buffer_limit_exceeded:0\r\n\r\n"
        );
        assert_eq!(
            written(ClusterOrder::MyId, Protocol::Resp3),
            format!("$40\r\n{ID}\r\n")
        );
    }
}
