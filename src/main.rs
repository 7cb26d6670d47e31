//! The burdock command.

fn main() {}
