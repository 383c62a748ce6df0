//! Maps with known keys.

use serde_json::Value as Json;

use super::{Reader, Value};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Node, Spot};

/// Describes a map with known keys, once: the struct that it is read into, its reader, its JSON Schema and how it is merged.
///
/// ```text
/// keys! {
///     /// What it is for.                                  the schema's description
///     struct Name as "title", one ["a", "b"] {             the schema's definition; rules: see Extra
///         /// What it is for.
///         key: Type = "default",                           optional, with a default in the language's own words
///         /// What it is for.
///         other("if"): Option<Type>,                       optional; a key whose name is no Rust identifier
///         /// What it is for.
///         must: Type,                                      required
///     }
/// }
/// ```
macro_rules! keys {
    ($(#[doc = $doc:literal])+
    struct $name:ident as $title:literal $(, $extra:ident $value:tt)* {
        $($(#[doc = $about:literal])+ $field:ident $(($key:literal))? : $ty:ty $(= $default:literal)?,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            /// Where it stands: the key, or its own first word.
            pub(crate) at: $crate::policy::yaml::Spot,
            $($(#[doc = $about])+ pub(crate) $field: $ty,)+
        }

        impl $crate::policy::read::Placed for $name {
            fn at(&self) -> $crate::policy::yaml::Spot {
                self.at
            }
        }

        impl $name {
            /// Its description.
            pub(crate) const SHAPE: $crate::policy::read::Shape = $crate::policy::read::Shape {
                title: $title,
                doc: concat!($($doc),+),
                keys: &[$($crate::policy::read::Key {
                    name: keys!(@name $field $(($key))?),
                    doc: concat!($($about),+),
                    required: <$ty as $crate::policy::read::Field>::REQUIRED && !keys!(@given $($default)?),
                    default: keys!(@default $($default)?),
                    schema: <$ty as $crate::policy::read::Field>::schema,
                    merge: <$ty as $crate::policy::read::Field>::merge,
                    check: |node, reader| {
                        <$ty as $crate::policy::read::Field>::read(Some(node), reader);
                    },
                }),+],
                extras: &[$(keys!(@extra $extra $value)),*],
            };
        }

        impl $crate::policy::read::Value for $name {
            fn schema(schema: &mut $crate::policy::schema::Schema) -> serde_json::Value {
                Self::SHAPE.schema(schema)
            }

            fn read(
                node: &$crate::policy::yaml::Node,
                reader: &mut $crate::policy::read::Reader,
            ) -> Option<Self> {
                let node = Self::SHAPE.open(node, reader)?;
                $(let $field = <$ty as $crate::policy::read::Field>::read(
                    Self::SHAPE.value(&node, keys!(@name $field $(($key))?)).as_deref(),
                    reader,
                );)+
                Some(Self { at: node.name, $($field: $field?),+ })
            }

            fn merge(
                own: &$crate::policy::yaml::Node,
                default: &$crate::policy::yaml::Node,
            ) -> $crate::policy::yaml::Node {
                Self::SHAPE.merge(own, default)
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident ($key:literal)) => { $key };
    (@given) => { false };
    (@given $default:literal) => { true };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@extra short $key:literal) => { $crate::policy::read::Extra::Short($key) };
    (@extra words $keys:tt) => { $crate::policy::read::Extra::Words(&$keys) };
    (@extra one $keys:tt) => { $crate::policy::read::Extra::One(&$keys) };
    (@extra lone $keys:tt) => { $crate::policy::read::Extra::Lone(&$keys) };
    (@extra any $keys:tt) => { $crate::policy::read::Extra::Any(&$keys) };
    (@extra with ($($keys:tt)+)) => { $crate::policy::read::Extra::With($($keys)+) };
}

/// Something that was read from a map, and knows where that stands.
pub(crate) trait Placed {
    /// The key, or its own first word.
    fn at(&self) -> Spot;
}

/// A key of a map.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// It must be there.
    pub(crate) required: bool,
    /// What holds if it is not there, as it would be written.
    pub(crate) default: Option<&'static str>,
    /// What may stand under it.
    pub(crate) schema: fn(&mut Schema) -> Json,
    /// What holds where a `defaults:` document says something too.
    pub(crate) merge: fn(&Node, &Node) -> Node,
    /// Tells what is wrong with a value that stands under another name.
    pub(crate) check: fn(&Node, &mut Reader),
}

/// What stands under a key, or does not.
pub(crate) trait Field: Sized {
    /// It must be there, unless it has a default.
    const REQUIRED: bool;

    fn schema(schema: &mut Schema) -> Json;

    fn merge(own: &Node, default: &Node) -> Node;

    /// Reads it. `None`: it is missing or wrong, and that was told.
    fn read(node: Option<&Node>, reader: &mut Reader) -> Option<Self>;
}

impl<T: Value> Field for T {
    const REQUIRED: bool = true;

    fn schema(schema: &mut Schema) -> Json {
        T::schema(schema)
    }

    fn merge(own: &Node, default: &Node) -> Node {
        T::merge(own, default)
    }

    fn read(node: Option<&Node>, reader: &mut Reader) -> Option<Self> {
        T::read(node?, reader)
    }
}

impl<T: Value> Field for Option<T> {
    const REQUIRED: bool = false;

    fn schema(schema: &mut Schema) -> Json {
        T::schema(schema)
    }

    fn merge(own: &Node, default: &Node) -> Node {
        T::merge(own, default)
    }

    fn read(node: Option<&Node>, reader: &mut Reader) -> Option<Self> {
        match node {
            None => Some(None),
            Some(node) => T::read(node, reader).map(Some),
        }
    }
}
