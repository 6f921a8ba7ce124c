//! A message's members, taken apart on the queue's thread: what is left for the JS thread is to make strings of them,
//! a copy each, where parsing the text would look at each letter.

use std::{borrow::Cow, fmt, ops::Range};

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Members of a message at most; one with more is parsed as a whole.
const MOST: usize = 64;

/// The value of a member. Ranges are places in the message's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string that stands in the text as it is.
    Plain(Range<usize>),
    /// A string.
    Text(Box<str>),
    /// Anything else, as JSON text.
    Json(Range<usize>),
}

/// The members of `payload` in the order in which `JSON.parse` would have them; `None` where they are too many, or not to
/// be had as text (half of a surrogate pair).
pub fn take_apart(payload: &str) -> Option<Vec<(Box<str>, Value)>> {
    let Ordered(raw) = serde_json::from_str(payload).ok()?;
    raw.into_iter()
        .map(|(name, value)| {
            let text = value.get();
            // A RawValue borrows from the payload: its address tells its place.
            let start = text.as_ptr().addr() - payload.as_ptr().addr();
            let value = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                None => Value::Json(start..start + text.len()),
                Some(plain) if !plain.contains('\\') => Value::Plain(start + 1..start + 1 + plain.len()),
                Some(_) => Value::Text(serde_json::from_str::<String>(text).ok()?.into()),
            };
            Some((std::str::from_utf8(&name).ok()?.into(), value))
        })
        .collect()
}

struct Ordered<'a>(Vec<(Cow<'a, [u8]>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Ordered<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Ordered<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, [u8]>, &RawValue)> = Vec::with_capacity(8);
                while let Some(Name(name)) = map.next_key()? {
                    let value = map.next_value()?;
                    // Of two with one name the last value counts, in the place of the first.
                    match members.iter().position(|(known, _)| *known == name) {
                        Some(first) => members[first].1 = value,
                        None if members.len() == MOST => return Err(A::Error::custom("too many members")),
                        None => members.push((name, value)),
                    }
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A member's name, as bytes: JSON allows half of a surrogate pair in it, UTF-8 does not.
struct Name<'a>(Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_bytes<E: Error>(self, name: &'de [u8]) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Value, take_apart};

    fn shown(payload: &str) -> Vec<(String, String)> {
        let shown = |(name, value): (Box<str>, Value)| {
            let text = match value {
                Value::Plain(range) => format!("plain {}", &payload[range]),
                Value::Text(text) => format!("text {text}"),
                Value::Json(range) => format!("json {}", &payload[range]),
            };
            (name.into(), text)
        };
        take_apart(payload).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn strings_are_texts_and_everything_else_stays_json() {
        let expected = [
            ("type", "plain observation"),
            ("é\n", "text a\"\u{1f600}\\"),
            ("n", "json 3"),
            ("o", "json {\"a\": [\"\\\"}\"]}"),
            ("empty", "plain "),
            ("nul", "json null"),
        ];
        let payload = " {\"type\" : \"observation\",\"é\\n\":\"a\\\"\\ud83d\\ude00\\\\\",\"n\":3, \"o\":{\"a\": [\"\\\"}\"]},\"empty\":\"\",\"nul\":null} ";
        assert_eq!(shown(payload), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts_in_the_place_of_the_first() {
        let two = shown(r#"{"a":1,"b":2,"\u0061":"x"}"#);
        assert_eq!(two, [("a", "plain x"), ("b", "json 2")].map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_is_no_text_is_left_whole() {
        let many: Vec<String> = (0..=MOST).map(|number| format!("\"k{number}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        for payload in [r#"{"a":"\ud800"}"#, r#"{"\ud800":1}"#, "[]", "{", "", &many] {
            assert_eq!(take_apart(payload), None, "{payload}");
        }
        assert_eq!(take_apart("{}"), Some(vec![]));
    }
}
