//! What a user wrote, as terms that the text indexes can be asked for. Any text is a query; none is an error.

use std::collections::HashSet;

use super::stop_words::is_stop_word;
use crate::index::text::cjk::is_cjk;

/// Terms that count: the first so many different ones. Somebody who pastes a log wants its beginning found, and each
/// term costs a walk through its rows.
const TERMS: usize = 64;
/// Words that a compound is looked for as one: a path of more parts is found by its parts.
const COMPOUND: usize = 16;
/// Bytes of a word at most. A longer one is data, which nobody has indexed under its whole length either.
const WORD: usize = 1_000;

/// What a term is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Word,
    /// Words that punctuation joins: `token-refresh.ts` is more than `token`, `refresh` and `ts`. They are looked for
    /// side by side, besides each alone.
    Compound,
    /// Two characters side by side, of a script without spaces; or a single one that stands alone.
    Neighbours,
}

/// One thing to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What it is made of.
    pub kind: Kind,
    /// Its words, in lower case, separated by single spaces. Letters and digits only: inside the quotes of an FTS5
    /// string they mean nothing but themselves.
    pub text: String,
}

impl Term {
    /// As FTS5 reads it.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.text)
    }
}

/// The terms of `text`, each once: stop words only where there is nothing else.
#[must_use]
pub fn terms(text: &str) -> Vec<Term> {
    let (terms, stop_words) = collect(text);
    if terms.is_empty() { stop_words } else { terms }
}

fn collect(text: &str) -> (Vec<Term>, Vec<Term>) {
    let mut seen = HashSet::new();
    let (mut terms, mut stop_words) = (Vec::new(), Vec::new());
    for chunk in text.split_whitespace() {
        if terms.len() >= TERMS {
            break;
        }
        let words = words(chunk);
        for word in &words {
            match word {
                Piece::Word(word) => {
                    let list = if is_stop_word(word) { &mut stop_words } else { &mut terms };
                    push(list, &mut seen, Kind::Word, word.clone());
                }
                Piece::Run(characters) if characters.len() == 1 => {
                    push(&mut terms, &mut seen, Kind::Neighbours, characters[0].to_string());
                }
                Piece::Run(characters) => {
                    for pair in characters.windows(2) {
                        push(&mut terms, &mut seen, Kind::Neighbours, format!("{} {}", pair[0], pair[1]));
                    }
                }
            }
        }
        if (2..=COMPOUND).contains(&words.len()) {
            let parts: Option<Vec<&str>> =
                words.iter().map(|word| if let Piece::Word(word) = word { Some(&**word) } else { None }).collect();
            if let Some(parts) = parts {
                push(&mut terms, &mut seen, Kind::Compound, parts.join(" "));
            }
        }
    }
    (terms, stop_words)
}

fn push(list: &mut Vec<Term>, seen: &mut HashSet<String>, kind: Kind, text: String) {
    if list.len() < TERMS && seen.insert(text.clone()) {
        list.push(Term { kind, text });
    }
}

enum Piece {
    Word(String),
    Run(Vec<char>),
}

/// Words and runs of a text without spaces, in order.
fn words(chunk: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // Whether the last piece goes on.
    let mut open = false;
    for character in chunk.chars() {
        if is_cjk(character) {
            match pieces.last_mut() {
                Some(Piece::Run(run)) if open => run.push(character),
                _ => pieces.push(Piece::Run(vec![character])),
            }
            open = true;
        } else if character.is_alphanumeric() {
            match pieces.last_mut() {
                Some(Piece::Word(word)) if open => word.extend(character.to_lowercase()),
                _ => pieces.push(Piece::Word(character.to_lowercase().collect())),
            }
            open = true;
        } else {
            open = false;
        }
    }
    pieces.retain(|piece| !matches!(piece, Piece::Word(word) if word.len() > WORD));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(query: &str) -> Vec<String> {
        terms(query).into_iter().map(|term| term.text).collect()
    }

    #[test]
    fn words_without_stop_words() {
        assert_eq!(texts("Where do we refresh the Token?"), ["refresh", "token"]);
        assert_eq!(texts("to be or not to be"), ["to", "be", "or", "not"], "where nothing else remains");
        assert_eq!(texts("token TOKEN Token"), ["token"]);
    }

    #[test]
    fn what_punctuation_joins_is_looked_for_as_one_too() {
        assert_eq!(
            texts("src/auth/token-refresh.ts"),
            ["src", "auth", "token", "refresh", "ts", "src auth token refresh ts"]
        );
        assert_eq!(texts("is_valid"), ["valid", "is valid"]);
        assert_eq!(texts("getUserById()"), ["getuserbyid"]);
    }

    #[test]
    fn runs_without_spaces_are_pairs_of_neighbours() {
        assert_eq!(texts("状態管理"), ["状 態", "態 管", "管 理"]);
        assert_eq!(texts("Reactの状態 鍵"), ["react", "の 状", "状 態", "鍵"]);
        assert!(terms("状態").iter().all(|term| term.kind == Kind::Neighbours));
    }

    #[test]
    fn any_text_is_a_query() {
        for text in ["", " ", "\0", "\"", "***", "()", "🙂", "^{}:-+"] {
            assert!(terms(text).is_empty(), "{text:?}");
        }
        assert_eq!(texts("\"a b\" NEAR(token, 5) OR* x:y"), ["b", "near", "token", "near token", "5", "x", "y", "x y"]);
        assert_eq!(texts("left\0right"), ["left", "right", "left right"]);
    }

    #[test]
    fn a_huge_text_is_as_many_terms_as_count() {
        let many: String = (0..20_000).map(|number| format!("word{number} ")).collect();
        assert_eq!(terms(&many).len(), TERMS);
        assert!(terms(&"x".repeat(100_000)).is_empty());
        assert_eq!(terms(&"状態管理".repeat(30_000)).len(), 4);
        assert_eq!(terms(&"the ".repeat(30_000)).len(), 1);
    }
}
