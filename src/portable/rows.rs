//! Rows of `claude-mem.db` as they go in: each once.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{Kind, field::Field};
use crate::{
    error::{Error, Result},
    store::sessions,
};

/// The columns of a table but its id, as this file has them.
#[derive(Debug, Clone)]
pub struct Columns {
    pub table: &'static str,
    pub names: Vec<String>,
}

impl Columns {
    pub fn read(db: &Connection, table: &'static str) -> Result<Self> {
        let names = db
            .prepare("SELECT name FROM pragma_table_info(?1) WHERE name <> 'id' ORDER BY cid")?
            .query_map([table], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { table, names })
    }

    /// As a statement names them.
    pub fn list(&self) -> String {
        self.names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A row of a file.
#[derive(Debug, Clone)]
pub struct Row {
    pub kind: Kind,
    /// Columns that this memory has, with their values.
    pub fields: BTreeMap<String, Field>,
    /// Equal rows before it.
    pub copy: u32,
    /// The line of the file.
    pub line: u64,
}

impl Row {
    /// A column that must be text.
    fn text(&self, column: &str) -> Result<&str> {
        match self.fields.get(column) {
            Some(Field::Text(text)) => std::str::from_utf8(text)
                .map_err(|_| Error::invalid(format!("column {column} names a session and must be UTF-8"))),
            _ => Err(Error::invalid(format!("column {column} of a {} must be text", self.kind.name()))),
        }
    }

    fn optional_text(&self, column: &str) -> Result<Option<&str>> {
        match self.fields.get(column) {
            None | Some(Field::Null) => Ok(None),
            Some(_) => self.text(column).map(Some),
        }
    }

    fn set(&mut self, column: &str, text: &str) {
        self.fields.insert(column.to_owned(), Field::Text(text.as_bytes().to_vec()));
    }
}

/// Sessions of the file that observations and summaries refer to by another `sdk_session_id` than here.
pub type Renamed = BTreeMap<String, String>;

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whether it is new here.
    pub imported: bool,
    /// Whether a session had to be made for it.
    pub made_session: bool,
    /// A session's two names, where they differ.
    pub renamed: Option<(String, String)>,
}

/// Stores a row unless it is here.
pub fn store(db: &Connection, table: &'static str, row: &Row, renamed: &Renamed) -> Result<Stored> {
    let mut stored = Stored { imported: false, made_session: false, renamed: None };
    if row.kind == Kind::Session {
        return session(db, row);
    }
    let mut row = row.clone();
    if row.kind == Kind::Prompt {
        let owner = row.text("claude_session_id")?;
        if !db.prepare_cached("SELECT 1 FROM sdk_sessions WHERE claude_session_id = ?1")?.exists([owner])? {
            sessions::create(db, Some(owner), Some(""), None, None)?;
            stored.made_session = true;
        }
    } else {
        let owner = row.text("sdk_session_id")?.to_owned();
        let owner = renamed.get(&owner).unwrap_or(&owner);
        stored.made_session = !db
            .prepare_cached("SELECT 1 FROM sdk_sessions WHERE sdk_session_id = ?1 OR claude_session_id = ?1")?
            .exists([owner])?;
        let found = sessions::owner_of_rows(db, owner, Some(row.optional_text("project")?.unwrap_or("")), None)?;
        row.set("sdk_session_id", &found);
    }
    if count(db, table, &row)? > i64::from(row.copy) {
        return Ok(stored);
    }
    insert(db, table, &row)?;
    stored.imported = true;
    Ok(stored)
}

/// How many rows are equal, up to as many as matter.
fn count(db: &Connection, table: &str, row: &Row) -> Result<i64> {
    // Without the plus SQLite may walk all rows of a session instead of those of a millisecond.
    let tests = row.fields.keys().enumerate().map(|(index, name)| match name.as_str() {
        "created_at_epoch" => format!("{} = ?{}", quoted(name), index + 1),
        _ => format!("+{} IS ?{}", quoted(name), index + 1),
    });
    let tests = tests.collect::<Vec<_>>().join(" AND ");
    let limit = i64::from(row.copy) + 1;
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {tests} LIMIT {limit})");
    let values: Vec<&dyn ToSql> = row.fields.values().map(|field| field as &dyn ToSql).collect();
    Ok(db.prepare_cached(&sql)?.query_row(&*values, |row| row.get(0))?)
}

fn insert(db: &Connection, table: &str, row: &Row) -> Result<()> {
    let names: Vec<String> = row.fields.keys().map(|name| quoted(name)).collect();
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let sql = format!("INSERT INTO {table}({}) VALUES ({})", names.join(", "), places.join(", "));
    let values: Vec<&dyn ToSql> = row.fields.values().map(|field| field as &dyn ToSql).collect();
    db.prepare_cached(&sql)?.execute(&*values)?;
    Ok(())
}

/// A session is known by its `claude_session_id`, and an existing row stays as it is. Only an `sdk_session_id` that
/// is NULL is filled in: rows refer to it. Where that name is another session's here, its own is taken.
fn session(db: &Connection, row: &Row) -> Result<Stored> {
    let name = row.text("claude_session_id")?;
    let wanted = row.optional_text("sdk_session_id")?;
    let known: Option<(i64, Option<String>)> = db
        .prepare_cached("SELECT id, sdk_session_id FROM sdk_sessions WHERE claude_session_id = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let renamed = |to: &str| wanted.filter(|wanted| *wanted != to).map(|wanted| (wanted.to_owned(), to.to_owned()));
    match known {
        Some((_, Some(here))) => Ok(Stored { imported: false, made_session: false, renamed: renamed(&here) }),
        Some((id, None)) => {
            let Some(wanted) = wanted else {
                return Ok(Stored { imported: false, made_session: false, renamed: None });
            };
            let given = free_name(db, name, wanted)?;
            sessions::set_sdk_session_id(db, id, given)?;
            Ok(Stored { imported: false, made_session: false, renamed: renamed(given) })
        }
        None => {
            let mut row = row.clone();
            let given = wanted.map(|wanted| free_name(db, name, wanted)).transpose()?;
            if let Some(given) = given {
                row.set("sdk_session_id", given);
            }
            insert(db, "sdk_sessions", &row)?;
            Ok(Stored { imported: true, made_session: false, renamed: given.and_then(renamed) })
        }
    }
}

fn free_name<'n>(db: &Connection, own: &'n str, wanted: &'n str) -> Result<&'n str> {
    let mut taken = db.prepare_cached("SELECT 1 FROM sdk_sessions WHERE sdk_session_id = ?1")?;
    for name in [wanted, own] {
        if !taken.exists(params![name])? {
            return Ok(name);
        }
    }
    Err(Error::invalid(format!(
        "session '{own}' cannot be told apart here: its sdk_session_id '{wanted}' and its own name are other sessions'"
    )))
}
