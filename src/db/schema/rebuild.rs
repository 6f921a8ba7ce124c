//! Making a table anew where a constraint must go, which SQLite cannot do in place.

use rusqlite::{Connection, OptionalExtension};

use super::{
    shape::{FoundColumn, Shape},
    tables::Table,
};
use crate::error::Result;

/// Gives `table` its own definition. Rows, ids, the AUTOINCREMENT sequence, columns of others, and every index
/// and trigger on it stay. Runs inside a transaction, with `foreign_keys` off and `legacy_alter_table` on.
///
/// # Errors
/// What SQLite answers; the transaction must be rolled back then.
pub fn rebuild(db: &Connection, table: &Table, shape: &Shape) -> Result<()> {
    let name = table.name;
    // Seen by nobody: it has its final name again when the transaction ends.
    let fresh = format!("native_rebuild_{name}");
    let found = shape.columns(name).unwrap_or_default();
    let foreign: Vec<_> =
        found.iter().filter(|column| !table.columns.iter().any(|known| known.name == column.name)).collect();
    let further: Vec<_> = foreign.iter().map(|column| declaration(column)).collect();
    let own = table.columns.iter().map(|column| column.name).filter(|column| shape.has_column(name, column));
    let copied: Vec<_> = own.map(quoted).chain(foreign.iter().map(|column| quoted(&column.name))).collect();
    let copied = copied.join(", ");
    let attached = attached(db, name)?;
    let sequence: Option<i64> =
        db.query_row("SELECT seq FROM sqlite_sequence WHERE name = ?", [name], |row| row.get(0)).optional()?;

    db.execute_batch(&table.create_as(&fresh, &further))?;
    db.execute_batch(&format!(
        "INSERT INTO {fresh}({copied}) SELECT {copied} FROM {name} ORDER BY id;
         DROP TABLE {name};
         ALTER TABLE {fresh} RENAME TO {name};"
    ))?;
    if let Some(sequence) = sequence {
        // The highest id ever given may belong to a row that is gone; it must not be given again.
        let updated = db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", (name, sequence))?;
        if updated == 0 {
            db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)", (name, sequence))?;
        }
    }
    for sql in attached {
        db.execute_batch(&sql)?;
    }
    Ok(())
}

/// The statements of all indexes and triggers on `table`, in the order in which they were made.
fn attached(db: &Connection, table: &str) -> Result<Vec<String>> {
    let mut statements = db.prepare(
        "SELECT sql FROM sqlite_master
         WHERE type IN ('index', 'trigger') AND lower(tbl_name) = ? AND sql IS NOT NULL ORDER BY rowid",
    )?;
    let sql = statements.query_map([table], |row| row.get(0))?;
    Ok(sql.collect::<rusqlite::Result<_>>()?)
}

fn declaration(column: &FoundColumn) -> String {
    let mut text = format!("{} {}", quoted(&column.name), column.declared_type);
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        // In parentheses any expression may stand, and a literal means the same.
        text.push_str(&format!(" DEFAULT ({default})"));
    }
    text
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
