//! The adapter on disk, from outside: what was acknowledged is there after every fault, and nothing else is.

mod damage;
mod damage_state;
mod disk;
mod faults;
mod golden;
mod life;
mod refused;
mod world;
