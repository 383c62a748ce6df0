//! The types of a guard's parts: what has none is refused when the policy is read, not when a service is ill.

use cel::Program;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::{DEPTH, Fault};
use crate::policy::Code;
use crate::policy::read::listed;

/// What a part of a guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// Any number.
    Double,
    /// A text.
    Text,
    /// Texts by names.
    Map,
    /// Whole numbers in a row.
    Ints,
    /// Texts in a row.
    Texts,
}

/// What a guard can ask for: name, type, meaning.
pub const VARIABLES: &[(&str, Type, &str)] = &[
    ("service", Type::Text, "its name"),
    ("instance", Type::Int, "counted from 0; -1: the service as one"),
    ("labels", Type::Map, "the service's"),
    ("state", Type::Text, "of the service, such as `healthy`"),
    ("check", Type::Text, "the check whose step this is"),
    ("checks", Type::Map, "`unknown`, `passing` or `failing`, by the check's name"),
    ("value", Type::Double, "the last measured value, in bytes, seconds, percent or as it is"),
    ("failing_for", Type::Double, "seconds since the check fails"),
    ("restarts", Type::Int, "in the window of the service's budget"),
    ("restarts_left", Type::Int, "of the service's budget"),
    ("instances", Type::Int, "how many run"),
    ("ready", Type::Int, "how many of them are ready"),
    ("hour", Type::Int, "0 to 23, UTC"),
    ("minute", Type::Int, "0 to 59"),
    ("weekday", Type::Int, "1 is Monday, 7 is Sunday; UTC"),
];

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Double => "a number",
            Self::Text => "a text",
            Self::Map => "a map",
            Self::Ints | Self::Texts => "a list",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }
}

/// Whether the whole is a condition.
pub(super) fn check(program: &Program) -> Result<(), Fault> {
    let checker = Checker { program };
    match checker.of(program.expression(), 0)? {
        Type::Bool => Ok(()),
        other => {
            Err(Fault::new(Code::Guard, format!("a condition is true or false, this is {}", other.name()))
                .help("compare it with something, such as `restarts > 3`"))
        }
    }
}

struct Checker<'a> {
    program: &'a Program,
}

impl Checker<'_> {
    fn fault(&self, at: &IdedExpr, message: impl Into<String>) -> Fault {
        let part = self.program.source_info().offset_for(at.id);
        // Offsets are of characters, both ends inclusive.
        let source = &self.program.source_info().source;
        let byte = |character: u32| {
            let character = usize::try_from(character).unwrap_or(usize::MAX);
            source.char_indices().nth(character).map_or(source.len(), |(byte, _)| byte)
        };
        let part = part.map(|(start, stop)| (byte(start), byte(stop.saturating_add(1))));
        Fault { part, ..Fault::new(Code::Guard, message) }
    }

    fn of(&self, part: &IdedExpr, depth: usize) -> Result<Type, Fault> {
        if depth > LEVELS {
            return Err(Fault::new(
                Code::GuardSize,
                "the parts of this condition lie too deep inside each other",
            ));
        }
        let depth = depth + 1;
        match &part.expr {
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Ident(name) => self.variable(part, name),
            Expr::Select(select) => match self.of(&select.operand, depth)? {
                Type::Map if select.test => Ok(Type::Bool),
                Type::Map => Ok(Type::Text),
                other => Err(self
                    .fault(part, format!("{} has no parts", other.name()))
                    .help("only `labels` and `checks` have parts, such as `checks.api`")),
            },
            Expr::List(list) => {
                let types: Result<Vec<Type>, Fault> =
                    list.elements.iter().map(|one| self.of(one, depth)).collect();
                match types?.as_slice() {
                    types if types.iter().all(|one| *one == Type::Int) => Ok(Type::Ints),
                    types if types.iter().all(|one| *one == Type::Text) => Ok(Type::Texts),
                    _ => Err(self.fault(part, "a list holds whole numbers or texts, and not both")),
                }
            }
            Expr::Call(call) => self.call(part, call, depth),
            Expr::Comprehension(_) => {
                let message = "loops (`all`, `exists`, `map`, `filter`) are not part of guards";
                Err(Fault::new(Code::GuardLoop, message).help("name the check: `checks.api == \"failing\"`"))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.fault(part, "maps and messages are not part of guards"))
            }
        }
    }

    fn literal(&self, part: &IdedExpr, literal: &LiteralValue) -> Result<Type, Fault> {
        match literal {
            LiteralValue::Boolean(_) => Ok(Type::Bool),
            LiteralValue::Int(_) => Ok(Type::Int),
            LiteralValue::Double(_) => Ok(Type::Double),
            LiteralValue::String(_) => Ok(Type::Text),
            LiteralValue::Bytes(_) | LiteralValue::Null | LiteralValue::UInt(_) => {
                Err(self.fault(part, "bytes, `null` and unsigned numbers are not part of guards"))
            }
        }
    }

    fn variable(&self, part: &IdedExpr, name: &str) -> Result<Type, Fault> {
        if let Some((_, of, _)) = VARIABLES.iter().find(|variable| variable.0 == name) {
            return Ok(*of);
        }
        let known: Vec<&str> = VARIABLES.iter().map(|variable| variable.0).collect();
        let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known)).min();
        let help = match near {
            Some((distance, near)) if distance * 3 <= near.len().max(3) => format!("did you mean `{near}`?"),
            _ => format!("it can ask for {}", listed(&known)),
        };
        Err(self.fault(part, format!("a guard knows nothing of `{name}`")).help(help))
    }

    fn call(&self, part: &IdedExpr, call: &CallExpr, depth: usize) -> Result<Type, Fault> {
        let target = call.target.as_deref();
        let types: Result<Vec<Type>, Fault> =
            target.into_iter().chain(call.args.iter()).map(|one| self.of(one, depth)).collect();
        let types = types?;
        let method = target.is_some();
        let found = match (call.func_name.as_str(), types.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [Type::Bool, Type::Bool])
            | (operators::LOGICAL_NOT, [Type::Bool]) => Some(Type::Bool),
            (operators::CONDITIONAL, [Type::Bool, one, other]) if one == other => Some(*one),
            (operators::EQUALS | operators::NOT_EQUALS, [one, other]) => {
                (one == other || one.is_number() && other.is_number()).then_some(Type::Bool)
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [one, other],
            ) => {
                let texts = *one == Type::Text && *other == Type::Text;
                (texts || one.is_number() && other.is_number()).then_some(Type::Bool)
            }
            (
                operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE,
                [one @ (Type::Int | Type::Double), other],
            ) if one == other => Some(*one),
            (operators::MODULO, [Type::Int, Type::Int]) => Some(Type::Int),
            (operators::NEGATE, [one @ (Type::Int | Type::Double)]) => Some(*one),
            (operators::INDEX, [Type::Map, Type::Text]) => Some(Type::Text),
            (operators::IN, [Type::Text, Type::Map | Type::Texts] | [Type::Int, Type::Ints]) => {
                Some(Type::Bool)
            }
            ("size", [Type::Text | Type::Map | Type::Ints | Type::Texts]) => Some(Type::Int),
            ("startsWith" | "endsWith" | "contains", [Type::Text, Type::Text]) if method => Some(Type::Bool),
            ("double", [Type::Int | Type::Double]) if !method => Some(Type::Double),
            ("int", [Type::Int]) if !method => Some(Type::Int),
            _ => None,
        };
        found.ok_or_else(|| self.no_call(part, call, &types))
    }

    fn no_call(&self, part: &IdedExpr, call: &CallExpr, types: &[Type]) -> Fault {
        let name = call.func_name.trim_matches(['_', '@']);
        let known = ["size", "startsWith", "endsWith", "contains", "double", "in"];
        let is_operator = !name.chars().all(char::is_alphanumeric) || name == "in";
        let names: Vec<&str> = types.iter().map(|one| one.name()).collect();
        if !is_operator && !known.contains(&name) {
            return self
                .fault(part, format!("a guard has no function `{name}`"))
                .help(format!("it has {}", listed(&known)));
        }
        let shown = name.replace("_", " ");
        let fault = self.fault(part, format!("`{shown}` cannot be used on {}", names.join(" and ")));
        if types.len() == 2 && types.iter().all(|one| one.is_number()) {
            return fault.help("both must be whole numbers, or both not: write `2.0` or `double(restarts)`");
        }
        fault
    }
}

/// Levels of the tree: chains such as `a && b && c` are as deep as they are long.
const LEVELS: usize = 4 * DEPTH;
