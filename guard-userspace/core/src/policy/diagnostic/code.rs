//! The rules, by their stable names.

use super::Severity;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $severity:ident $name:ident = $text:literal,)+) => {
        /// Which rule was broken. Names are stable: tools and people search for them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name, in lower case with dashes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The rule in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_start(),)+
                }
            }

            /// Whether a policy that breaks it can be used.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)+
                }
            }
        }
    };
}

codes! {
    /// A file is at most 1 MiB.
    Error FileSize = "file-size",
    /// A file is text in UTF-8.
    Error NotText = "not-text",
    /// A file is YAML.
    Error Syntax = "syntax",
    /// A key that the language does not have.
    Error UnknownKey = "unknown-key",
}
