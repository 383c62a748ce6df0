//! The texts of the language.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::names;
use crate::policy::model::{EndStatus, Port, StatusRange};
use crate::policy::read::{At, Hint, Int, MapKey, Pattern, Reader, Text, Value, no_hint, suggest};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Kind, Node, Scalar, Spot, resolve, shown};
use crate::policy::{Code, Diagnostic};

texts! {
    /// A name: lower-case letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit; at most 63.
    Name as "name" = "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$", "a name such as `checkout-api`", Name, name_hint;
    /// The name of a label: letters, digits, `-`, `_`, `.` and `/`; at most 63.
    LabelName as "label-name" = "^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$", "the name of a label", Name, no_hint;
    /// The name of an environment variable: letters, digits and `_`, not beginning with a digit.
    VariableName as "variable-name" = "^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable", Name, no_hint;
    /// The name of an HTTP header.
    HeaderName as "header-name" = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "the name of a header", Name, no_hint;
    /// A header's value: one line.
    HeaderValue as "header-value" = "^[^\\n\\r]*$", "one line of text", WrongType, no_hint;
    /// A path from the root, such as `/srv/checkout`.
    AbsolutePath as "path" = "^/[^\\n\\r]*$", "an absolute path such as `/srv/checkout`", Path, path_hint;
    /// An `http:` or `https:` address, such as `http://127.0.0.1:{port}/health`.
    Url as "url" = "^https?://[!-.0-~][!-~]*$", "a URL such as `http://127.0.0.1:8080/health`", Url, url_hint;
    /// A host and a port, such as `127.0.0.1:5432` or `[::1]:{port}`.
    Address as "address" = "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+):([0-9]{1,5}|\\{port\\})$",
        "an address such as `127.0.0.1:5432`", Address, address_hint;
    /// The name of a host, such as `db.example.org`.
    HostName as "host-name" = "^[A-Za-z0-9._:*-]+$", "the name of a host", Address, no_hint;
    /// An HTTP method, such as `GET`.
    Method as "method" = "^[A-Z]+$", "a method such as `GET`", UnknownWord, method_hint;
    /// A systemd unit, such as `nginx.service`.
    UnitName as "unit" = "^[A-Za-z0-9:_.@\\\\-]+\\.(service|scope|slice)$", "a unit such as `nginx.service`", Name, unit_hint;
    /// A container's id: 12 to 64 hexadecimal digits.
    ContainerId as "container-id" = "^[0-9a-f]{12,64}$", "a container's id (12 to 64 hexadecimal digits)", Name, no_hint;
    /// A container's name or id.
    ContainerName as "container-name" = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "a container's name", Name, no_hint;
    /// A place in a JSON document (RFC 6901), such as `/queue/depth`; the empty text is all of it.
    JsonPointer as "json-pointer" = "^(/([^/~]|~[01])*)*$", "a JSON pointer such as `/queue/depth`", Pointer, pointer_hint;
    /// The name of a metric, as Prometheus writes it.
    MetricName as "metric" = "^[a-zA-Z_:][a-zA-Z0-9_:]*$", "the name of a metric", Name, no_hint;
    /// The name of a metric's label.
    MetricLabel as "metric-label" = "^[a-zA-Z_][a-zA-Z0-9_]*$", "the name of a metric's label", Name, no_hint;
    /// Status codes from the first to the last: `200-299`.
    StatusSpan as "status-range" = "^[1-5][0-9]{2}-[1-5][0-9]{2}$", "a range of status codes such as `200-299`", Status, no_hint;
    /// A user's or group's name.
    AccountName as "account" = "^[A-Za-z_][A-Za-z0-9_.-]*\\$?$", "the name or number of a user or group", Name, no_hint;
    /// A program's argument.
    Argument as "argument" = "", "a text", WrongType, no_hint;
}

macro_rules! map_keys {
    ($($name:ident)+) => {
        $(
            impl MapKey for $name {
                fn pattern() -> (&'static Pattern, Option<&'static regex::Regex>) {
                    const PATTERN: Pattern = $name::PATTERN;
                    (&PATTERN, $name::regex())
                }

                fn of(text: &Arc<str>) -> Self {
                    Self(text.clone())
                }
            }
        )+
    };
}

map_keys! { Name LabelName VariableName HeaderName MetricLabel }

/// An account: a name or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account(pub(crate) Arc<str>);

impl Value for Account {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [AccountName::schema(schema), Int::<0, 4_294_967_294>::schema(schema)] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.data {
            Data::Scalar(Scalar { kind: Kind::Int(_), .. }) => {
                Int::<0, 4_294_967_294>::read(node, reader).map(|number| Self(number.0.to_string().into()))
            }
            _ => AccountName::read(node, reader).map(|name| Self(name.0)),
        }
    }
}

/// Program and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Never empty.
    pub(crate) words: Vec<String>,
    /// The program.
    pub(crate) program: Spot,
}

impl Value for Command {
    fn schema(schema: &mut Schema) -> Json {
        json!({
            "description": "Program and arguments. The program is an absolute path; there is no shell.",
            "type": "array",
            "prefixItems": [AbsolutePath::schema(schema)],
            "items": Argument::schema(schema),
            "minItems": 1,
        })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Data::List(words) = &node.data else {
            let message = format!("a command is a list of words, not {}", node.what());
            let mut diagnostic = Diagnostic::new(Code::WrongType, node.spot.into(), message).help(
                "there is no shell: write each argument by itself, such as `[/usr/bin/app, --port, \"80\"]`",
            );
            if let Data::Scalar(Scalar { text, kind: Kind::Text }) = &node.data
                && text.starts_with('/')
                && !text.contains(|c: char| "'\"\\`$|&;<>()*?#~{}[],:\n".contains(c))
            {
                let words = text.split_whitespace().map(|word| match resolve(word) {
                    Kind::Text => word.to_owned(),
                    _ => format!("\"{word}\""),
                });
                let words: Vec<String> = words.collect();
                diagnostic = diagnostic.replacement(format!("[{}]", words.join(", ")));
            }
            reader.say(diagnostic);
            return None;
        };
        let Some((program, arguments)) = words.split_first() else {
            let message = "an empty command does nothing";
            reader.say(Diagnostic::new(Code::TooFew, node.spot.into(), message));
            return None;
        };
        let mut command = AbsolutePath::read(program, reader).map(|path| vec![path.0.to_string()]);
        for argument in arguments {
            match Argument::read(argument, reader) {
                Some(argument) => command.iter_mut().for_each(|command| command.push(argument.0.to_string())),
                None => command = None,
            }
        }
        command.map(|words| Self { words, program: program.spot })
    }
}

/// A regular expression that compiles, in linear time and little memory.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) text: Arc<str>,
    pub(crate) regex: regex::Regex,
}

/// Bytes that a compiled expression may take: enough for a long list of words, far from hurting.
pub(crate) const EXPRESSION_BYTES: usize = 256 * 1024;

impl Value for Expression {
    fn schema(schema: &mut Schema) -> Json {
        Text::schema(schema)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = Text::read(node, reader)?.0;
        let built = regex::RegexBuilder::new(&text)
            .size_limit(EXPRESSION_BYTES)
            .dfa_size_limit(EXPRESSION_BYTES)
            .nest_limit(50)
            .build();
        match built {
            Ok(regex) => Some(Self { text, regex }),
            Err(error) => {
                let diagnostic = if matches!(error, regex::Error::CompiledTooBig(_)) {
                    let message = "this regular expression takes too much memory";
                    Diagnostic::new(Code::Regex, node.spot.into(), message)
                        .help("smaller repetitions, or `[a-z]` instead of `\\w`, make it smaller")
                } else {
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default();
                    let why = why.strip_prefix("error: ").unwrap_or(why);
                    let message = format!("this is not a regular expression: {why}");
                    Diagnostic::new(Code::Regex, node.spot.into(), message)
                        .help("the syntax is that of the crate regex: no look-around, no references back")
                };
                reader.say(diagnostic);
                None
            }
        }
    }
}

/// A signal by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalName(pub(crate) u8);

impl Value for SignalName {
    fn schema(schema: &mut Schema) -> Json {
        schema.define_once("signal", || {
            json!({ "description": "A signal by its name.", "enum": names::signals().collect::<Vec<_>>() })
        })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Data::Scalar(scalar) = &node.data else {
            reader.wrong_type(node, "a signal such as `SIGTERM`");
            return None;
        };
        if let Some(number) = names::signal(&scalar.text) {
            return Some(Self(number));
        }
        if scalar.kind == Kind::Null {
            reader.wrong_type(node, "a signal such as `SIGTERM`");
            return None;
        }
        let message = format!("`{}` is not a signal", shown(&scalar.text));
        let diagnostic = Diagnostic::new(Code::Signal, node.spot.into(), message);
        let known: Vec<String> = names::signals().collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let upper = scalar.text.to_ascii_uppercase();
        let number = scalar.text.parse::<u8>().ok().filter(|number| *number > 0);
        let name = number.map(|number| names::SignalName(number.into()).to_string());
        let guess = name
            .filter(|name| name.starts_with("SIG"))
            .unwrap_or_else(|| if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") });
        reader.say(if names::signal(&guess).is_some() {
            diagnostic.help(format!("signals are written by their names: `{guess}`")).replacement(guess)
        } else {
            suggest(diagnostic, &guess, &known)
        });
        None
    }
}

/// An exit code, or the signal that ends a process.
impl Value for EndStatus {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [Int::<0, 255>::schema(schema), SignalName::schema(schema)] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.data {
            Data::Scalar(Scalar { kind: Kind::Int(_), .. }) => {
                Int::<0, 255>::read(node, reader).map(|code| Self::Code(code.to()))
            }
            _ => SignalName::read(node, reader).map(|signal| Self::Signal(signal.0)),
        }
    }
}

/// A port, or that of the instance.
impl Value for Port {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [PortNumber::schema(schema), { "const": "{port}" }] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.data {
            Data::Scalar(Scalar { kind: Kind::Text, text }) if &**text == "{port}" => Some(Self::Instance),
            // `{port}` without quotes is a map to YAML.
            Data::Map(_) => Argument::read(node, reader).and(None),
            _ => PortNumber::read(node, reader).map(|port| Self::Fixed(port.to())),
        }
    }
}

/// A TCP port.
pub(crate) type PortNumber = Int<1, 65_535>;

/// Status codes: one, or a range.
impl Value for StatusRange {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [Int::<100, 599>::schema(schema), StatusSpan::schema(schema)] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if let Data::Scalar(Scalar { kind: Kind::Int(_) | Kind::Float, .. }) = &node.data {
            let code = Int::<100, 599>::read(node, reader)?.to();
            return Some(Self { first: code, last: code });
        }
        let text = At::<StatusSpan>::read(node, reader)?;
        let (first, last) = text.value.0.split_once('-')?;
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        if range.first > range.last {
            let message = format!("{} is larger than {}", range.first, range.last);
            let swapped = format!("{}-{}", range.last, range.first);
            let diagnostic = Diagnostic::new(Code::Bounds, text.spot.into(), message);
            reader.say(diagnostic.help(format!("write `{swapped}`")).replacement(swapped));
            return None;
        }
        Some(range)
    }
}

/// A capability that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Capability(pub(crate) String);

/// Its name in policies.
fn capability(name: &str) -> String {
    name.strip_prefix("CAP_").unwrap_or(name).to_ascii_lowercase()
}

impl Value for Capability {
    fn schema(schema: &mut Schema) -> Json {
        schema.define_once("capability", || {
            let names: Vec<String> = names::CAPABILITIES.iter().map(|name| capability(name)).collect();
            json!({ "description": "A capability: its name without `cap_`.", "enum": names })
        })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = Text::read(node, reader)?.0;
        let known: Vec<String> = names::CAPABILITIES.iter().map(|name| capability(name)).collect();
        if known.iter().any(|name| **name == *text) {
            return Some(Self(text.to_string()));
        }
        let message = format!("`{}` is not a capability", shown(&text));
        let diagnostic = Diagnostic::new(Code::Capability, node.spot.into(), message);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let lower = text.to_ascii_lowercase();
        reader.say(suggest(diagnostic, lower.strip_prefix("cap_").unwrap_or(&lower), &known));
        None
    }
}

fn name_hint(text: &str) -> Option<Hint> {
    let mended: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c) { c } else { '-' })
        .collect();
    let mended = mended.trim_matches(['-', '.', '_']);
    (!mended.is_empty() && mended.len() <= 63 && text.is_ascii()).then(|| Hint::write(mended))
}

fn path_hint(text: &str) -> Option<Hint> {
    let help = if text.starts_with("~") || text.starts_with('$') {
        "there is no shell that would replace this: write the whole path, from `/`"
    } else {
        "write the whole path, from `/`: nothing is searched for in PATH or in a working directory"
    };
    (!text.starts_with('/')).then(|| Hint::new(help))
}

fn url_hint(text: &str) -> Option<Hint> {
    if text.contains("://") || text.contains(|c: char| c.is_whitespace()) {
        return None;
    }
    // What is left of a protocol: `http//`, `https:/`.
    let scheme = ["https", "http"]
        .into_iter()
        .find(|scheme| text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with([':', '/'])));
    let host = text.trim_start_matches(scheme.unwrap_or_default()).trim_start_matches([':', '/']);
    let mended = format!("{}://{host}", scheme.unwrap_or("http"));
    (!host.is_empty() && host.is_ascii()).then(|| Hint::write(mended))
}

fn address_hint(text: &str) -> Option<Hint> {
    if text.parse::<u16>().is_ok() || text == "{port}" {
        return Some(Hint::write(format!("127.0.0.1:{text}")));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let address = rest.split('/').next().unwrap_or_default();
        return Some(Hint::new(format!("without the protocol: `{address}`")));
    }
    (!text.contains(':')).then(|| Hint::new(format!("a port is missing: `{}:80`", shown(text))))
}

fn method_hint(text: &str) -> Option<Hint> {
    let upper = text.to_ascii_uppercase();
    upper.bytes().all(|byte| byte.is_ascii_uppercase()).then(|| Hint::write(upper))
}

fn unit_hint(text: &str) -> Option<Hint> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_@-".contains(&byte));
    (plain && !text.is_empty()).then(|| Hint::write(format!("{text}.service")))
}

fn pointer_hint(text: &str) -> Option<Hint> {
    let path = text.trim_start_matches('$').trim_start_matches('.');
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (plain && !path.is_empty()).then(|| Hint::write(format!("/{}", path.replace('.', "/"))))
}
