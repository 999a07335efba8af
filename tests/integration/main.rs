//! One binary for all integration tests: each module is a room, `support` holds the stand-ins.
