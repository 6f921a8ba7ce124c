//! Where a row matches: the field, and the text around it.

use rusqlite::{Connection, OptionalExtension, params};

use super::keyword::Marks;
use crate::{
    error::Result,
    index::text::{WORDS_TOKENIZER, cjk},
};

/// Words of a snippet at most: characters, in scripts without spaces.
const WORDS: i64 = 32;
/// Characters of a snippet at most.
const CHARACTERS: usize = 320;
/// Characters before a part of a word.
const BEFORE: usize = 60;
/// Bytes of a field that are looked at.
const FIELD: usize = 1 << 20;

/// Between characters of scripts without spaces; never shown.
const BETWEEN: char = '\u{200b}';
const OPEN: char = '\u{2}';
const CLOSE: char = '\u{3}';

/// A piece of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The column.
    pub field: &'static str,
    /// Cut from it; `…` where something was left out.
    pub text: String,
    /// What of the text matches: from and to, in UTF-16 code units, as JavaScript counts.
    pub highlights: Vec<(usize, usize)>,
}

/// Finds words in texts as the index does.
pub struct Snippets {
    db: Connection,
    expression: String,
    parts: Vec<String>,
}

impl Snippets {
    /// For rows that were found by `marks`.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn new(marks: &Marks) -> Result<Self> {
        let db = Connection::open_in_memory()?;
        db.execute_batch(&format!("CREATE VIRTUAL TABLE fields USING fts5(body, tokenize='{WORDS_TOKENIZER}')"))?;
        Ok(Self { db, expression: marks.expressions.join(" OR "), parts: marks.parts.clone() })
    }

    /// The best place in `fields`, whose first is the first among equals; `None` where no word of them matches.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn find(&self, fields: &[(&'static str, &str)]) -> Result<Option<Snippet>> {
        if let Some(snippet) = self.by_words(fields)? {
            return Ok(Some(snippet));
        }
        let of_part = |part: &String| {
            fields.iter().find_map(|(field, text)| {
                let (from, to) = position(text, part)?;
                Some(around(field, text, from, to))
            })
        };
        Ok(self.parts.iter().find_map(of_part))
    }

    fn by_words(&self, fields: &[(&'static str, &str)]) -> Result<Option<Snippet>> {
        if self.expression.is_empty() {
            return Ok(None);
        }
        self.db.prepare_cached("DELETE FROM fields")?.execute([])?;
        let mut insert = self.db.prepare_cached("INSERT INTO fields(rowid, body) VALUES (?1, ?2)")?;
        for (place, (_, text)) in (0_i64..).zip(fields) {
            let text = cut(text, FIELD).replace([OPEN, CLOSE, BETWEEN], " ");
            insert.execute(params![place, cjk::separated(&text, BETWEEN)])?;
        }
        let mut statement = self.db.prepare_cached(
            "SELECT rowid, snippet(fields, 0, ?2, ?3, '…', ?4) FROM fields WHERE fields MATCH ?1 ORDER BY rank, rowid LIMIT 1",
        )?;
        let found = statement
            .query_row(params![self.expression, OPEN.to_string(), CLOSE.to_string(), WORDS], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })
            .optional()?;
        Ok(found.and_then(|(place, marked)| Some(unmarked(fields.get(usize::try_from(place).ok()?)?.0, &marked))))
    }
}

/// The beginning of a text that nothing marks.
#[must_use]
pub fn beginning(field: &'static str, text: &str) -> Snippet {
    around(field, text, 0, 0)
}

/// Takes the marks out of FTS5's snippet and notes where they were. A snippet of long words is cut, with its first match
/// inside.
fn unmarked(field: &'static str, marked: &str) -> Snippet {
    let before = marked.chars().take_while(|character| *character != OPEN).count();
    let skipped = if before > CHARACTERS / 2 { before - BEFORE } else { 0 };
    let (mut text, mut highlights, mut at) = (String::new(), Vec::new(), 0);
    let mut open = None;
    if skipped > 0 {
        text.push('…');
        at += 1;
    }
    let mut left = CHARACTERS;
    for character in marked.chars().skip(skipped) {
        match character {
            OPEN => open = Some(at),
            CLOSE => highlights.extend(open.take().map(|from| (from, at))),
            BETWEEN => {}
            _ if left == 0 => {
                text.push('…');
                break;
            }
            _ => {
                text.push(character);
                at += character.len_utf16();
                left -= 1;
            }
        }
    }
    // A match that was cut ends where the text does.
    highlights.extend(open.filter(|from| *from < at).map(|from| (from, at)));
    Snippet { field, text, highlights }
}

/// The characters of `text` around those from `from` to `to`, which are marked.
fn around(field: &'static str, text: &str, from: usize, to: usize) -> Snippet {
    let first = from.saturating_sub(BEFORE);
    let mut snippet = Snippet { field, text: String::new(), highlights: Vec::new() };
    let mut at = 0;
    if first > 0 {
        snippet.text.push('…');
        at += 1;
    }
    let (mut start, mut end) = (at, at);
    let mut rest = text.chars().enumerate().skip(first);
    for (place, character) in rest.by_ref().take(CHARACTERS) {
        if place == from {
            start = at;
        }
        snippet.text.push(character);
        at += character.len_utf16();
        if place < to {
            end = at;
        }
    }
    if rest.next().is_some() {
        snippet.text.push('…');
    }
    if to > from {
        snippet.highlights.push((start, end));
    }
    snippet
}

/// Where `part`, in lower case, stands in `text`, in characters.
fn position(text: &str, part: &str) -> Option<(usize, usize)> {
    let lower = |character: char| character.to_lowercase().next().unwrap_or(character);
    let part: Vec<char> = part.chars().collect();
    let text: Vec<char> = cut(text, FIELD).chars().map(lower).collect();
    let from = text.windows(part.len().max(1)).position(|window| window == part)?;
    Some((from, from + part.len()))
}

/// At most `bytes` of `text`, whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippets(expressions: &[&str], parts: &[&str]) -> Snippets {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Snippets::new(&Marks { expressions: owned(expressions), parts: owned(parts) }).unwrap()
    }

    /// What is marked, as JavaScript would cut it out.
    fn marked(snippet: &Snippet) -> Vec<String> {
        let units: Vec<u16> = snippet.text.encode_utf16().collect();
        snippet.highlights.iter().map(|&(from, to)| String::from_utf16(&units[from..to]).unwrap()).collect()
    }

    #[test]
    fn the_field_that_matches_best_and_the_text_around() {
        let long = format!("{}the tokens are refreshed 🙂 by a token timer{}", "x ".repeat(500), " y".repeat(500));
        let found = snippets(&["\"token\"", "\"refresh\""], &[]);
        let snippet = found.find(&[("title", "Nothing here"), ("narrative", &long)]).unwrap().unwrap();
        assert_eq!(snippet.field, "narrative");
        assert_eq!(marked(&snippet), ["tokens", "refreshed", "token"]);
        assert!(snippet.text.starts_with('…') && snippet.text.ends_with('…'));
        assert!(snippet.text.chars().count() <= CHARACTERS + 2);
        assert_eq!(found.find(&[("title", "Nothing here")]).unwrap(), None);
    }

    #[test]
    fn characters_without_spaces_are_marked_as_they_are_written() {
        let found = snippets(&["\"状 態\"", "\"管 理\""], &[]);
        let snippet = found.find(&[("text", "Reactの状態を管理する")]).unwrap().unwrap();
        assert_eq!(snippet.text, "Reactの状態を管理する");
        assert_eq!(marked(&snippet).concat(), "状態管理");
    }

    #[test]
    fn parts_of_words_are_marked() {
        let found = snippets(&["\"getuser\""], &["getuser"]);
        let text = format!("{} calls getUserById twice", "🙂 word".repeat(40));
        let snippet = found.find(&[("title", "x"), ("text", &text)]).unwrap().unwrap();
        assert_eq!((snippet.field, marked(&snippet)), ("text", vec!["getUser".to_owned()]));
    }

    #[test]
    fn marks_in_the_text_itself_are_no_marks() {
        let snippet = snippets(&["\"token\""], &[]).find(&[("text", "a \u{2}b\u{3} token")]).unwrap().unwrap();
        assert_eq!(marked(&snippet), ["token"]);
    }

    #[test]
    fn words_of_many_characters_are_cut() {
        let text = format!("{} token {}", "a".repeat(5_000), "b".repeat(5_000));
        let snippet = snippets(&["\"token\""], &[]).find(&[("text", &text)]).unwrap().unwrap();
        assert!(snippet.text.chars().count() <= CHARACTERS + 2, "{}", snippet.text.chars().count());
        assert_eq!(marked(&snippet), ["token"]);
        let whole = snippets(&[&format!("\"{}\"", "b".repeat(900))], &[]);
        let snippet = whole.find(&[("text", &"b".repeat(900))]).unwrap().unwrap();
        assert_eq!(marked(&snippet), ["b".repeat(CHARACTERS)]);
        assert_eq!(beginning("text", "short").text, "short");
    }
}
