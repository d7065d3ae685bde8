//! The few hot loops. [`scalar`] is the oracle: plain loops over slices, shaped so that the compiler vectorises them; any
//! specialisation for an instruction set must give the same integers.

pub mod scalar;
