//! The wire oracle: what clients send, to the byte, and what of it reaches origins.

mod mutants;
mod oracle;
mod streams;
