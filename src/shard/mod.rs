//! The state machine that ties storage and ordering together.
