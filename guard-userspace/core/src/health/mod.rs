//! Whether a service is well: single answers and numbers become the state of a check.

/// What a check says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckState {
    /// Nothing was found out yet, or not any more: a state of its own, neither well nor ill.
    #[default]
    Unknown,
    /// All is as it should be.
    Passing,
    /// Something is not, for long enough.
    Failing,
}
