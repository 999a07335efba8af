//! From the store to what is published.

mod report;

pub use report::{BrokenReport, OutageReport, ServedFrom, StoreReport};
