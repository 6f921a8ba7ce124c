//! What a database has: the facts that every decision about its schema is made from.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension};

use super::{native, tables::TABLES};
use crate::error::Result;

/// A column as `PRAGMA table_xinfo` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundColumn {
    /// In lower case: SQLite's names have no case.
    pub name: String,
    /// As it was written.
    pub declared_type: String,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// The expression of its default.
    pub default: Option<String>,
    /// Whether the primary key has it.
    pub in_primary_key: bool,
    /// Generated columns and those of virtual tables are not 0.
    pub hidden: i64,
}

/// A table, view, index or trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `table`, `view`, `index` or `trigger`.
    pub kind: String,
    /// The statement that made it; NULL for the indexes that SQLite makes by itself.
    pub sql: Option<String>,
}

/// The schema of a file, and what it says of its own version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    objects: BTreeMap<String, Object>,
    /// Those of claude-mem's tables that exist.
    columns: BTreeMap<&'static str, Vec<FoundColumn>>,
    /// Whether `session_summaries.sdk_session_id` is UNIQUE, as it was before step 7.
    pub one_summary_a_session: bool,
    /// The steps in the ledger.
    pub recorded: BTreeSet<i64>,
    /// The format version of our own tables.
    pub format: Option<i64>,
}

impl Shape {
    /// Reads it all.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn read(db: &Connection) -> Result<Self> {
        let mut shape = Self::default();
        let mut objects = db.prepare("SELECT lower(name), type, sql FROM sqlite_master")?;
        let mut rows = objects.query([])?;
        while let Some(row) = rows.next()? {
            shape.objects.insert(row.get(0)?, Object { kind: row.get(1)?, sql: row.get(2)? });
        }
        for table in TABLES {
            if shape.has("table", table.name) {
                shape.columns.insert(table.name, columns(db, table.name)?);
            }
        }
        shape.one_summary_a_session = one_summary_a_session(db)?;
        if let Some(ledger) = shape.columns("schema_versions")
            && ledger.iter().any(|column| column.name == "version")
        {
            let mut versions = db.prepare("SELECT version FROM schema_versions WHERE typeof(version) = 'integer'")?;
            shape.recorded = versions.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        }
        if shape.has("table", native::LEDGER) {
            shape.format = db
                .query_row("SELECT CAST(value AS INTEGER) FROM native_ledger WHERE key = 'format'", [], |row| {
                    row.get(0)
                })
                .optional()?
                .flatten();
        }
        Ok(shape)
    }

    /// Whether there is a `kind` (table, view, index, trigger) called `name`, which is in lower case.
    pub fn has(&self, kind: &str, name: &str) -> bool {
        self.object(name).is_some_and(|object| object.kind == kind)
    }

    /// The object called `name`, which is in lower case.
    pub fn object(&self, name: &str) -> Option<&Object> {
        self.objects.get(name)
    }

    /// The columns of one of claude-mem's tables, where it exists.
    pub fn columns(&self, table: &str) -> Option<&[FoundColumn]> {
        self.columns.get(table).map(Vec::as_slice)
    }

    /// Whether the table exists and has that column.
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.columns(table).is_some_and(|columns| columns.iter().any(|found| found.name == column))
    }

    /// Whether nobody has made a table yet.
    pub fn is_blank(&self) -> bool {
        self.objects.is_empty()
    }
}

fn columns(db: &Connection, table: &str) -> Result<Vec<FoundColumn>> {
    let mut columns =
        db.prepare("SELECT lower(name), type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?)")?;
    let rows = columns.query_map([table], |row| {
        Ok(FoundColumn {
            name: row.get(0)?,
            declared_type: row.get(1)?,
            not_null: row.get(2)?,
            default: row.get(3)?,
            in_primary_key: row.get::<_, i64>(4)? > 0,
            hidden: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn one_summary_a_session(db: &Connection) -> Result<bool> {
    let unique = db.query_row(
        "SELECT 1 FROM pragma_index_list('session_summaries') AS list
         WHERE list.\"unique\" AND list.origin = 'u'
           AND (SELECT group_concat(lower(name)) FROM pragma_index_info(list.name)) = 'sdk_session_id'",
        [],
        |_| Ok(()),
    );
    Ok(unique.optional()?.is_some())
}
