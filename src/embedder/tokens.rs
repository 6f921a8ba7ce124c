//! Texts to token ids.

use std::{fs, path::Path};

use tokenizers::{
    AddedToken, Tokenizer, TruncationParams, models::wordpiece::WordPiece, normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::{DEFAULT_MODEL, no_model};
use crate::error::Result;

/// The WordPieces of bert-base-uncased, which the default model is made for.
const VOCABULARY: &str = include_str!("../../assets/all-MiniLM-L6-v2/vocab.txt");
/// Tokens that a text can spell, and that are more than their letters.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// Bytes of a long text that are looked at first: nearly always more than its first 256 tokens.
const WINDOW: usize = 4_096;
/// The word of so many letters is one unknown token, however long it is. The published limit is 100.
const LONGEST_RUN: usize = 128;

/// A tokenizer, and where texts end for it.
pub struct Tokens {
    tokenizer: Tokenizer,
    limit: usize,
    form: Form,
}

enum Form {
    /// Set up in code; its first tokens do not depend on what follows.
    Bert { cls: u32, sep: u32 },
    /// From a `tokenizer.json`, which may do anything.
    Published,
}

impl Tokens {
    /// The tokenizer of the model in `folder`: its `tokenizer.json`, else its `vocab.txt` (WordPieces, one a line,
    /// for lower-cased text), else for the default model the vocabulary that is built in. The default model's own
    /// `tokenizer.json` is not looked at: it is published with other limits.
    ///
    /// # Errors
    /// `ERR_NO_MODEL`.
    pub fn open(name: &str, folder: &Path, limit: usize) -> Result<Self> {
        if name == DEFAULT_MODEL {
            return Self::bert(VOCABULARY.as_bytes(), limit, "the vocabulary that is built in");
        }
        let (published, vocabulary) = (folder.join("tokenizer.json"), folder.join("vocab.txt"));
        if published.is_file() {
            return Self::published(&published, limit);
        }
        match fs::read(&vocabulary) {
            Ok(lines) => Self::bert(&lines, limit, &vocabulary.display().to_string()),
            Err(error) => Err(no_model(format!(
                "model '{name}' has no tokenizer: put its tokenizer.json or vocab.txt into {} ({error})",
                folder.display()
            ))),
        }
    }

    fn published(file: &Path, limit: usize) -> Result<Self> {
        let unusable = |error| no_model(format!("{} cannot be used: {error}", file.display()));
        let mut tokenizer = Tokenizer::from_file(file).map_err(unusable)?;
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: limit, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(unusable)?;
        Ok(Self { tokenizer, limit, form: Form::Published })
    }

    fn bert(vocabulary: &[u8], limit: usize, source: &str) -> Result<Self> {
        let unusable = |reason: &dyn std::fmt::Display| no_model(format!("{source} cannot be used: {reason}"));
        let words = WordPiece::read_bytes(vocabulary).map_err(|error| unusable(&error))?;
        let pieces = WordPiece::builder().vocab(words).build().map_err(|error| unusable(&error))?;
        let mut tokenizer = Tokenizer::new(pieces);
        tokenizer
            .with_normalizer(Some(BertNormalizer::new(true, true, None, true)))
            .with_pre_tokenizer(Some(BertPreTokenizer));
        for token in SPECIAL {
            if tokenizer.token_to_id(token).is_none() {
                return Err(unusable(&format!("it has no {token}, so it is no BERT vocabulary")));
            }
        }
        tokenizer.add_special_tokens(&SPECIAL.map(|token| AddedToken::from(token, true)));
        let id = |token| tokenizer.token_to_id(token).unwrap_or_default();
        let form = Form::Bert { cls: id("[CLS]"), sep: id("[SEP]") };
        Ok(Self { tokenizer, limit, form })
    }

    /// How many different tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The tokens of a text, at most as many as the model takes.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` where the tokenizer fails.
    pub fn of(&self, text: &str) -> Result<Vec<u32>> {
        match self.form {
            Form::Published => {
                let mut ids = self.encode(text, true)?;
                ids.truncate(self.limit);
                Ok(ids)
            }
            Form::Bert { cls, sep } => {
                let wanted = self.limit.saturating_sub(2);
                let inner = if text.len() <= WINDOW { self.encode(text, false)? } else { self.first(text, wanted)? };
                let mut ids = Vec::with_capacity(inner.len().min(wanted) + 2);
                ids.push(cls);
                ids.extend(inner.iter().take(wanted));
                ids.push(sep);
                Ok(ids)
            }
        }
    }

    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, special)
            .map_err(|error| no_model(format!("the tokenizer failed on a text of {} bytes: {error}", text.len())))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// At least the first `wanted` tokens of a long text, without a look at all of it.
    fn first(&self, text: &str, wanted: usize) -> Result<Vec<u32>> {
        let mut start = Start::of(text);
        let mut size = WINDOW;
        loop {
            let complete = start.extend(size);
            let ids = self.encode(start.text(), false)?;
            if complete || ids.len() >= wanted {
                return Ok(ids);
            }
            size *= 4;
        }
    }
}

/// The beginning of a text, cut where a token ends in any case, and without what makes no difference to tokens: more
/// whitespace after whitespace, more zeros after zeros, and more letters in a word that is too long to be known.
struct Start<'a> {
    rest: std::str::Chars<'a>,
    kept: String,
    /// Where `kept` can be cut.
    end: usize,
    last: char,
    /// ASCII letters and digits at the end of `kept`, those left out counted.
    run: usize,
}

impl<'a> Start<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text.chars(), kept: String::new(), end: 0, last: 'x', run: 0 }
    }

    /// Goes on to the first place to cut from `size` bytes on. True where that is the end of the text.
    fn extend(&mut self, size: usize) -> bool {
        while self.end < size {
            let Some(next) = self.rest.next() else {
                self.end = self.kept.len();
                return true;
            };
            self.run = if next.is_ascii_alphanumeric() { self.run + 1 } else { 0 };
            let adds_nothing = self.run > LONGEST_RUN
                || (is_space(next) && is_space(self.last))
                || (next == '\0' && self.last == '\0');
            if ends_a_token(next) {
                self.end = self.kept.len();
            }
            if !adds_nothing {
                self.kept.push(next);
            }
            self.last = next;
        }
        false
    }

    fn text(&self) -> &str {
        &self.kept[..self.end]
    }
}

/// Whitespace that separates words. Other ASCII whitespace, like a form feed, is removed from texts: it is nothing.
fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

/// Whether no token goes on from what stands before to this character. `]` ends special tokens.
fn ends_a_token(char: char) -> bool {
    is_space(char) || (char.is_ascii_punctuation() && char != ']') || ('\u{4e00}'..='\u{9fff}').contains(&char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bert(limit: usize) -> Tokens {
        Tokens::open(DEFAULT_MODEL, Path::new(""), limit).unwrap()
    }

    /// All tokens, then cut: what [`Tokens::of`] does in less time.
    fn whole(tokens: &Tokens, text: &str) -> Vec<u32> {
        let mut ids = tokens.encode(text, false).unwrap();
        ids.truncate(tokens.limit - 2);
        [&[101][..], &ids, &[102]].concat()
    }

    #[test]
    fn a_text_is_wrapped_and_lower_cased() {
        let tokens = bert(256);
        assert_eq!(tokens.of("").unwrap(), [101, 102]);
        assert_eq!(tokens.of("Hello, WORLD!").unwrap(), [101, 7_592, 1_010, 2_088, 999, 102]);
        assert_eq!(tokens.of(&"hello ".repeat(300)).unwrap().len(), 256);
        assert_eq!(bert(8).of(&"hello ".repeat(300)).unwrap().len(), 8);
    }

    #[test]
    fn a_long_text_has_the_tokens_of_the_whole() {
        let pieces = [
            "word",
            " ",
            "  ",
            "\n",
            "\t",
            "\r\n",
            "\0",
            "\0\0\0",
            "\u{b}",
            "\u{c}",
            "\u{7f}",
            "\u{ad}",
            "\u{200b}",
            ".",
            "-",
            "--",
            "[SEP]",
            "[MASK]",
            "[SE",
            "P]",
            "[",
            "]",
            "[CLS",
            "é",
            "e\u{301}",
            "\u{301}",
            "\u{327}\u{301}",
            "大",
            "大学",
            "豈",
            "가",
            "각",
            "ア",
            "ｶﾞ",
            "й",
            "ß",
            "İ",
            "ﬁ",
            "½",
            "…",
            "“",
            "、",
            "\u{a0}",
            "\u{3000}",
            "🎉",
            "👨‍👩‍👧",
            "\u{fffd}",
            "\u{feff}",
            "ไทย",
            "שָׁלוֹם",
            "9",
            "0123456789abcdef",
            "_",
            "#",
            "##ing",
        ];
        let long = ["a".repeat(127), "b".repeat(129), "7".repeat(5_000), " ".repeat(3_000), "\0".repeat(2_000)];
        let mut draw = Draw(7);
        let tokens = bert(256);
        for round in 0..400 {
            let wanted = 4_097 + draw.below(30_000);
            // A few pieces, over and over: whole texts without spaces, without letters, of marks alone.
            let few: Vec<&str> = (0..1 + draw.below(8)).map(|_| pieces[draw.below(pieces.len())]).collect();
            let mut text = String::new();
            while text.len() < wanted {
                match draw.below(300) {
                    0 => text.push_str(&long[draw.below(long.len())]),
                    1..=9 => text.push_str(pieces[draw.below(pieces.len())]),
                    _ => text.push_str(few[draw.below(few.len())]),
                }
            }
            assert_eq!(tokens.of(&text).unwrap(), whole(&tokens, &text), "round {round}: {few:?}");
        }
    }

    #[test]
    fn of_a_huge_text_little_is_looked_at() {
        for text in ["word ", "x", " ", "数", "{\"k\":[1,2]},", "\0", "не ", "x\r\n", "deadbeef"] {
            let huge = text.repeat(100_000 / text.len());
            let mut start = Start::of(&huge);
            start.extend(WINDOW);
            assert!(start.text().len() < WINDOW + 100, "{} bytes of {text:?}", start.text().len());
        }
    }

    #[test]
    fn a_vocabulary_of_ones_own_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let error = |folder: &Path| Tokens::open("mine", folder, 16).err().unwrap().to_string();
        assert!(error(folder.path()).contains("has no tokenizer"), "{}", error(folder.path()));
        fs::write(folder.path().join("vocab.txt"), "hello\n").unwrap();
        assert!(error(folder.path()).contains("it has no [PAD]"), "{}", error(folder.path()));
        fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\n").unwrap();
        assert_eq!(Tokens::open("mine", folder.path(), 16).unwrap().of("Hellos you").unwrap(), [2, 5, 6, 1, 3]);
        // A tokenizer.json comes before it, whatever padding and truncation it was published with.
        bert(256).tokenizer.save(folder.path().join("tokenizer.json"), false).unwrap();
        assert_eq!(Tokens::open("mine", folder.path(), 16).unwrap().of("hello").unwrap(), [7_592]);
        fs::write(folder.path().join("tokenizer.json"), "{").unwrap();
        assert!(error(folder.path()).contains("tokenizer.json cannot be used"), "{}", error(folder.path()));
    }

    /// splitmix64.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut drawn = self.0;
            drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((drawn ^ (drawn >> 31)) >> 1).unwrap() % bound
        }
    }
}
