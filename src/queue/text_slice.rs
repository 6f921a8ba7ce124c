//! A part of a text that lies as a JSON string in native memory, found without decoding the rest.

use std::ops::Range;

/// Where the UTF-16 units `units` of the JSON string `literal` (quotes included) lie in it, in bytes. Units are what
/// JavaScript counts. A bound inside a surrogate pair moves before it; one beyond the end is the end.
#[must_use]
pub fn locate(literal: &str, units: Range<usize>) -> Range<usize> {
    let bytes = literal.as_bytes();
    let end = bytes.len().saturating_sub(1).max(1);
    let (mut at, mut count, mut from) = (1, 0, None);
    while at < end {
        let (width, length) = step(&bytes[at..end]);
        if from.is_none() && count + width > units.start {
            from = Some(at);
        }
        if count + width > units.end {
            break;
        }
        count += width;
        at += length;
    }
    from.unwrap_or(at).min(at)..at
}

/// How many units the character at the beginning of `rest` has, and how many bytes its JSON text.
fn step(rest: &[u8]) -> (usize, usize) {
    let (width, length) = match rest[0] {
        b'\\' if rest.get(1) == Some(&b'u') => match (surrogate(rest), surrogate(rest.get(6..).unwrap_or_default())) {
            (Some(b'8'..=b'b'), Some(b'c'..=b'f')) => (2, 12),
            _ => (1, 6),
        },
        b'\\' => (1, 2),
        0x00..=0x7f => (1, 1),
        0x80..=0xdf => (1, 2),
        0xe0..=0xef => (1, 3),
        0xf0..=0xff => (2, 4),
    };
    (width, length.min(rest.len()))
}

/// The digit that tells the half, where `text` begins with the escape of a surrogate.
fn surrogate(text: &[u8]) -> Option<u8> {
    match text {
        [b'\\', b'u', b'd' | b'D', half, ..] => Some(half.to_ascii_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(literal: &str, units: Range<usize>) -> &str {
        &literal[locate(literal, units)]
    }

    #[test]
    fn units_are_those_of_javascript() {
        let literal = r#""aé\n\u00e9€😀\ud83d\ude00\ud800z""#;
        let whole = &literal[1..literal.len() - 1];
        assert_eq!(slice(literal, 0..usize::MAX), whole);
        assert_eq!(slice(literal, 0..2), "aé");
        assert_eq!(slice(literal, 2..4), r"\n\u00e9");
        assert_eq!(slice(literal, 4..7), "€😀");
        assert_eq!(slice(literal, 7..9), r"\ud83d\ude00");
        assert_eq!(slice(literal, 9..10), r"\ud800");
        assert_eq!(slice(literal, 10..99), "z");
        assert_eq!(slice(literal, 11..99), "");
        assert_eq!(slice(literal, 5..6), "", "a pair is not cut");
        assert_eq!(slice(literal, 6..7), "😀", "a bound inside moves before it");
        assert_eq!(slice(literal, 0..0), "");
        assert_eq!(slice("\"\"", 0..5), "");
    }
}
