//! How errors call a value and show it.

use std::{fmt, ops::RangeInclusive};

use super::arguments::MAX_SAFE_INTEGER;

/// Characters of a value that an error shows.
const SHOWN: usize = 60;

/// How an error calls the value: `argument 'id'`, `option 'lockWaitMs'`, `observations[2].title`.
#[derive(Clone)]
pub(super) enum Place {
    Argument(&'static str),
    Option(String),
    Inside(String),
}

impl Place {
    pub(super) fn member(&self, key: &str, options: bool) -> Self {
        match self {
            _ if options => Self::Option(key.to_owned()),
            Self::Argument(name) => Self::Inside(format!("{name}.{key}")),
            Self::Option(path) | Self::Inside(path) => Self::Inside(format!("{path}.{key}")),
        }
    }

    pub(super) fn element(&self, index: u32) -> Self {
        match self {
            Self::Argument(name) => Self::Inside(format!("{name}[{index}]")),
            Self::Option(path) | Self::Inside(path) => Self::Inside(format!("{path}[{index}]")),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Argument(name) => name,
            Self::Option(path) | Self::Inside(path) => path,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) => write!(f, "argument '{name}'"),
            Self::Option(name) => write!(f, "option '{name}'"),
            Self::Inside(path) => write!(f, "'{path}'"),
        }
    }
}

pub(super) fn integer_from(range: &RangeInclusive<i64>, unit: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match (*range.start(), *range.end()) {
        (start, MAX_SAFE_INTEGER..) if start > -MAX_SAFE_INTEGER => format!("an integer from {start}{unit}"),
        (start, end) if start > -MAX_SAFE_INTEGER => format!("an integer from {start} to {end}{unit}"),
        _ => format!("an integer{unit}"),
    }
}

pub(super) fn show_number(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    number.to_string()
}

pub(super) fn show_text(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("'{shown}'")
}

#[cfg(test)]
mod tests {
    use super::{MAX_SAFE_INTEGER, integer_from, show_number, show_text};

    #[test]
    fn bounds_are_named() {
        assert_eq!(integer_from(&(0..=10), "ms"), "an integer from 0 to 10 ms");
        assert_eq!(integer_from(&(1..=MAX_SAFE_INTEGER), ""), "an integer from 1");
        assert_eq!(integer_from(&(i64::MIN..=i64::MAX), ""), "an integer");
    }

    #[test]
    fn values_are_shown_short() {
        assert_eq!(show_text("a"), "'a'");
        assert_eq!(show_text(&"é".repeat(100)), format!("'{}…'", "é".repeat(60)));
        assert_eq!(show_number(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(show_number(1.5), "1.5");
    }
}
