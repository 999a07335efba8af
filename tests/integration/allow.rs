//! Who may call a connector, and what for: its `allow`.
