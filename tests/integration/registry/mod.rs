//! The rules of a connector's life, over a store of each test's own.

mod audit;
mod creating;
mod destinations;
mod editing;
mod listing;
mod phases;
mod postgres;
mod races;
mod roles;
pub(crate) mod room;
mod staging;
