//! The client: what the verbs of the command line say to a running daemon, and how its answers look.
