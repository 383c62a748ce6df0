//! Events as JSON, one object a line, in the shape of the Elastic Common Schema.
//!
//! What ECS has a name for stands under that name; all else stands under `processguard`. Nested
//! objects, no dotted keys. An absent field means "not known" or "does not apply"; nothing is
//! `null` but the loss that a kernel does not count.
//!
//! ## Bytes
//! Process-supplied strings (names, paths, arguments) need not be UTF-8. In JSON, a byte that is
//! not part of valid UTF-8 is written as the four characters `\xNN` (two lower-case digits). So
//! that nothing is lost, a string that really contains such four characters has its backslash
//! written as `\x5c`. Replacing every `\xNN` by its byte gives the original back, always.
//! Characters that a terminal should not get are `\uNNNN` escapes of JSON itself.
//!
//! ## Ids
//! `process.entity_id` is `BOOT-PID-START`: the boot's UUID without hyphens, the pid in the initial
//! namespace, the start in nanoseconds since boot. It is never reused. As in ECS, `process.user` and
//! `process.group` are the effective ids, `process.real_user` and `process.real_group` the real ones.

mod document;
mod model;
mod read;
mod resources;
mod string;
mod waits;
mod write;

pub use document::write_document;
pub use read::{Error, Line, read};
pub use write::JsonWriter;
