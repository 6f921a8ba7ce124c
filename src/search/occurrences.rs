//! An FTS5 function of our own: the rows that have the phrase of the expression, and how often each has it.
//!
//! FTS5's `bm25()` reads the length of every row that it scores from the disk's pages, one look-up each, and walks
//! through every phrase's rows a second time beforehand to count them: two thirds of a search's time. With the bare
//! counts the same sum is made here, from one walk. All rows are one answer, as FTS5 goes to the next seven times as quickly
//! as SQL does that asks for it (0.07 µs a row against some 0.5).

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

use rusqlite::{Connection, ffi};

use crate::error::{Error, Result};

const NAME: &CStr = c"occurrences";

/// A row of the answer: which, and how often it has the phrase.
type Pair = [i64; 2];

/// Makes `occurrences(table)` known to a connection: of the first phrase of the expression, whichever row it is asked in.
/// [`pairs`] reads it.
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

/// What an answer of the function says: rows in ascending order, and how often each has the phrase.
pub(super) fn pairs(answer: &[u8]) -> impl Iterator<Item = (i64, i64)> {
    let number = |bytes: &[u8; 8]| i64::from_ne_bytes(*bytes);
    let (numbers, _) = answer.as_chunks::<8>();
    let (pairs, _) = numbers.as_chunks::<2>();
    pairs.iter().map(move |[row, count]| (number(row), number(count)))
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
    let mut found: Vec<Pair> = Vec::new();
    // SAFETY: see above.
    let Some(query) = (unsafe { (*api).xQueryPhrase }) else {
        // SAFETY: see above.
        return unsafe { ffi::sqlite3_result_error_code(answer, ffi::SQLITE_INTERNAL) };
    };
    // SAFETY: see above; an expression has a phrase. `each` is called within this call alone, while nobody else looks at
    // `found`.
    let status = unsafe { query(row, 0, (&raw mut found).cast::<c_void>(), Some(each)) };
    if status != ffi::SQLITE_OK {
        // SAFETY: see above.
        return unsafe { ffi::sqlite3_result_error_code(answer, status) };
    }
    // SAFETY: see above; so many bytes belong to `found`, which has no gaps, and SQLite copies them.
    unsafe {
        let bytes = size_of_val(found.as_slice()) as u64;
        ffi::sqlite3_result_blob64(answer, found.as_ptr().cast(), bytes, ffi::SQLITE_TRANSIENT());
    }
}

/// # Safety
/// Called by FTS5 alone, with pointers that are valid during the call, and what [`occurrences`] gave it.
unsafe extern "C" fn each(api: *const ffi::Fts5ExtensionApi, row: *mut ffi::Fts5Context, found: *mut c_void) -> c_int {
    // SAFETY: see above; nobody else looks at it during the call.
    let found = unsafe { &mut *found.cast::<Vec<Pair>>() };
    // SAFETY: see above.
    let (Some(id), Some(first), Some(next)) = (unsafe { ((*api).xRowid, (*api).xPhraseFirst, (*api).xPhraseNext) })
    else {
        return ffi::SQLITE_INTERNAL;
    };
    let mut position = ffi::Fts5PhraseIter { a: ptr::null(), b: ptr::null() };
    let (mut column, mut offset) = (-1, -1);
    // SAFETY: see above; the row's expression is that phrase alone, and the position is used for nothing else.
    let status = unsafe { first(row, 0, &raw mut position, &raw mut column, &raw mut offset) };
    if status != ffi::SQLITE_OK {
        return status;
    }
    let mut count = 0;
    while column >= 0 {
        count += 1;
        // SAFETY: as the call before, which has set the position.
        unsafe { next(row, &raw mut position, &raw mut column, &raw mut offset) };
    }
    if found.try_reserve(1).is_err() {
        return ffi::SQLITE_NOMEM;
    }
    // SAFETY: see above.
    found.push([unsafe { id(row) }, count]);
    ffi::SQLITE_OK
}
