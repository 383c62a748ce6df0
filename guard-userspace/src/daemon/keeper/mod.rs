//! The keeper: a process of its own that holds the services' log pipes and outlives the daemon.
