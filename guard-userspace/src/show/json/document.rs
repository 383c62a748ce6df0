//! A whole document at once: for pictures, which nobody counts in millions.

use serde_json::Value;

use super::string::write_text;

/// Appends a document. Fields that are `null` are left out; what a terminal should not get is
/// escaped.
pub fn write_document(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_document(out, value);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (index, (name, value)) in fields.iter().filter(|(_, value)| !value.is_null()).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(out, name);
                out.push(b':');
                write_document(out, value);
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            out.extend_from_slice(value.to_string().as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_hidden_and_no_null() {
        let value = json!({"a": null, "b": [1, true, "\x1b[2J\\xff"], "c": "\u{202e}"});
        let mut out = Vec::new();
        write_document(&mut out, &value);
        assert_eq!(
            String::from_utf8(out.clone()).unwrap(),
            r#"{"b":[1,true,"\u001b[2J\\xff"],"c":"\u202e"}"#
        );
        assert!(serde_json::from_slice::<Value>(&out).is_ok());
    }
}
