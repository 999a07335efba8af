//! Who administers: tokens, an OpenID provider's tokens, failures, and what each may do.

mod commands;
mod failures;
mod office;
mod organizations;
mod provider;
mod real_provider;
mod tokens;
