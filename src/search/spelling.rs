//! Words that a mistyped one may stand for: those of the index that are one or two slips away from it.

use rusqlite::Connection;

use super::remembered::Remembered;
use crate::error::Result;

/// Letters of a word that may be mistyped at least: shorter ones are too near to everything.
const SHORTEST: usize = 4;
/// From so many letters on there may be two slips.
const TWO_SLIPS: usize = 8;
/// Letters of a word at most: longer ones are data.
const LONGEST: usize = 40;
/// Stems that a connection remembers at most: some 10 MB.
const STEMS: usize = 200_000;
/// Words that one may stand for.
const ALTERNATIVES: usize = 3;

/// Endings that stemming takes away, with what it takes away before them: the index has words without them.
const ENDINGS: [&str; 58] = [
    "s", "e", "es", "ed", "er", "ers", "ing", "ings", "ly", "y", "ies", "ied", "al", "ally", "ion", "ions", "ation",
    "ations", "ational", "ator", "ators", "ate", "ates", "ated", "ating", "ative", "ment", "ments", "ive", "ively",
    "able", "ible", "ability", "ibility", "ity", "ities", "ness", "ance", "ence", "ant", "ent", "or", "ors", "ous",
    "ously", "ize", "izes", "ized", "izing", "ization", "izations", "ism", "ic", "ical", "ication", "ications", "ful",
    "fully",
];

/// Stems of the index nearest to `word`, the most frequent first: none for a word that is too short or has digits. The
/// first letter is taken to be right, as it nearly always is.
pub(super) fn similar(db: &Connection, remembered: &mut Remembered, word: &str) -> Result<Vec<String>> {
    let letters: Vec<char> = word.chars().collect();
    if !(SHORTEST..=LONGEST).contains(&letters.len()) || !letters.iter().all(|letter| letter.is_alphabetic()) {
        return Ok(Vec::new());
    }
    let most = if letters.len() >= TWO_SLIPS { 2 } else { 1 };
    let shape = Shape::new(&letters);
    let mut nearest: Vec<(usize, i64, &str)> = Vec::new();
    for stem in stems(db, remembered, letters[0])?.iter().filter(|stem| shape.may_be(stem, most)) {
        if let Some(distance) = distance(&letters, &stem.text, most) {
            nearest.push((distance, -stem.rows, &stem.text));
        }
    }
    nearest.sort_unstable();
    let best = nearest.first().map(|(distance, ..)| *distance);
    nearest.retain(|(distance, ..)| Some(*distance) == best);
    Ok(nearest.into_iter().take(ALTERNATIVES).map(|(.., stem)| stem.to_owned()).collect())
}

/// A stem of the index.
#[derive(Debug)]
pub(super) struct Stem {
    text: String,
    /// How many rows have it.
    rows: i64,
    characters: usize,
    letters: Letters,
}

impl Stem {
    fn new(text: String, rows: i64) -> Self {
        let (characters, letters) = (text.chars().count(), text.chars().fold(Letters::default(), Letters::with));
        Self { text, rows, characters, letters }
    }
}

/// Which letters a text has: a bit each, where some letters share one. Those of English have one each.
#[derive(Debug, Clone, Copy, Default)]
struct Letters(u64);

impl Letters {
    fn with(self, letter: char) -> Self {
        Self(self.0 | 1 << (u32::from(letter) % u64::BITS))
    }

    /// How many of these the others have not, at least: with each goes a slip.
    const fn not_in(self, others: Self) -> usize {
        (self.0 & !others.0).count_ones() as usize
    }
}

/// What of a word can be compared with a stem at a glance: to count the slips of all that begin with its letter would be
/// most of what looking for a mistyped word takes.
struct Shape {
    /// The letters of each of its beginnings, from none of it to all.
    beginnings: Vec<Letters>,
}

impl Shape {
    fn new(word: &[char]) -> Self {
        let mut beginnings = Vec::with_capacity(word.len() + 1);
        let mut letters = Letters::default();
        beginnings.push(letters);
        for &letter in word {
            letters = letters.with(letter);
            beginnings.push(letters);
        }
        Self { beginnings }
    }

    /// Whether there may be no more than `most` slips between a beginning and the stem: false only where there are more.
    fn may_be(&self, stem: &Stem, most: usize) -> bool {
        let all = self.beginnings.len() - 1;
        if stem.characters + 1 < SHORTEST || stem.characters > all + most {
            return false;
        }
        // A shorter beginning lacks too much, and a longer one has its letters.
        let shortest = self.beginnings[(SHORTEST - 1).max(stem.characters.saturating_sub(most))];
        stem.letters.not_in(self.beginnings[all]) <= most && shortest.not_in(stem.letters) <= most
    }
}

/// The stems that begin with a letter. Counting their rows takes milliseconds: they are
/// remembered until somebody writes.
fn stems<'r>(db: &Connection, remembered: &'r mut Remembered, first: char) -> Result<&'r [Stem]> {
    if !remembered.stems.contains_key(&first) {
        // Nothing that begins with the letter is above it.
        let (from, to) = (first.to_string(), format!("{first}\u{10ffff}"));
        let mut statement = db.prepare_cached("SELECT term, doc FROM vocabulary WHERE term >= ?1 AND term < ?2")?;
        let stems = statement
            .query_map([from, to], |row| Ok(Stem::new(row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        if remembered.stems.values().map(Vec::len).sum::<usize>() + stems.len() > STEMS {
            remembered.stems.clear();
        }
        remembered.stems.insert(first, stems);
    }
    Ok(remembered.stems.get(&first).map_or(&[], Vec::as_slice))
}

/// Slips between a word, with or without an ending, and a stem; `None` where there are more than `most`.
fn distance(word: &[char], stem: &str, most: usize) -> Option<usize> {
    let stem: Vec<char> = stem.chars().collect();
    let beginnings = slips(word, &stem);
    (SHORTEST - 1..=word.len())
        .filter(|&at| beginnings[at] <= most)
        .filter_map(|at| Some(beginnings[at] + ending(&word[at..])?))
        .filter(|distance| *distance <= most)
        .min()
}

/// Slips between a text and the nearest ending: there may be one in a longer one.
fn ending(text: &[char]) -> Option<usize> {
    if text.is_empty() || ENDINGS.iter().any(|ending| ending.chars().eq(text.iter().copied())) {
        return Some(0);
    }
    let near = |ending: &&str| {
        let ending: Vec<char> = ending.chars().collect();
        ending.len() > 2 && ending.len().abs_diff(text.len()) <= 1 && slips(text, &ending)[text.len()] == 1
    };
    ENDINGS.iter().any(near).then_some(1)
}

/// Slips between each beginning of a text, from none of it to all, and another text: letters missing, added, wrong, or
/// two of them swapped.
fn slips(text: &[char], other: &[char]) -> Vec<usize> {
    // Rows of the matrix: beginnings of the text. Its last column is what is asked for.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let mut whole = Vec::with_capacity(text.len() + 1);
    whole.push(other.len());
    for (i, &letter) in text.iter().enumerate() {
        let mut row = vec![i + 1; other.len() + 1];
        for (j, &theirs) in other.iter().enumerate() {
            let changed = last[j] + usize::from(letter != theirs);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter == other[j - 1] && text[i - 1] == theirs {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        whole.push(row[other.len()]);
        before = std::mem::replace(&mut last, row);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str, stem: &str) -> Option<usize> {
        distance(&word.chars().collect::<Vec<_>>(), stem, 2)
    }

    #[test]
    fn slips_of_the_hand() {
        for (word, stem, expected) in [
            ("databse", "databas", Some(1)),
            ("recieve", "receiv", Some(1)),
            ("migratoin", "migrat", Some(1)),
            ("migrations", "migrat", Some(0)),
            ("tokne", "token", Some(1)),
            ("toen", "token", Some(1)),
            ("tokken", "token", Some(1)),
            ("cahe", "cach", Some(1)),
            ("penetraton", "penetr", Some(1)),
            ("notificatoins", "notif", Some(1)),
            ("acessibility", "access", Some(1)),
            ("authetnication", "authent", Some(1)),
            ("entirely", "other", None),
        ] {
            assert_eq!(of(word, stem), expected, "{word} {stem}");
        }
    }

    #[test]
    fn at_a_glance_nothing_near_is_left_out() {
        let stems = ["databas", "receiv", "migrat", "token", "cach", "penetr", "notif", "über", "access", "authent"];
        let words =
            ["database", "receives", "migrations", "tokens", "caching", "penetration", "übers", "accessibility"];
        let (mut near, mut left_out) = (0, 0);
        for word in words {
            let word: Vec<char> = word.chars().collect();
            for at in 0..word.len() {
                let mut slipped = vec![word.clone(); 4];
                slipped[0].remove(at);
                slipped[1].insert(at, 'q');
                slipped[2][at] = 'z';
                slipped[3].swap(at, (at + 1) % word.len());
                for (word, stem) in slipped.iter().flat_map(|word| stems.map(|stem| (word, stem))) {
                    for most in 1..=2 {
                        let looks = Shape::new(word).may_be(&Stem::new(stem.to_owned(), 1), most);
                        let is = distance(word, stem, most).is_some();
                        assert!(looks || !is, "{word:?} {stem} {most}");
                        near += usize::from(is);
                        left_out += usize::from(!looks);
                    }
                }
            }
        }
        assert!(near > 100 && left_out > 1_000, "{near} near, {left_out} left out");
    }
}
