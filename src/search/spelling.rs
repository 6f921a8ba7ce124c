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
    let mut nearest: Vec<(usize, i64, &str)> = Vec::new();
    for (stem, rows) in stems(db, remembered, letters[0])? {
        let characters = stem.chars().count();
        if characters + 1 < SHORTEST || characters > letters.len() + most {
            continue;
        }
        if let Some(distance) = distance(&letters, stem, most) {
            nearest.push((distance, -rows, stem));
        }
    }
    nearest.sort_unstable();
    let best = nearest.first().map(|(distance, ..)| *distance);
    nearest.retain(|(distance, ..)| Some(*distance) == best);
    Ok(nearest.into_iter().take(ALTERNATIVES).map(|(.., stem)| stem.to_owned()).collect())
}

/// The stems that begin with a letter, and how many rows have each. Counting them takes milliseconds: they are
/// remembered until somebody writes.
fn stems<'r>(db: &Connection, remembered: &'r mut Remembered, first: char) -> Result<&'r [(String, i64)]> {
    if !remembered.stems.contains_key(&first) {
        // Nothing that begins with the letter is above it.
        let (from, to) = (first.to_string(), format!("{first}\u{10ffff}"));
        let mut statement = db.prepare_cached("SELECT term, doc FROM vocabulary WHERE term >= ?1 AND term < ?2")?;
        let stems = statement
            .query_map([from, to], |row| Ok((row.get(0)?, row.get(1)?)))?
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
}
