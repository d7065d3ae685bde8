//! The adapter on disk, from outside: what was acknowledged is there after every fault, and nothing else is.

mod again;
mod committed;
mod crash;
mod cuts;
mod diary;
mod disk;
mod exhaust;
mod fail;
mod faults;
mod flips;
mod golden;
mod life;
mod pages;
mod refused;
mod script;
mod survive;
mod world;
