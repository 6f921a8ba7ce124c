//! An FTS5 function of our own: how often the phrase of the expression occurs in a row.
//!
//! FTS5's `bm25()` reads the length of every row that it scores from the disk's pages, one look-up each, and walks
//! through every phrase's rows a second time beforehand to count them: two thirds of a search's time. With the bare
//! counts the same sum is made here, from one walk.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

use rusqlite::{Connection, ffi};

use crate::error::{Error, Result};

const NAME: &CStr = c"occurrences";

/// Makes `occurrences(table)` known to a connection: a number, of the first phrase of the expression.
///
/// # Errors
/// `ERR_INTERNAL` where this SQLite has no FTS5.
pub(super) fn register(db: &Connection) -> Result<()> {
    let api = fts5(db)?;
    // SAFETY: SQLite has just given `api` away for this connection, and it lives as long as that.
    let create = unsafe { (*api).xCreateFunction };
    let create = create.ok_or_else(|| Error::internal("this SQLite's FTS5 takes no functions"))?;
    // SAFETY: as above; the name is static, the function needs no data, and nothing is to be destroyed.
    let status = unsafe { create(api, NAME.as_ptr(), ptr::null_mut(), Some(occurrences), None) };
    if status == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(Error::internal(format!("FTS5 did not take a function: SQLite's error {status}")))
    }
}

/// The interface of a connection's FTS5, asked for as its documentation says.
fn fts5(db: &Connection) -> Result<*mut ffi::fts5_api> {
    let missing = || Error::internal("this SQLite has no FTS5");
    let mut api: *mut ffi::fts5_api = ptr::null_mut();
    let mut statement = ptr::null_mut();
    const SQL: &CStr = c"SELECT fts5(?1)";
    const TYPE: &CStr = c"fts5_api_ptr";
    // SAFETY: the handle is that of `db`, which outlives this call; the statement is finalized below, before the
    // variable that it writes to goes; names are static.
    unsafe {
        let handle = db.handle();
        if ffi::sqlite3_prepare_v2(handle, SQL.as_ptr(), -1, &raw mut statement, ptr::null_mut()) != ffi::SQLITE_OK {
            return Err(missing());
        }
        ffi::sqlite3_bind_pointer(statement, 1, (&raw mut api).cast::<c_void>(), TYPE.as_ptr().cast::<c_char>(), None);
        ffi::sqlite3_step(statement);
        ffi::sqlite3_finalize(statement);
    }
    if api.is_null() { Err(missing()) } else { Ok(api) }
}

/// # Safety
/// Called by FTS5 alone, with pointers that are valid during the call.
unsafe extern "C" fn occurrences(
    api: *const ffi::Fts5ExtensionApi,
    row: *mut ffi::Fts5Context,
    answer: *mut ffi::sqlite3_context,
    _: c_int,
    _: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: see above.
    let (Some(first), Some(next)) = (unsafe { ((*api).xPhraseFirst, (*api).xPhraseNext) }) else {
        // SAFETY: see above.
        return unsafe { ffi::sqlite3_result_error_code(answer, ffi::SQLITE_INTERNAL) };
    };
    let mut position = ffi::Fts5PhraseIter { a: ptr::null(), b: ptr::null() };
    let (mut column, mut offset) = (-1, -1);
    // SAFETY: see above; an expression has a phrase, and the position is used for nothing else.
    let status = unsafe { first(row, 0, &raw mut position, &raw mut column, &raw mut offset) };
    if status != ffi::SQLITE_OK {
        // SAFETY: see above.
        return unsafe { ffi::sqlite3_result_error_code(answer, status) };
    }
    let mut found = 0;
    while column >= 0 {
        found += 1;
        // SAFETY: as the call before, which has set the position.
        unsafe { next(row, &raw mut position, &raw mut column, &raw mut offset) };
    }
    // SAFETY: see above.
    unsafe { ffi::sqlite3_result_int64(answer, found) };
}
