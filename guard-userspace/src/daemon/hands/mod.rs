//! Deeds: what the supervisor plans is done here, to processes whose identity was checked.
