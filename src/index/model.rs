//! Which model the stored vectors are of. A name can lie: a few texts are embedded again and compared.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::table;
use crate::{
    embedder::{Availability, Embedder, Identity},
    error::Result,
};

/// The model of the stored vectors; `None` where nothing is noted.
///
/// # Errors
/// What SQLite answers.
pub fn stored(db: &Connection) -> Result<Option<Identity>> {
    let Some(note) = table::note(db, "model")? else { return Ok(None) };
    let read = |note: &Value| {
        let text = |name: &str| note.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| note.get(name)?.as_u64().and_then(|number| usize::try_from(number).ok());
        Some(Identity {
            name: text("name")?,
            dimensions: number("dimensions")?,
            pooling: text("pooling")?,
            max_tokens: number("maxTokens")?,
        })
    };
    Ok(serde_json::from_str(&note).ok().as_ref().and_then(read))
}

/// Notes the model of the vectors that are stored from now on. What was noted of another's probes goes.
///
/// # Errors
/// What SQLite answers.
pub fn store(db: &Connection, model: &Identity) -> Result<()> {
    let Identity { name, dimensions, pooling, max_tokens } = model;
    let note = json!({"name": name, "dimensions": dimensions, "pooling": pooling, "maxTokens": max_tokens});
    table::set_note(db, "model", Some(&note.to_string()))?;
    table::set_note(db, "probes", None)?;
    // Of its vectors, too: a graph of another model's is of no use.
    table::set_note(db, "snapshot", None)
}

/// What the model of the stored vectors made of [`probes::TEXTS`](crate::embedder::probes::TEXTS).
///
/// # Errors
/// What SQLite answers.
pub fn stored_probes(db: &Connection) -> Result<Option<Vec<Vec<f32>>>> {
    let note = table::note(db, "probes")?;
    Ok(note.and_then(|note| serde_json::from_str::<Value>(&note).ok()).and_then(|note| {
        let numbers = |vector: &Value| {
            #[expect(clippy::cast_possible_truncation, reason = "they were 32-bit floats")]
            let numbers = vector.as_array()?.iter().map(|number| Some(number.as_f64()? as f32)).collect();
            numbers
        };
        note.as_array()?.iter().map(numbers).collect()
    }))
}

/// # Errors
/// What SQLite answers.
pub fn store_probes(db: &Connection, probes: &[Vec<f32>]) -> Result<()> {
    table::set_note(db, "probes", Some(&json!(probes).to_string()))
}

/// Why texts cannot be embedded here; `None` where they can.
#[must_use]
pub fn why_not(embedder: &dyn Embedder) -> Option<String> {
    match embedder.availability() {
        Availability::Loaded | Availability::Unloaded => None,
        Availability::Missing { reason } => Some(reason),
        Availability::External => {
            Some("the caller embeds (embedder: 'external'): hand vectors over with vectors.put()".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::{probes::same_model, testing::Words};

    #[test]
    fn notes_are_read_as_they_were_written() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID").unwrap();
        assert_eq!((stored(&db).unwrap(), stored_probes(&db).unwrap()), (None, None));
        let model = Words::new(16);
        let mut probes = model.probes().unwrap();
        store(&db, model.identity()).unwrap();
        store_probes(&db, &probes).unwrap();
        assert_eq!(stored(&db).unwrap().as_ref(), Some(model.identity()));
        let known = stored_probes(&db).unwrap().unwrap();
        assert!(same_model(&known, &probes));
        probes.swap(0, 1);
        assert!(!same_model(&known, &probes));
        store(&db, model.identity()).unwrap();
        assert_eq!(stored_probes(&db).unwrap(), None, "another model's");
    }
}
