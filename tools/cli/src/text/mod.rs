//! Bytes as text and back. Keys and values are any bytes; a command line, a table, JSON and lines of a file are not.
//!
//! One escape language serves everywhere ([`escape`]), one JSON form of bytes ([`json`]), one shell-like way of
//! cutting a line into words ([`words`]). Each has an exact inverse, and the tests hold them to it.

pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod words;
