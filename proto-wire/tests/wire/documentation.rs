//! `docs/wire-protocol.md` is all that a client in another language has. Its tables and numbers are compared with the code.

use corduroy_proto_wire::{
    BATCH_LEN_MAX, BodyKind, EXPIRES_AT_MS_MAX, HELLO_FRAME_LEN_MAX, INCREMENT_LEN_MAX,
    KEY_LEN_MAX, NAME_LEN_MAX, Opcode, PARTITIONS_MAX, PING_LEN_MAX, PREAMBLE,
    PUT_OVERHEAD_LEN_MAX, REQUEST_HEADER_LEN, RESPONSE_HEADER_LEN, Status, TTL_MS_MAX,
    frame_len_max_least,
};

const DOCUMENT: &str = include_str!("../../../docs/wire-protocol.md");

/// The second cell of the table rows whose first cell is a number in this form.
fn rows(parse: fn(&str) -> Option<u8>, heading: &str) -> Vec<(u8, &'static str)> {
    let section = DOCUMENT
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap();
    section
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some((parse(cells.next()?)?, cells.next()?.trim_matches('`')))
        })
        .collect()
}

/// A row forgotten or a number mistyped sends the authors of other clients after a ghost.
#[test]
fn the_tables_hold_every_opcode_kind_and_status() {
    let opcodes = rows(
        |cell| u8::from_str_radix(cell.strip_prefix("`0x")?.strip_suffix('`')?, 16).ok(),
        "Requests",
    );
    assert_eq!(
        opcodes,
        Opcode::ALL
            .into_iter()
            .filter(|opcode| !opcode.is_internal())
            .map(|opcode| (opcode as u8, opcode.name()))
            .collect::<Vec<_>>()
    );
    for opcode in Opcode::ALL {
        let heading = format!("\n{:#04x} {} ", opcode as u8, opcode.name());
        assert_eq!(
            DOCUMENT.contains(&heading),
            opcode.is_internal(),
            "{opcode:?} is drawn among what shards ask of each other"
        );
    }

    let kinds = rows(|cell| cell.parse().ok(), "Answers");
    let name = |kind: BodyKind| match kind {
        BodyKind::Ttl => "time to live".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let in_code: Vec<(u8, String)> = (0..=u8::MAX)
        .filter_map(|number| Some((number, name(BodyKind::from_u8(number)?))))
        .collect();
    assert_eq!(
        kinds
            .into_iter()
            .map(|(number, kind)| (number, kind.to_owned()))
            .collect::<Vec<_>>(),
        in_code
    );

    let statuses = rows(|cell| cell.parse().ok(), "Status");
    let in_code: Vec<(u8, String)> = (0..=u8::MAX)
        .filter_map(|number| Some((number, format!("{:?}", Status::from_u8(number)?))))
        .collect();
    assert_eq!(
        statuses
            .into_iter()
            .map(|(number, status)| (number, status.to_owned()))
            .collect::<Vec<_>>(),
        in_code
    );
}

/// A limit changed in the code alone makes the page a lie.
#[test]
fn the_limits_are_those_of_the_code() {
    let grouped = |number: u64| {
        let digits = number.to_string();
        let groups: Vec<&str> = digits
            .as_bytes()
            .rchunks(3)
            .rev()
            .map(|group| std::str::from_utf8(group).unwrap())
            .collect();
        groups.join(",")
    };
    let preamble = PREAMBLE.map(|byte| format!("{byte:02X}")).join(" ");
    for statement in [
        format!("The preamble is `{preamble}`"),
        format!("| key | 1 to {} bytes |", grouped(KEY_LEN_MAX as u64)),
        format!(
            "| scan prefix | 0 to {} bytes |",
            grouped(KEY_LEN_MAX as u64)
        ),
        format!("| hello's frame | {HELLO_FRAME_LEN_MAX} bytes |"),
        format!(
            "| operations in a batch | 1 to {},",
            grouped(BATCH_LEN_MAX as u64)
        ),
        format!(
            "| keys in a scan's page | 1 to {},",
            grouped(BATCH_LEN_MAX as u64)
        ),
        format!("| time to live | 1 to {} ms", grouped(TTL_MS_MAX)),
        format!(
            "| time at which a key expires | 0 to {} ms since 1970 |",
            grouped(EXPIRES_AT_MS_MAX)
        ),
        format!(
            "increment | 0 to {} bytes |",
            grouped(INCREMENT_LEN_MAX as u64)
        ),
        format!("| keyspace's name | 1 to {NAME_LEN_MAX} bytes"),
        format!("| client's and server's name | 0 to {NAME_LEN_MAX} bytes"),
        format!(
            "| partitions of a keyspace | 1 to {} |",
            grouped(u64::from(PARTITIONS_MAX))
        ),
        format!(
            "| ping's payload | 0 to {} bytes |",
            grouped(PING_LEN_MAX as u64)
        ),
        format!(
            "`value_len_max` + {} and",
            grouped(PUT_OVERHEAD_LEN_MAX as u64)
        ),
        format!(
            "and at least {},",
            grouped(u64::from(frame_len_max_least(0)))
        ),
        format!(
            "a put takes up at most {} bytes",
            grouped(PUT_OVERHEAD_LEN_MAX as u64)
        ),
        format!("It is at least {REQUEST_HEADER_LEN}."),
        format!(
            "offset  0        4      5        6       8         16          {RESPONSE_HEADER_LEN}\n"
        ),
    ] {
        assert!(
            DOCUMENT.contains(&statement),
            "the page does not say: {statement}"
        );
    }
}
