//! The schema of `claude-mem.db`: claude-mem's own tables as 6.0.2 makes them, and ours beside them.
//!
//! What a file needs is decided by looking at its schema, never by its ledger alone: users have files where a
//! step is recorded and its column is missing. A file that we do not know is refused before it is opened.

mod inspection;
mod native;
mod precopy;
mod rebuild;
pub mod report;
pub mod shape;
mod steps;
mod support;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod text_index;
mod wal;

use std::{fs, path::Path, time::Duration};

use rusqlite::Connection;

use self::shape::Shape;
use crate::{
    db::{
        Database,
        connection::{naming, open_writer_waiting},
        in_process::{self, Held},
    },
    error::{Code, Error, Result},
};

/// Whether the database at `path` is one that this engine can work on. Writes nothing: neither the file nor
/// anything beside it is changed or left behind, whatever the answer. A missing or empty file is fine.
///
/// Call it before anything is created in the data directory; [`prepare`] asks again. Where this process holds the
/// database ([`in_process`]) SQLite looks at it, else descriptors of our own do.
///
/// # Errors
/// `ERR_SCHEMA_UNSUPPORTED`, `ERR_CORRUPT`, `ERR_IO`; `ERR_BUSY` where others rewrote the file for seconds on
/// end. The message names the file and the remedy.
pub fn check(path: &Path) -> Result<()> {
    check_and_hold(path).map(drop)
}

/// As [`check`], and holds the database from that look on, so that no later one of this process ends the locks of
/// a connection that is opened next.
///
/// # Errors
/// Those of [`check`].
pub fn check_and_hold(path: &Path) -> Result<Held> {
    naming(path, || {
        let (shape, held) = look_and_hold(path)?;
        shape.map_or(Ok(()), |shape| support::check(&shape))?;
        Ok(held)
    })
}

/// As [`check_and_hold`], for somebody who changes no schema: the file must have 6.0.2's already. A missing or
/// empty file is fine.
///
/// # Errors
/// Those of [`check`]; `ERR_SCHEMA_UNSUPPORTED` also where a step of 6.0.2 is missing.
pub fn check_as_client(path: &Path) -> Result<Held> {
    naming(path, || {
        let (shape, held) = look_and_hold(path)?;
        shape.map_or(Ok(()), |shape| is_current(&shape))?;
        Ok(held)
    })
}

/// Whether an open database has the schema that a client works on; false where it has no tables at all.
///
/// # Errors
/// Those of [`check_as_client`].
pub fn suits_client(db: &Connection) -> Result<bool> {
    let shape = Shape::read(db)?;
    is_current(&shape)?;
    Ok(!shape.is_blank())
}

/// An empty database of this schema in memory.
///
/// # Errors
/// What SQLite answers.
pub fn stand_in() -> Result<Database> {
    let db = Connection::open_in_memory()?;
    steps::run(&db, Path::new(""))?;
    Ok(db.into())
}

fn look_and_hold(path: &Path) -> Result<(Option<Shape>, Held)> {
    let (shape, held) = in_process::look_and_hold(path, |held| match held {
        true => inspection::look_at_held(path),
        false => inspection::look(path),
    });
    Ok((shape?, held))
}

fn is_current(shape: &Shape) -> Result<()> {
    support::check(shape)?;
    match steps::first_lacking(shape)? {
        Some(step) if !shape.is_blank() => Err(Error::new(
            Code::SchemaUnsupported,
            format!(
                "the schema is older than claude-mem 6.0.2's (step {step} is missing) and a client changes none; open \
                 the directory once as its owner (start the worker, or openMemory without role), which brings it up \
                 to date"
            ),
        )
        .with("missingStep", step)),
        _ => Ok(()),
    }
}

/// Opens the database at `path` for writing, with the schema of claude-mem 6.0.2 and our own tables.
///
/// A missing file is created, and its directory too; an older one is brought up step by step, each in a
/// transaction of its own, so that a process that dies in between leaves a file that the next open completes.
/// Before the first step that changes one of claude-mem's tables a copy is made beside the file
/// (`claude-mem.db.pre-native`, once). The caller holds the owner lock. Each lock that a hook holds is waited
/// for during `wait`, which stays the connection's busy timeout. Blocks: not for the JS thread.
///
/// # Errors
/// Those of [`check`]; `ERR_BUSY` where a lock was not free in time, `ERR_DISK_FULL` where there is no room
/// for the copy (nothing is changed then), `ERR_IO` where the file or its directory cannot be written.
pub fn prepare(path: &Path, wait: Duration) -> Result<Database> {
    check(path)?;
    if let Some(directory) = path.parent() {
        naming(directory, || Ok(fs::create_dir_all(directory)?))?;
    }
    let db = open_writer_waiting(path, "", wait)?;
    naming(path, || {
        if db.is_readonly("main")? {
            return Err(Error::new(Code::ReadOnly, "the file is read-only; make it writable for this user"));
        }
        // Tables that are rebuilt are dropped in between: nobody's rows may go with them, and what refers to
        // them must not be rewritten.
        db.execute_batch("PRAGMA foreign_keys=OFF; PRAGMA legacy_alter_table=ON")?;
        steps::run(&db, path)?;
        db.execute_batch("PRAGMA legacy_alter_table=OFF; PRAGMA foreign_keys=ON")?;
        Ok(())
    })?;
    Ok(db)
}
