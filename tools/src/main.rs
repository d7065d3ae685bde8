//! t
mod onnx;
fn main() {}
