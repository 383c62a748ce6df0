//! The daemon on real processes: what it keeps, what it survives, what it says.
