//! What a connection to `native/index.db` remembers between searches: kept by SQLite with the connection, gone with it,
//! and forgotten when somebody has written to the file.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CStr, c_void},
    sync::Arc,
};

use rusqlite::{Connection, ffi};

use super::{occurrences, postings::Posting, spelling::Stem};
use crate::{
    error::{Error, Result},
    index::vectors::{IdSet, key_hash::KeyMap},
};

/// Lengths of rows that are remembered at most: some 5 MB.
pub(super) const LENGTHS: usize = 200_000;

/// Rows of phrases that are remembered at most, of each text index: 2 MB.
pub(super) const POSTINGS: usize = 1 << 17;

const NAME: &CStr = c"claude-mem-native search";

/// Figures of one text index.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Rows, and words in a row on average; `None` until they are asked for.
    pub size: Option<(f64, f64)>,
    /// Words of a row.
    pub lengths: KeyMap<f64>,
    /// Rows of phrases.
    pub postings: HashMap<String, Arc<[Posting]>>,
    /// How many rows those are.
    pub remembered: usize,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    version: (i64, u64),
    /// Of `words` and of `pieces`.
    pub figures: [Figures; 2],
    /// The rows of some kinds, where nothing else is asked of them; by the kinds.
    pub groups: HashMap<u8, Arc<IdSet>>,
    /// Stems of `words` by their first letter.
    pub stems: HashMap<char, Vec<Stem>>,
}

/// Runs `work` with what `db` remembers of the file as it is. Call it within a snapshot.
///
/// # Errors
/// What `work` answers; `ERR_INTERNAL` where SQLite cannot keep anything.
pub(super) fn with<T>(db: &Connection, work: impl FnOnce(&mut Remembered) -> Result<T>) -> Result<T> {
    // What others wrote, and what this connection wrote itself.
    let version = (db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?, db.total_changes());
    let kept = kept(db)?;
    let mut kept = kept.try_borrow_mut().map_err(|_| Error::internal("a search within a search"))?;
    if kept.version != version {
        *kept = Remembered { version, ..Remembered::default() };
    }
    work(&mut kept)
}

/// What SQLite keeps for us with the connection; made when it is first needed.
fn kept(db: &Connection) -> Result<&RefCell<Remembered>> {
    // SAFETY: the handle is that of `db`; under this name there is nothing but what is put there below.
    let known = unsafe { ffi::sqlite3_get_clientdata(db.handle(), NAME.as_ptr()) };
    if !known.is_null() {
        // SAFETY: it came from `Box::into_raw` below, and lives until the connection is closed: as long as `db` at
        // least. A connection is used by one thread at a time, so nobody else has it; the `RefCell` sees to the rest.
        return Ok(unsafe { &*known.cast::<RefCell<Remembered>>() });
    }
    occurrences::register(db)?;
    let made = Box::into_raw(Box::new(RefCell::new(Remembered::default())));
    // SAFETY: as above. SQLite calls `forget` once, also where it cannot keep it.
    let status =
        unsafe { ffi::sqlite3_set_clientdata(db.handle(), NAME.as_ptr(), made.cast::<c_void>(), Some(forget)) };
    if status != ffi::SQLITE_OK {
        return Err(Error::internal(format!("SQLite could not keep what a search remembers: error {status}")));
    }
    // SAFETY: as for what was known.
    Ok(unsafe { &*made })
}

/// # Safety
/// Called by SQLite alone, with what [`kept`] gave it.
unsafe extern "C" fn forget(kept: *mut c_void) {
    // SAFETY: it came from `Box::into_raw`, and is given back once.
    drop(unsafe { Box::from_raw(kept.cast::<RefCell<Remembered>>()) });
}
