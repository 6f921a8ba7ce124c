//! What the queue itself reads of a message: its type and its prompt number. Everything else is text that
//! passes through untouched.

use std::{collections::BTreeMap, fmt};

use serde_core::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::members::{Members, take_apart};
use crate::error::{Error, Result};

/// A string field is read on demand from native memory from this many bytes of JSON text on; below it the
/// property is simply there.
const LARGE_TEXT: usize = 32 << 10;

/// The fields of a message that the queue uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// `type`, where it is a string.
    pub kind: Option<Box<str>>,
    /// `prompt_number`, where it is an integer.
    pub prompt_number: Option<i64>,
}

/// A field's name, as bytes: JSON allows half of a surrogate pair in it, UTF-8 does not.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(Vec<u8>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_bytes<E: serde_core::de::Error>(self, bytes: &[u8]) -> std::result::Result<Name, E> {
                Ok(Name(bytes.to_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl std::borrow::Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

pub(super) type Fields<'a> = BTreeMap<Name, &'a RawValue>;

/// The members of a JSON object, as they are written.
pub(super) fn fields(json: &str) -> Result<Fields<'_>> {
    serde_json::from_str(json).map_err(|error| refused(&error))
}

fn refused(error: &serde_json::Error) -> Error {
    let what = if error.is_data() { "" } else { "this is not valid JSON: " };
    Error::invalid(format!("a message must be the JSON text of one object; {what}{error}"))
}

impl Envelope {
    /// Checks that `json` is the text of one JSON object and reads what the queue uses.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` where it is not.
    pub fn parse(json: &str) -> Result<Self> {
        /// What a member's name is to the queue.
        enum Member {
            Kind,
            PromptNumber,
            Other,
        }
        impl<'de> Deserialize<'de> for Member {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                struct Bytes;
                impl Visitor<'_> for Bytes {
                    type Value = Member;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a name")
                    }
                    fn visit_bytes<E: serde_core::de::Error>(self, name: &[u8]) -> std::result::Result<Member, E> {
                        Ok(match name {
                            b"type" => Member::Kind,
                            b"prompt_number" => Member::PromptNumber,
                            _ => Member::Other,
                        })
                    }
                }
                deserializer.deserialize_bytes(Bytes)
            }
        }
        /// The two values as they are written; of two members with one name the last one counts.
        #[derive(Default)]
        struct Used<'a>(Option<&'a RawValue>, Option<&'a RawValue>);
        impl<'de> Deserialize<'de> for Used<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                struct Members;
                impl<'de> Visitor<'de> for Members {
                    type Value = Used<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a map")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Used<'de>, A::Error> {
                        let mut used = Used::default();
                        while let Some(member) = map.next_key()? {
                            match member {
                                Member::Kind => used.0 = Some(map.next_value()?),
                                Member::PromptNumber => used.1 = Some(map.next_value()?),
                                Member::Other => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(used)
                    }
                }
                deserializer.deserialize_map(Members)
            }
        }
        let Used(kind, prompt_number) = serde_json::from_str(json).map_err(|error| refused(&error))?;
        Ok(Self::from_raw(kind, prompt_number))
    }

    fn from_raw(kind: Option<&RawValue>, prompt_number: Option<&RawValue>) -> Self {
        Self {
            kind: kind.and_then(|text| serde_json::from_str::<String>(text.get()).ok()).map(Into::into),
            prompt_number: prompt_number.and_then(|number| integer(number.get())),
        }
    }

    pub(super) fn of(fields: &Fields<'_>) -> Self {
        let raw = |name: &str| fields.get(name.as_bytes()).copied();
        Self::from_raw(raw("type"), raw("prompt_number"))
    }
}

/// The largest integer that JavaScript counts exactly.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// An integer that JavaScript counts exactly, however it is written: `3`, `3.0`, `3e0`.
pub(super) fn integer(text: &str) -> Option<i64> {
    let number: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within ±2^53")]
    (number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER).then_some(number as i64)
}

/// A message's text split for delivery: what is parsed at once, and the large texts that are read on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// JSON text of the message in which each large text stands as `null`; `None` where there is none and
    /// the payload itself is to be parsed.
    pub skeleton: Option<String>,
    /// Names of the fields that were taken out, and where in the payload their JSON text lies.
    pub large: Vec<(Box<str>, std::ops::Range<usize>)>,
    /// The members, where no large text is among them and they can be had one by one.
    pub members: Option<Members>,
}

impl Split {
    /// Splits `payload`, whose strings with escapes are added to `unescaped`. One that is no object (it was checked when
    /// it came) is left whole.
    #[must_use]
    pub fn new(payload: &str, unescaped: &mut String) -> Self {
        let mut whole = || Self { skeleton: None, large: Vec::new(), members: take_apart(payload, unescaped) };
        if payload.len() < LARGE_TEXT {
            return whole();
        }
        let Ok(fields) = fields(payload) else { return whole() };
        let mut large: Vec<(Box<str>, std::ops::Range<usize>)> = fields
            .into_iter()
            .filter_map(|(name, value)| Some((String::from_utf8(name.0).ok()?, value)))
            .filter(|(name, value)| {
                // An accessor called __proto__ would be no own property; such a field is parsed.
                value.get().len() >= LARGE_TEXT && value.get().starts_with('"') && name != "__proto__"
            })
            .map(|(name, value)| {
                // A RawValue borrows from the payload: its address tells its place.
                let start = value.get().as_ptr() as usize - payload.as_ptr() as usize;
                (name.into(), start..start + value.get().len())
            })
            .collect();
        if large.is_empty() {
            return whole();
        }
        large.sort_by_key(|(_, range)| range.start);
        let mut skeleton = String::new();
        let mut from = 0;
        for (_, range) in &large {
            skeleton.push_str(&payload[from..range.start]);
            skeleton.push_str("null");
            from = range.end;
        }
        skeleton.push_str(&payload[from..]);
        Self { skeleton: Some(skeleton), large, members: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Code, queue::Value};

    #[test]
    fn reads_type_and_prompt_number_and_nothing_else() {
        let envelope = Envelope::parse(r#"{"tool_input":"{\"a\":1}","type":"observation","prompt_number":3}"#).unwrap();
        assert_eq!(envelope, Envelope { kind: Some("observation".into()), prompt_number: Some(3) });
        assert_eq!(Envelope::parse(r#"{"type":7,"prompt_number":"x"}"#).unwrap(), Envelope::default());
        // Lone surrogates are legal JSON escapes.
        let lone = Envelope::parse(r#"{"\ud800":1,"type":"a","x":"\ud800","prompt_number":2}"#).unwrap();
        assert_eq!(lone, Envelope { kind: Some("a".into()), prompt_number: Some(2) });
    }

    #[test]
    fn refuses_what_is_no_object() {
        for text in ["", "[]", "1", "null", "\"x\"", "{\"a\":}", "{} {}", "{\"a\":1"] {
            assert_eq!(Envelope::parse(text).unwrap_err().code, Code::InvalidArg, "{text}");
        }
    }

    #[test]
    fn large_texts_are_taken_out_and_found_again() {
        let big = "é\\\"".repeat(20_000);
        let payload = format!(r#"{{"a":1,"tool_response":"{big}","b":[2],"list":["{big}"]}}"#);
        let split = Split::new(&payload, &mut String::new());
        assert_eq!(split.large.len(), 1);
        let (name, range) = &split.large[0];
        assert_eq!(&**name, "tool_response");
        assert_eq!(&payload[range.clone()], format!("\"{big}\""));
        let skeleton = split.skeleton.unwrap();
        assert!(skeleton.starts_with(r#"{"a":1,"tool_response":null,"b":[2],"list":["#), "{}", &skeleton[..60]);
        let members = Some(vec![("a".into(), Value::Json(5..6))]);
        assert_eq!(Split::new(r#"{"a":1}"#, &mut String::new()), Split { skeleton: None, large: vec![], members });
    }
}
