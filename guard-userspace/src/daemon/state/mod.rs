//! What outlives the daemon: SQLite, and what it is written for.
