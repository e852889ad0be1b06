//! What the driver's buffers hold, for whoever checks that they stay within their bounds.

use corduroy_proto_wire::LENGTH_LEN;

use super::{Driver, DriverConfig};
use crate::limits;
use crate::ports::ConnectionId;

/// One connection's buffers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffered {
    /// Whose they are.
    pub connection: ConnectionId,
    /// Came in and is not worked off.
    pub input_bytes: usize,
    /// Is to go out and is not sent.
    pub output_bytes: usize,
}

impl DriverConfig {
    /// The most input that a connection may have at a turn's end: one frame with its length field, and one receive slice.
    #[must_use]
    pub fn input_bytes_max(&self) -> usize {
        LENGTH_LEN + self.frame_len_max() as usize + limits::RECEIVE_SLICE_BYTES
    }
}

impl<P> Driver<P> {
    /// What each connection has in memory.
    pub fn buffered(&self) -> impl Iterator<Item = Buffered> {
        let connections = self.hub.connections.iter();
        connections.map(|(slot, connection)| Buffered {
            connection: connection.id(slot),
            input_bytes: connection.input_bytes(),
            output_bytes: connection.output.len(),
        })
    }
}
