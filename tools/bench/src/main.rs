//! The command line of `corduroy-bench`.

fn main() {}
