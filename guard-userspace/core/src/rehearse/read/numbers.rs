//! Series, each in its unit.

use serde_json::{Value as Json, json};

use super::texts::span;
use crate::policy::read::{Duration, Percent, Quantity, Reader, Size, Value};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Kind, Node, Scalar};
use crate::policy::{Code, Diagnostic};
use crate::rehearse::series::Series;

const HELP: &str = "write a value, `A -> B over 10m`, `A -> B every 30s`, `A for 5m, then ...`, or a sum of those with ` + `";

macro_rules! series {
    ($($(#[doc = $doc:literal])+ $name:ident = $of:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug)]
            pub(super) struct $name(pub(super) Series);

            impl Value for $name {
                fn schema(_: &mut Schema) -> Json {
                    json!({ "description": concat!($($doc),+), "type": ["string", "number"] })
                }

                fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
                    let of: fn(&str) -> Result<f64, String> = $of;
                    read(node, &of, reader).map(Self)
                }
            }
        )+
    };
}

series! {
    /// Percentages, such as `5% -> 95% over 2m`.
    Percents = |text| quantity::<Percent>(text).map(|percent| percent.0);
    /// Sizes, such as `100MiB -> 450MiB over 10m`.
    Sizes = |text| quantity::<Size>(text).map(|size| size.0 as f64);
    /// Durations, such as `20ms -> 2s over 10m`.
    Durations = |text| quantity::<Duration>(text).map(|span| span.0 as f64);
    /// Plain numbers, such as `200 -> 900 over 5m`.
    Numbers = |text| number(text);
    /// Counts, such as `32 -> 4000 over 1h`.
    Counts = |text| number(text);
}

fn quantity<Q: Quantity>(text: &str) -> Result<Q, String> {
    let fits = !text.is_empty() && Q::regex().is_some_and(|regex| regex.is_match(text));
    fits.then(|| Q::of(text)).flatten().ok_or_else(|| format!("`{text}` is not {}", Q::PATTERN.expected))
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("`{text}` is not a number"))
}

fn read(node: &Node, of: &dyn Fn(&str) -> Result<f64, String>, reader: &mut Reader) -> Option<Series> {
    let Data::Scalar(Scalar { text, kind: Kind::Text | Kind::Int(_) | Kind::Float }) = &node.data else {
        reader.wrong_type(node, "a series of values");
        return None;
    };
    match Series::read(text, of, &span) {
        Ok(series) => Some(series),
        Err(why) => {
            reader.say(Diagnostic::new(Code::Series, node.spot.into(), why).help(HELP));
            None
        }
    }
}
