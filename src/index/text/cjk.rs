//! Scripts that are written without spaces between words: Chinese, Japanese, Korean.
//!
//! A tokenizer that splits at spaces makes one word of a whole sentence there, and nobody searches for that sentence.
//! So each character is indexed as a word of its own, and queries ask for neighbours.

use std::borrow::Cow;

/// Whether `character` stands in a run without spaces. Punctuation and combining marks do not: they separate runs.
#[must_use]
pub const fn is_cjk(character: char) -> bool {
    matches!(character,
        '\u{1100}'..='\u{11ff}'        // Hangul Jamo
        | '\u{3005}'..='\u{3007}'      // iteration mark, closing mark, ideographic zero
        | '\u{3041}'..='\u{3096}'      // Hiragana
        | '\u{309d}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}'      // Katakana
        | '\u{30fc}'..='\u{312f}'      // prolonged sound mark; Bopomofo
        | '\u{3131}'..='\u{318e}'      // Hangul compatibility Jamo
        | '\u{31a0}'..='\u{31bf}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'      // ideographs, extension A
        | '\u{4e00}'..='\u{9fff}'      // ideographs
        | '\u{a960}'..='\u{a97c}'
        | '\u{ac00}'..='\u{d7a3}'      // Hangul syllables
        | '\u{f900}'..='\u{faff}'      // compatibility ideographs
        | '\u{ff66}'..='\u{ff9d}'      // half-width Katakana
        | '\u{ffa0}'..='\u{ffdc}'      // half-width Hangul
        | '\u{20000}'..='\u{3ffff}')
}

/// `text` with spaces around each such character; any other text as it is.
#[must_use]
pub fn spaced(text: &str) -> Cow<'_, str> {
    separated(text, ' ')
}

/// `text` with `separator` around each such character.
pub fn separated(text: &str, separator: char) -> Cow<'_, str> {
    let Some(first) = text.char_indices().find(|(_, character)| is_cjk(*character)).map(|(at, _)| at) else {
        return Cow::Borrowed(text);
    };
    let mut spaced = String::with_capacity(text.len() + text.len() / 2);
    spaced.push_str(&text[..first]);
    let mut before = text[..first].chars().next_back();
    for character in text[first..].chars() {
        if before.is_some_and(|before| is_cjk(before) || is_cjk(character)) {
            spaced.push(separator);
        }
        spaced.push(character);
        before = Some(character);
    }
    Cow::Owned(spaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_characters_where_no_spaces_are_written() {
        for (text, expected) in [
            ("", ""),
            ("plain words, naïve", "plain words, naïve"),
            ("日本", "日 本"),
            ("Reactの状態を管理", "React の 状 態 を 管 理"),
            ("セッション期限v2", "セ ッ シ ョ ン 期 限 v2"),
            ("데이터 저장", "데 이 터   저 장"),
            ("查询优化。完成", "查 询 优 化 。 完 成"),
            ("𠮷野家", "𠮷 野 家"),
        ] {
            assert_eq!(spaced(text), expected, "{text}");
        }
        assert!(matches!(spaced("no such character"), Cow::Borrowed(_)));
    }
}
