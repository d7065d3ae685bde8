//! What live sound needs beside the pipeline: events from windows, recent windows for labels that come late, questions to a person,
//! and keeping pace. Nothing here holds a thread or a clock: time is an argument.

pub mod ask;
pub mod facts;
pub mod learning;
pub mod ordinary;
pub mod pace;
pub mod picture;
pub mod provisional;
pub mod recent;
pub mod repeat;
pub mod request;
pub mod smooth;
pub mod timeline;
pub mod times;
pub mod wall;
