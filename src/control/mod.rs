//! The control plane: what is published, and later the store, the admin API and the console.

pub mod publisher;
