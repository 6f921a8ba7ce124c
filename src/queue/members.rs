//! A message's members, taken apart on the queue's thread: what is left for the JS thread is to make strings of them,
//! a copy each, where parsing the text would look at each letter.
//!
//! The text was checked when the message came. So a string's end is looked for 32 bytes at a time, without a second look
//! at what stands before it; whatever is not as simple as messages are goes to the JSON parser.

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
    /// A string that was written with escapes: its place in the unescaped texts of the batch.
    Text(Range<usize>),
    /// Anything else, as JSON text.
    Json(Range<usize>),
}

/// A message's members by name.
pub type Members = Vec<(Box<str>, Value)>;

/// The members of `payload` in the order in which `JSON.parse` would have them; `None` where they are too many, or not to
/// be had as text (half of a surrogate pair). Strings with escapes are added to `unescaped`.
pub fn take_apart(payload: &str, unescaped: &mut String) -> Option<Members> {
    let before = unescaped.len();
    scan(payload, unescaped).or_else(|| {
        unescaped.truncate(before);
        parse(payload, unescaped)
    })
}

/// As [`take_apart`], by the JSON parser.
fn parse(payload: &str, unescaped: &mut String) -> Option<Members> {
    let Ordered(raw) = serde_json::from_str(payload).ok()?;
    raw.into_iter()
        .map(|(name, value)| {
            let text = value.get();
            // A RawValue borrows from the payload: its address tells its place.
            let start = text.as_ptr().addr() - payload.as_ptr().addr();
            let value = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                None => Value::Json(start..start + text.len()),
                Some(plain) if !plain.contains('\\') => Value::Plain(start + 1..start + 1 + plain.len()),
                Some(_) => Value::Text(unescape(text, unescaped)?),
            };
            Some((std::str::from_utf8(&name).ok()?.into(), value))
        })
        .collect()
}

/// As [`take_apart`], for an object whose names have no escapes and stand there once; `None` for any other.
fn scan(payload: &str, unescaped: &mut String) -> Option<Members> {
    let mut members: Members = Vec::with_capacity(8);
    let mut scanner = Scanner { text: payload, at: 0 };
    scanner.expect(b'{')?;
    if scanner.next()? == b'}' {
        scanner.at += 1;
        return scanner.is_over().then_some(members);
    }
    loop {
        let (name, plain) = scanner.string()?;
        let name = &payload[name.start + 1..name.end - 1];
        if !plain || members.len() == MOST || members.iter().any(|(known, _)| **known == *name) {
            return None;
        }
        scanner.expect(b':')?;
        let value = if scanner.next()? == b'"' {
            match scanner.string()? {
                (literal, true) => Value::Plain(literal.start + 1..literal.end - 1),
                (literal, false) => Value::Text(unescape(&payload[literal], unescaped)?),
            }
        } else {
            Value::Json(scanner.value()?)
        };
        members.push((name.into(), value));
        match scanner.next()? {
            b',' => scanner.at += 1,
            b'}' => {
                scanner.at += 1;
                return scanner.is_over().then_some(members);
            }
            _ => return None,
        }
    }
}

/// A place in a JSON text.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    /// The next byte that is no white space, which is not taken.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += spaces;
        rest.get(spaces).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    fn is_over(&mut self) -> bool {
        self.next().is_none()
    }

    /// Takes a string: its literal's place, and whether it stands there without escapes.
    fn string(&mut self) -> Option<(Range<usize>, bool)> {
        self.expect(b'"')?;
        let (start, mut plain) = (self.at - 1, true);
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.text.as_bytes().get(self.at..)?)?;
            if self.text.as_bytes().get(self.at) == Some(&b'"') {
                self.at += 1;
                return Some((start..self.at, plain));
            }
            plain = false;
            self.at += 2;
        }
    }

    /// Takes any other value.
    fn value(&mut self) -> Option<Range<usize>> {
        let mut values = serde_json::Deserializer::from_str(self.text.get(self.at..)?).into_iter::<&RawValue>();
        let value = values.next()?.ok()?;
        let start = value.get().as_ptr().addr() - self.text.as_ptr().addr();
        self.at = start + value.get().len();
        Some(start..self.at)
    }
}

/// Adds the string that `literal` stands for to `texts`; `None` where it is none.
fn unescape(literal: &str, texts: &mut String) -> Option<Range<usize>> {
    let start = texts.len();
    if short_escapes(literal.strip_prefix('"')?.strip_suffix('"')?, texts).is_none() {
        texts.truncate(start);
        texts.push_str(&serde_json::from_str::<String>(literal).ok()?);
    }
    Some(start..texts.len())
}

/// As [`unescape`], for what stands between the quotes; `None` where there are escapes by number.
fn short_escapes(mut text: &str, texts: &mut String) -> Option<()> {
    texts.reserve(text.len());
    while let Some(at) = memchr::memchr(b'\\', text.as_bytes()) {
        texts.push_str(&text[..at]);
        texts.push(match text.as_bytes().get(at + 1)? {
            byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            _ => return None,
        });
        text = &text[at + 2..];
    }
    texts.push_str(text);
    Some(())
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
    use super::{MOST, Members, Value, parse, scan, take_apart};

    fn show(payload: &str, unescaped: &str, members: Members) -> Vec<(String, String)> {
        let shown = |(name, value): (Box<str>, Value)| {
            let text = match value {
                Value::Plain(range) => format!("plain {}", &payload[range]),
                Value::Text(range) => format!("text {}", &unescaped[range]),
                Value::Json(range) => format!("json {}", &payload[range]),
            };
            (name.into(), text)
        };
        members.into_iter().map(shown).collect()
    }

    fn shown(payload: &str) -> Vec<(String, String)> {
        let mut unescaped = "of the message before".to_owned();
        let members = take_apart(payload, &mut unescaped).unwrap();
        show(payload, &unescaped, members)
    }

    #[test]
    fn what_is_scanned_is_what_the_parser_finds() {
        let (mut scanned, mut refused) = (0, 0);
        let values = [
            r#""""#,
            r#""plain é😀""#,
            r#""a\"b\\""#,
            r#""\\\"""#,
            r#""\u00e9\ud83d\ude00\n""#,
            r#""\b\f\n\r\t\/\\""#,
            "0",
            "-1.5e3",
            "true",
            "null",
            "[]",
            r#"[1,{"a":"]}"}]"#,
            r#"{ "x" : { "y" : "\"}" } }"#,
            r#""\ud800""#,
            "nul",
            "1 2",
            "\"",
            r#""open\""#,
            "",
            r#""\x""#,
            "[",
            "{]",
            "01",
        ];
        for first in values {
            for second in values {
                for (start, middle, end) in
                    [("{", ":", "}"), (" {\n", " :\t", " }\r\n "), ("{", ":", "} x"), ("{", ":", ",}"), ("", ":", "}")]
                {
                    for name in ["b", "a", "\\n", ""] {
                        let payload = format!("{start}\"a\"{middle}{first},\"{name}\"{middle}{second}{end}");
                        let (mut left, mut right) = (String::new(), String::new());
                        let Some(members) = scan(&payload, &mut left) else {
                            refused += 1;
                            continue;
                        };
                        scanned += 1;
                        let parsed = parse(&payload, &mut right).unwrap_or_else(|| panic!("{payload} is no message"));
                        assert_eq!(show(&payload, &left, members), show(&payload, &right, parsed), "{payload}");
                    }
                }
            }
        }
        assert!(scanned > 500 && refused > 500, "{scanned} and {refused}");
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
            let mut unescaped = "kept".to_owned();
            assert_eq!(take_apart(payload, &mut unescaped), None, "{payload}");
        }
        assert_eq!(take_apart("{}", &mut String::new()), Some(vec![]));
    }
}
