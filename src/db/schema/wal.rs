//! Reading the write-ahead log as far as it takes to tell whether it changes the schema.
//!
//! Every transaction that changes a schema also changes the schema cookie, four bytes of page 1. As long as all
//! versions of page 1 in the log carry the cookie of the database file, the schema in the file is the schema.
//! Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};

/// Bytes of the log's header, and of each frame's.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Where the schema cookie stands in page 1.
const COOKIE: std::ops::Range<usize> = 40..44;

/// What tells one run of the log from the next: it gets new salts whenever it starts over.
pub type Header = [u8; HEADER];

/// The header of the log at `path`; none where there is no log, or an empty one.
///
/// # Errors
/// What the operating system answers.
pub fn header(path: &Path) -> io::Result<Option<Header>> {
    let mut header = [0; HEADER];
    read_start(path, &mut header).map(|whole| whole.then_some(header))
}

/// The schema cookie in the database file at `path`; none where it does not start as a database does.
///
/// # Errors
/// What the operating system answers.
pub fn cookie_of_database(path: &Path) -> io::Result<Option<[u8; 4]>> {
    let mut page = [0; COOKIE.end];
    let whole = read_start(path, &mut page)?;
    Ok((whole && page.starts_with(b"SQLite format 3\0")).then(|| cookie(&page)))
}

/// Whether every version of page 1 in the log at `path` has this cookie. Frames count whether or not they were
/// committed: a wrong `false` costs a copy, a wrong `true` would be a wrong answer.
///
/// # Errors
/// What the operating system answers.
pub fn keeps_schema(path: &Path, expected: [u8; 4]) -> io::Result<bool> {
    // A page header's worth of look-ahead; frames are skipped by seeking.
    let mut log = BufReader::with_capacity(FRAME_HEADER + COOKIE.end, File::open(path)?);
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(true);
    }
    let page_size = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if !(512..=65_536).contains(&page_size) {
        // Whether such a log counts is for SQLite to say.
        return Ok(false);
    }
    let salts = &header[16..24];
    let mut frame = [0; FRAME_HEADER];
    // The first frame with other salts is a leftover of an earlier run, and so is all that follows.
    while fill(&mut log, &mut frame)? && &frame[8..16] == salts {
        let mut rest = i64::from(page_size);
        if frame[..4] == 1u32.to_be_bytes() {
            let mut page = [0; COOKIE.end];
            if fill(&mut log, &mut page)? && cookie(&page) != expected {
                return Ok(false);
            }
            rest -= COOKIE.end as i64;
        }
        log.seek_relative(rest)?;
    }
    Ok(true)
}

fn cookie(page: &[u8; COOKIE.end]) -> [u8; 4] {
    let mut cookie = [0; 4];
    cookie.copy_from_slice(&page[COOKIE]);
    cookie
}

fn read_start(path: &Path, buffer: &mut [u8]) -> io::Result<bool> {
    match File::open(path) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(0))?;
            fill(&mut file, buffer)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Fills `buffer`; false where the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
