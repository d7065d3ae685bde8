//! ONNX models as data: read, queried, cut, converted to 16-bit floats and written again.
//!
//! Nothing here runs a model; see [`wheatear::backbone::probe`] for that.

pub mod cut;
pub mod external;
pub mod file;
pub mod graph;
pub mod half;
pub mod metadata;
pub mod proto;
pub mod shape;
pub mod tensor;
#[cfg(test)]
pub mod testing;
