//! The adapter on disk, from outside: what was acknowledged is there after every fault, and nothing else is.

mod disk;
mod faults;
mod golden;
mod life;
mod refused;
mod salvage;
mod world;
mod wreck;
