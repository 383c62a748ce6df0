//! Questions to services, and their answers.
