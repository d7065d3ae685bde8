//! The command `wheatear` as its user meets it: real sounds through the whole path, every output format, and every fault
//! that a user can cause, each with its exit code and a message that helps. Needs what `cargo xtask setup` makes.

mod bad_files;
mod bad_sounds;
mod command;
mod configured;
mod corrections;
mod disk;
mod formats;
mod going_back;
mod head;
mod interrupted;
mod lab;
mod label_sets;
mod life;
mod material;
mod portable;
mod portable_refused;
mod rebase;
mod repair;
mod verify;
