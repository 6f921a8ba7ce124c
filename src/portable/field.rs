//! One value of a row, as JSON: whatever SQLite has comes back as it was.

use std::{collections::BTreeMap, io::Write};

use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};
use serde_json::value::RawValue;

/// A value on its way into a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    Null,
    Integer(i64),
    Real(f64),
    /// Text as SQLite has it: not always UTF-8.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl ToSql for Field {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

/// Appends the JSON of a value.
pub fn write(out: &mut Vec<u8>, value: ValueRef<'_>) {
    // Writing to memory does not fail.
    drop(match value {
        ValueRef::Null => out.write_all(b"null"),
        ValueRef::Integer(value) => write!(out, "{value}"),
        ValueRef::Real(value) if value.is_finite() => serde_json::to_writer(out, &value).map_err(Into::into),
        ValueRef::Real(value) => write!(out, r#"{{"real":"{value}"}}"#),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::to_writer(out, text).map_err(Into::into),
            Err(_) => write!(out, r#"{{"text":"{}"}}"#, hex(bytes)),
        },
        ValueRef::Blob(bytes) => write!(out, r#"{{"blob":"{}"}}"#, hex(bytes)),
    });
}

/// The value of such JSON; a sentence where it is none.
pub fn parse(json: &RawValue) -> Result<Field, String> {
    let text = json.get();
    let wrong = || {
        let shown: String = text.chars().take(40).collect();
        format!("must be null, a number, a string, or {{\"text\" | \"blob\" | \"real\": …}}, got {shown}")
    };
    match text.as_bytes().first() {
        Some(b'n') => Ok(Field::Null),
        Some(b'"') => serde_json::from_str::<String>(text)
            .map(|text| Field::Text(text.into_bytes()))
            .map_err(|error| error.to_string()),
        Some(b'-' | b'0'..=b'9') => match serde_json::from_str::<i64>(text) {
            Ok(value) => Ok(Field::Integer(value)),
            Err(_) => serde_json::from_str::<f64>(text).map(Field::Real).map_err(|error| error.to_string()),
        },
        Some(b'{') => {
            let named: BTreeMap<&str, &str> = serde_json::from_str(text).map_err(|_| wrong())?;
            let (Some((name, value)), 1) = (named.first_key_value(), named.len()) else { return Err(wrong()) };
            match *name {
                "text" => unhex(value).map(Field::Text).ok_or_else(wrong),
                "blob" => unhex(value).map(Field::Blob).ok_or_else(wrong),
                "real" => value.parse().map(Field::Real).map_err(|_| wrong()),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back() {
        for value in [
            Field::Null,
            Field::Integer(0),
            Field::Integer(i64::MIN),
            Field::Integer(i64::MAX),
            Field::Real(1.5),
            Field::Real(5.0),
            Field::Real(-0.0),
            Field::Real(1e300),
            Field::Real(0.1 + 0.2),
            Field::Real(f64::INFINITY),
            Field::Real(f64::NEG_INFINITY),
            Field::Text(Vec::new()),
            Field::Text("\0 \n\r\u{2028} \"\\ 日本語 😀".into()),
            Field::Text(b"[not json".to_vec()),
            Field::Text(vec![b'a', 0xff, 0xfe, 0xed, 0xa0, 0x80]),
            Field::Blob(vec![0, 255]),
            Field::Blob(Vec::new()),
        ] {
            let mut json = Vec::new();
            let ToSqlOutput::Borrowed(borrowed) = value.to_sql().unwrap() else { panic!("borrowed") };
            write(&mut json, borrowed);
            let json = String::from_utf8(json).unwrap();
            assert!(!json.contains('\n'), "{json}");
            assert_eq!(parse(serde_json::from_str(&json).unwrap()), Ok(value), "{json}");
        }
    }

    #[test]
    fn what_is_no_value() {
        for json in
            ["true", "[1]", "{}", r#"{"text":"0"}"#, r#"{"text":"zz"}"#, r#"{"blob":"00","text":"00"}"#, r#"{"x":""}"#]
        {
            assert!(parse(serde_json::from_str(json).unwrap()).is_err(), "{json}");
        }
    }
}
