//! What becomes of a request body that is enqueued as it came: which of its fields are taken over and as what, and
//! the type it is given. All of it off the JS thread, on text: nothing large is parsed into objects.

use serde_json::value::RawValue;

use super::envelope::{self, Envelope};
use crate::error::{Error, Result};

/// As what a field is taken over. `null` counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A string; anything else is refused.
    Text,
    /// A string as it is; of anything else its JSON text, as a string.
    JsonText,
    /// A whole number from 0 to 2^53 − 1, also as decimal text; anything else is refused.
    Integer,
    /// Whatever it is.
    Any,
}

/// How a raw message is brought into shape; by default it is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// The message's `type`, whatever the text says.
    pub kind: Option<String>,
    /// The fields that are taken over; all where none are named.
    pub fields: Option<Vec<(String, FieldKind)>>,
    /// The field that holds the dedupe key, where it is there.
    pub dedupe_key_field: Option<String>,
}

/// A message in its shape.
#[derive(Debug, PartialEq, Eq)]
pub struct Shaped {
    /// The JSON text to be stored.
    pub payload: String,
    /// What the queue reads of it.
    pub envelope: Envelope,
    /// From its own field.
    pub dedupe_key: Option<String>,
}

impl Shape {
    /// Checks that `json` is the text of one object and brings it into shape.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` where it is no such text, or a field is not what it must be.
    pub fn apply(&self, mut json: String) -> Result<Shaped> {
        // Some clients put a byte order mark before their text; JSON.parse on a decoded body would not see it.
        if json.starts_with('\u{feff}') {
            json.drain(..'\u{feff}'.len_utf8());
        }
        if self.fields.is_none() && self.kind.is_none() && self.dedupe_key_field.is_none() {
            let envelope = Envelope::parse(&json)?;
            return Ok(Shaped { payload: json, envelope, dedupe_key: None });
        }
        let fields = envelope::fields(&json)?;
        let raw = |name: &str| fields.get(name.as_bytes()).copied().filter(|value| value.get() != "null");
        let dedupe_key = match self.dedupe_key_field.as_deref() {
            Some(name) => raw(name).map(|value| key(name, value)).transpose()?.flatten(),
            None => None,
        };
        let mut envelope = Envelope::of(&fields);
        let kind = self.kind.as_deref().map(json_text);
        let payload = match &self.fields {
            Some(known) => {
                // A type or prompt that is not taken over is none.
                let keeps = |name: &str| known.iter().any(|(field, _)| field == name);
                envelope.kind = envelope.kind.filter(|_| keeps("type"));
                envelope.prompt_number = envelope.prompt_number.filter(|_| keeps("prompt_number"));
                let mut members: Vec<String> = kind.iter().map(|kind| format!("\"type\":{kind}")).collect();
                for (name, as_what) in known.iter().filter(|(name, _)| kind.is_none() || name != "type") {
                    let Some(value) = raw(name) else { continue };
                    let value = take_over(name, value, *as_what)?;
                    if name == "prompt_number" {
                        envelope.prompt_number = envelope::integer(&value);
                    }
                    members.push(format!("{}:{value}", json_text(name)));
                }
                Some(format!("{{{}}}", members.join(",")))
            }
            // Of two members with one name the last one counts, for every reader.
            None => kind.as_ref().map(|kind| {
                let comma = if fields.is_empty() { "" } else { "," };
                let open = json.trim_end().strip_suffix('}').unwrap_or_default();
                format!("{open}{comma}\"type\":{kind}}}")
            }),
        };
        if let Some(kind) = &self.kind {
            envelope.kind = Some(kind.as_str().into());
        }
        drop(fields);
        Ok(Shaped { payload: payload.unwrap_or(json), envelope, dedupe_key })
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn take_over(name: &str, value: &RawValue, as_what: FieldKind) -> Result<String> {
    let text = value.get();
    let is_text = text.starts_with('"');
    match as_what {
        FieldKind::Any => Ok(text.to_owned()),
        FieldKind::JsonText if !is_text => Ok(json_text(text)),
        FieldKind::Text | FieldKind::JsonText if is_text => Ok(text.to_owned()),
        FieldKind::Text | FieldKind::JsonText => Err(refused(name, "a string", text)),
        FieldKind::Integer => {
            let number = text.trim_matches('"').trim();
            let digits = is_text && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let whole = if is_text && !digits { None } else { envelope::integer(number).filter(|number| *number >= 0) };
            whole
                .map(|number| number.to_string())
                .ok_or_else(|| refused(name, "a whole number from 0 to 9007199254740991", text))
        }
    }
}

fn key(name: &str, value: &RawValue) -> Result<Option<String>> {
    match serde_json::from_str::<String>(value.get()) {
        Ok(key) => Ok(Some(key).filter(|key| !key.is_empty())),
        Err(_) => Err(refused(name, "a string", value.get())),
    }
}

fn refused(name: &str, expected: &str, text: &str) -> Error {
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Error::invalid(format!("field \"{name}\" of the message must be {expected}, got {shown}"))
        .with("argument", name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn shape(kind: Option<&str>, fields: Option<&[(&str, FieldKind)]>) -> Shape {
        Shape {
            kind: kind.map(Into::into),
            fields: fields.map(|fields| fields.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()),
            dedupe_key_field: Some("dedupe_key".into()),
        }
    }

    fn payload(shape: &Shape, json: &str) -> String {
        shape.apply(json.to_owned()).unwrap().payload
    }

    #[test]
    fn left_alone_it_is_stored_to_the_byte_but_for_a_byte_order_mark() {
        let text = " {\"b\" : 1,\n \"a\":\"\\ud800\"} ";
        assert_eq!(payload(&Shape::default(), text), text);
        assert_eq!(payload(&Shape::default(), "\u{feff}{\"a\":1}"), "{\"a\":1}");
    }

    #[test]
    fn a_type_is_added_or_wins_over_the_one_in_the_text() {
        let typed = shape(Some("observation"), None);
        assert_eq!(payload(&typed, "{}\n"), r#"{"type":"observation"}"#);
        assert_eq!(payload(&typed, r#"{"a":{}} "#), r#"{"a":{},"type":"observation"}"#);
        let both = typed.apply(r#"{"type":"x","a":1}"#.to_owned()).unwrap();
        assert_eq!(both.envelope.kind.as_deref(), Some("observation"));
        assert_eq!(Envelope::parse(&both.payload).unwrap().kind.as_deref(), Some("observation"));
    }

    #[test]
    fn named_fields_are_taken_over_as_what_they_are_to_be() {
        use FieldKind::{Any, Integer, JsonText, Text};
        let fields = [("name", Text), ("input", JsonText), ("prompt_number", Integer), ("rest", Any)];
        let shape = shape(Some("t"), Some(&fields));
        let shaped = shape
            .apply(
                r#"{"rest":[1, 2],"prompt_number":"7","input":{"a": "\"é"},"name":"n","more":1,"dedupe_key":"k"}"#
                    .into(),
            )
            .unwrap();
        assert_eq!(
            shaped.payload,
            r#"{"type":"t","name":"n","input":"{\"a\": \"\\\"é\"}","prompt_number":7,"rest":[1, 2]}"#
        );
        assert_eq!(shaped.envelope, Envelope { kind: Some("t".into()), prompt_number: Some(7) });
        assert_eq!(shaped.dedupe_key.as_deref(), Some("k"));
        assert_eq!(payload(&shape, r#"{"name":null,"input":"{\"b\":1}"}"#), r#"{"type":"t","input":"{\"b\":1}"}"#);
        for number in ["3", "3.0", "3e0", "\"3\""] {
            let found = shape.apply(format!("{{\"prompt_number\":{number}}}")).unwrap();
            assert_eq!(found.envelope.prompt_number, Some(3), "{number}");
        }
    }

    #[test]
    fn what_is_not_what_it_must_be_is_refused_by_name() {
        let shape = shape(None, Some(&[("name", FieldKind::Text), ("n", FieldKind::Integer)]));
        for (text, named) in [
            (r#"{"name":1}"#, "name"),
            (r#"{"n":-1}"#, "n"),
            (r#"{"n":1.5}"#, "n"),
            (r#"{"n":"x"}"#, "n"),
            (r#"{"n":""}"#, "n"),
            (r#"{"n":true}"#, "n"),
            (r#"{"dedupe_key":7}"#, "dedupe_key"),
        ] {
            let error = shape.apply(text.to_owned()).unwrap_err();
            assert_eq!(error.code, Code::InvalidArg, "{text}");
            assert!(error.message.contains(&format!("\"{named}\"")), "{}", error.message);
        }
        assert_eq!(shape.apply("[]".to_owned()).unwrap_err().code, Code::InvalidArg);
    }
}
