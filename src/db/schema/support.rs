//! Which schemas this engine works on.

use super::{
    native,
    shape::Shape,
    tables::{TABLES, Table},
};
use crate::error::{Code, Error, Result};

/// Whether every statement of ours works on such a file, once the steps have run: each of claude-mem's tables
/// that exists is a table, has the columns that it starts with, and asks for none that we do not know.
///
/// # Errors
/// `ERR_SCHEMA_UNSUPPORTED` with what was found and the remedy.
pub fn check(shape: &Shape) -> Result<()> {
    for table in TABLES {
        check_table(table, shape)?;
    }
    match shape.format {
        Some(format) if format > native::FORMAT => Err(Error::new(
            Code::SchemaUnsupported,
            format!(
                "this database was last used by a newer claude-mem-native (format {format}, this one knows {}); \
                 nothing was changed: update claude-mem-native",
                native::FORMAT
            ),
        )
        .with("format", format)
        .with("supportedFormat", native::FORMAT)),
        _ => Ok(()),
    }
}

fn check_table(table: &Table, shape: &Shape) -> Result<()> {
    let Some(object) = shape.object(table.name) else { return Ok(()) };
    let Some(found) = shape.columns(table.name) else {
        return Err(unsupported(shape, table, &format!("{} is a {}, not a table", table.name, object.kind)));
    };
    let base = table.columns.iter().filter(|column| column.since == table.since);
    let missing: Vec<_> = base.map(|column| column.name).filter(|name| !shape.has_column(table.name, name)).collect();
    let foreign = found.iter().filter(|column| !table.columns.iter().any(|known| known.name == column.name));
    if !missing.is_empty() {
        let foreign: Vec<_> = foreign.map(|column| column.name.as_str()).collect();
        let instead =
            if foreign.is_empty() { String::new() } else { format!("; it has {} instead", foreign.join(", ")) };
        let what = format!("{} has no column {}{instead}", table.name, missing.join(", "));
        return Err(unsupported(shape, table, &what));
    }
    // A row of ours could never be stored there.
    let demanded =
        foreign.filter(|column| column.not_null && column.default.is_none()).map(|column| column.name.as_str());
    match demanded.collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        names => {
            let what = format!("{} asks for a value in {}, which is not known here", table.name, names.join(", "));
            Err(unsupported(shape, table, &what))
        }
    }
}

fn unsupported(shape: &Shape, table: &Table, what: &str) -> Error {
    let version = shape.recorded.last().copied();
    let recorded = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    Error::new(
        Code::SchemaUnsupported,
        format!(
            "made by a version of claude-mem that this engine does not know: {what} (newest schema version recorded: \
             {recorded}; supported: the tables of 6.0.2 to 7.4.5); the file was left as it is: update \
             claude-mem-native, or choose another data directory (dataDir or CLAUDE_MEM_DATA_DIR)"
        ),
    )
    .with("table", table.name)
    .with("schemaVersion", version.unwrap_or(0))
}
