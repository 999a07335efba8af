//! Principals by their certificates.
