//! The adapter on disk, from outside: what was acknowledged is there after every fault, and nothing else is.

mod corrected;
mod damage;
mod damage_state;
mod disk;
mod faults;
mod forget;
mod golden;
mod life;
mod random_life;
mod refused;
mod relabel;
mod replay;
mod rewrite;
mod undo;
mod world;
