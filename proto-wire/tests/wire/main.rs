//! The codec from outside: what its users rely on.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, end the test that they can't go on with"
)]

mod documentation;
mod golden;
mod hostile;
mod material;
mod round_trip;
mod rules;
