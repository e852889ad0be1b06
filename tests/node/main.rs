//! The server binary over real sockets and files: how it starts, serves, stops, and comes back.

mod connections;
mod crash;
mod lifecycle;
mod support;
