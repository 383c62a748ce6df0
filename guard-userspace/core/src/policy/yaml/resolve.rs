//! What a plain scalar is: chapter 10.3.2 of YAML 1.2.2.

use super::Kind;

/// What a plain scalar is.
pub(crate) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Kind::Bool,
        ".nan" | ".NaN" | ".NAN" => return Kind::Float,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Kind::Float;
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|digit| digit.is_digit(radix))
        {
            return i64::from_str_radix(digits, radix).map_or(Kind::Float, Kind::Int);
        }
    }
    if is_digits(unsigned) {
        return text.parse().map_or(Kind::Float, Kind::Int);
    }
    if is_float(unsigned) { Kind::Float } else { Kind::Text }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && (fraction.is_empty() || is_digits(fraction)),
        None => is_digits(mantissa),
    };
    mantissa_fits && exponent.is_none_or(is_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_core_schema_says() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(resolve(text), Kind::Null, "{text}");
        }
        for text in ["true", "False", "TRUE"] {
            assert_eq!(resolve(text), Kind::Bool, "{text}");
        }
        for (text, number) in [("0", 0), ("-7", -7), ("+3", 3), ("0o17", 15), ("0xFf", 255), ("0644", 644)] {
            assert_eq!(resolve(text), Kind::Int(number), "{text}");
        }
        for text in ["1.5", "1.", ".5", "-1e3", "1.5E-7", ".inf", "-.Inf", ".nan", "99999999999999999999"] {
            assert_eq!(resolve(text), Kind::Float, "{text}");
        }
        for text in [
            "no", "yes", "on", "30s", "1_000", "1:30", "0b1", "0x", "0o8", ".", "e3", "1e", "-", "5/10m",
            "nan",
        ] {
            assert_eq!(resolve(text), Kind::Text, "{text}");
        }
    }
}
