//! The full-text tables over claude-mem's own, and the triggers that keep them: whether they are as they should be,
//! and making them so.

use rusqlite::Connection;

use super::{
    shape::Shape,
    tables::{TABLES, Table},
};
use crate::error::{Code, Result};

/// The tables that have a full-text table.
pub fn searchable() -> impl Iterator<Item = &'static Table> {
    TABLES.into_iter().filter(|table| !table.searchable.is_empty())
}

/// What is wrong with a full-text table, its content aside.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// The full-text table is not there, or lacks a column.
    pub table: bool,
    /// Triggers that are not there.
    pub missing: Vec<String>,
    /// Triggers that do something else than 6.0.2's.
    pub wrong: Vec<String>,
}

impl Defects {
    /// What is wrong with the full-text table of `table`.
    #[must_use]
    pub fn of(table: &Table, shape: &Shape) -> Self {
        let mut defects = Self::default();
        let declared = shape.object(&table.full_text()).and_then(|object| object.sql.as_deref());
        let columns = |sql: &str| {
            // Further options, such as a tokenizer, are its maker's choice.
            let sql = plain(sql);
            let after = sql.split_once('(').map(|(_, after)| after.to_owned()).unwrap_or_default();
            let names: Vec<String> = after.split([',', ')']).map(str::to_owned).collect();
            table.searchable.iter().all(|column| names.iter().any(|name| name == column))
                && sql.contains(&format!("content='{}'", table.name))
        };
        defects.table = !declared.is_some_and(columns);
        for (name, sql) in table.triggers() {
            match shape.object(&name) {
                Some(found) if found.kind == "trigger" => {
                    if found.sql.as_deref().map(plain) != Some(plain(&sql)) {
                        defects.wrong.push(name);
                    }
                }
                _ => defects.missing.push(name),
            }
        }
        defects
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A statement without what makes no difference: case, spaces, the kind of quotes.
fn plain(sql: &str) -> String {
    let sql = sql.to_lowercase().replace(['"', '`'], "'").replace("if not exists ", "");
    let mut plain = String::with_capacity(sql.len());
    let mut words = sql.split_whitespace().peekable();
    while let Some(word) = words.next() {
        plain.push_str(word);
        if words.peek().is_some() {
            plain.push(' ');
        }
    }
    for mark in ["(", ")", ",", ";", "="] {
        plain = plain.replace(&format!(" {mark}"), mark).replace(&format!("{mark} "), mark);
    }
    plain
}

/// Whether the full-text table of `table` says what its rows say; none where it is too damaged to tell. Takes the
/// write lock while it compares, so give it a copy where others write.
///
/// # Errors
/// What SQLite answers, damage aside.
pub fn matches_content(db: &Connection, table: &Table) -> Result<bool> {
    let index = table.full_text();
    let compared = db.execute(&format!("INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)"), []);
    match compared.map_err(crate::error::Error::from) {
        Ok(_) => Ok(true),
        Err(error) if error.code == Code::Corrupt => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the full-text table of `table` and its triggers as they should be, in the open transaction, and fills it
/// from the rows. Answers what was done, for people.
///
/// # Errors
/// What SQLite answers; the transaction must be rolled back then.
pub fn mend(db: &Connection, table: &Table) -> Result<Vec<String>> {
    let defects = Defects::of(table, &Shape::read(db)?);
    let index = table.full_text();
    let mut done = Vec::new();
    for name in &defects.wrong {
        db.execute_batch(&format!("DROP TRIGGER {name}"))?;
    }
    let rebuild = format!("INSERT INTO {index}({index}) VALUES ('rebuild')");
    // Where its own pages are damaged it cannot even be emptied; then it is made anew.
    if !defects.table && db.execute_batch(&rebuild).is_ok() {
        done.push(format!("filled {index} anew"));
    } else {
        db.execute_batch(&format!("DROP TABLE IF EXISTS {index}"))?;
        db.execute_batch(&table.create_full_text())?;
        db.execute_batch(&rebuild)?;
        done.push(format!("made {index} anew"));
    }
    for (name, sql) in table.triggers() {
        if defects.wrong.contains(&name) {
            db.execute_batch(&sql)?;
            done.push(format!("replaced trigger {name}"));
        } else if defects.missing.contains(&name) {
            db.execute_batch(&sql)?;
            done.push(format!("made trigger {name}"));
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::schema::{prepare, tables::OBSERVATIONS};

    #[test]
    fn defects_are_found_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let db = prepare(&folder.path().join("claude-mem.db"), std::time::Duration::from_secs(1)).unwrap();
        let defects = |db: &Connection| Defects::of(&OBSERVATIONS, &Shape::read(db).unwrap());
        for table in searchable() {
            assert!(Defects::of(table, &Shape::read(&db).unwrap()).is_empty(), "{}", table.name);
            assert!(matches_content(&db, table).unwrap());
        }
        db.execute_batch(
            "DROP TRIGGER observations_ai;
             DROP TRIGGER observations_ad;
             CREATE TRIGGER observations_ad AFTER DELETE ON observations BEGIN SELECT 1; END;
             PRAGMA foreign_keys=OFF;
             INSERT INTO observations(sdk_session_id, project, type, title, created_at, created_at_epoch)
             VALUES ('s', 'p', 'change', 'unseen', '', 0);",
        )
        .unwrap();
        let found = defects(&db);
        assert_eq!((found.missing, found.wrong), (vec!["observations_ai".into()], vec!["observations_ad".into()]));
        assert!(!matches_content(&db, &OBSERVATIONS).unwrap());
        mend(&db, &OBSERVATIONS).unwrap();
        assert!(defects(&db).is_empty());
        assert!(matches_content(&db, &OBSERVATIONS).unwrap());
        db.execute_batch("DROP TABLE observations_fts").unwrap();
        assert!(defects(&db).table);
        mend(&db, &OBSERVATIONS).unwrap();
        assert!(defects(&db).is_empty() && matches_content(&db, &OBSERVATIONS).unwrap());
    }

    #[test]
    fn layout_and_case_make_no_difference() {
        let (name, sql) = OBSERVATIONS.triggers()[0].clone();
        let spread =
            sql.replace("BEGIN ", "BEGIN\n    ").replace(", ", ",\n ").replace("CREATE TRIGGER", "create  trigger");
        assert_eq!(plain(&sql), plain(&spread), "{name}");
    }
}
