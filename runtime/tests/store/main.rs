//! The adapter on disk, from outside: what was acknowledged is there after every fault, and nothing else is.

mod committed;
mod corrected;
mod crash;
mod cuts;
mod damage;
mod damage_state;
mod diary;
mod disk;
mod exhaust;
mod faults;
mod forget;
mod golden;
mod life;
mod pages;
mod random_life;
mod refused;
mod relabel;
mod rewrite;
mod salvage;
mod script;
mod survive;
mod undo;
mod verify;
mod world;
mod wreck;
