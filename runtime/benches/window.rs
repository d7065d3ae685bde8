//! One
fn main() {}
