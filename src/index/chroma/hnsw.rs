//! The rows of an HNSW index as hnswlib saves it: `header.bin` and `data_level0.bin`.
//!
//! A row is its level-0 links (u16 count, u8 flags, u8 zero, a u32 row number each), its vector and its label.
//! Every size in the header follows from the dimension and `M`, so each is compared with what it must be; the
//! capacity is not looked at, as it has been seen to be wrong.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use super::{corrupt, limits, report::LeftOut, snapshot::Copied, vector};
use crate::{db::connection::naming, error::Result};

/// Of `header.bin`.
pub(super) const HEADER_BYTES: u64 = 100;
/// Flag of a row that was deleted.
const DELETED: u8 = 1;
/// More levels than a graph of 2^64 rows would have.
const MAX_LEVEL: i32 = 64;
/// The label is a u64.
const LABEL_BYTES: u64 = 8;

/// What `header.bin` says, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    rows: u32,
    stride: usize,
    vector: usize,
    label: usize,
}

/// The rows, of which only the labels are in memory.
#[derive(Debug)]
pub(super) struct Rows {
    file: File,
    name: Copied,
    header: Header,
    by_label: HashMap<u64, Row>,
    deleted: u64,
}

/// What bears a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Live(u32),
    Faulty(LeftOut),
}

impl Rows {
    /// Reads header and labels.
    ///
    /// # Errors
    /// `ERR_CORRUPT` where the two files do not fit each other or the dimension; `ERR_IO`.
    pub fn open(header: &Copied, rows: &Copied, dimension: usize) -> Result<Self> {
        let mut bytes = Vec::new();
        naming(&header.original, || Ok(File::open(&header.copy)?.take(HEADER_BYTES + 1).read_to_end(&mut bytes)?))?;
        let parsed = Header::parse(&bytes, dimension).map_err(|(at, what)| corrupt(&header.original, at, what))?;
        // The file may be longer, as some writers reserve room.
        let needed = u64::from(parsed.rows) * parsed.stride as u64;
        if rows.bytes < needed {
            let what = format!("{} rows of {} bytes do not fit into {} bytes", parsed.rows, parsed.stride, rows.bytes);
            return Err(corrupt(&rows.original, format_args!("byte {}", rows.bytes), what));
        }
        let file = naming(&rows.original, || Ok(File::open(&rows.copy)?))?;
        let mut opened = Self { file, name: rows.clone(), header: parsed, by_label: HashMap::new(), deleted: 0 };
        naming(&rows.original, || opened.read_labels())?;
        Ok(opened)
    }

    fn read_labels(&mut self) -> Result<()> {
        let Header { rows, stride, vector, label } = self.header;
        self.by_label.reserve(rows as usize);
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut bytes = vec![0; stride];
        for row in 0..rows {
            reader.read_exact(&mut bytes)?;
            let [count_low, count_high, flags, zero] = word(&bytes, 0);
            let links = usize::from(u16::from_le_bytes([count_low, count_high]));
            let room = (vector - 4) / 4;
            let sound = links <= room
                && flags & !DELETED == 0
                && zero == 0
                && (1..=links).all(|link| {
                    let neighbour = u32::from_le_bytes(word(&bytes, link * 4));
                    neighbour < rows && neighbour != row
                });
            let deleted = flags & DELETED != 0;
            self.deleted += u64::from(deleted);
            let found = match (sound, deleted) {
                (false, _) => Row::Faulty(LeftOut::RowDamaged),
                (true, true) => Row::Faulty(LeftOut::RowDeleted),
                (true, false) => Row::Live(row),
            };
            match self.by_label.entry(u64_at(&bytes, label)) {
                Entry::Vacant(free) => {
                    free.insert(found);
                }
                Entry::Occupied(mut other) => {
                    other.insert(Row::Faulty(LeftOut::LabelAmbiguous));
                }
            }
        }
        Ok(())
    }

    /// The row that bears `label`, or why there is none to be used.
    pub fn find(&self, label: u64) -> std::result::Result<u32, LeftOut> {
        match self.by_label.get(&label) {
            Some(Row::Live(row)) => Ok(*row),
            Some(Row::Faulty(reason)) => Err(*reason),
            None => Err(LeftOut::RowMissing),
        }
    }

    /// Rows that are alive and sound.
    pub fn live(&self) -> u64 {
        self.by_label.values().filter(|row| matches!(row, Row::Live(_))).count() as u64
    }

    /// Rows in all.
    pub const fn len(&self) -> u64 {
        self.header.rows as u64
    }

    /// Rows flagged as deleted.
    pub const fn deleted(&self) -> u64 {
        self.deleted
    }

    /// The vector of a row that [`Self::find`] gave.
    ///
    /// # Errors
    /// `ERR_IO`.
    pub fn vector(&self, row: u32) -> Result<Vec<f32>> {
        let Header { stride, vector: start, label: end, .. } = self.header;
        let mut bytes = vec![0; end - start];
        naming(&self.name.original, || {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(u64::from(row) * stride as u64 + start as u64))?;
            Ok(file.read_exact(&mut bytes)?)
        })?;
        Ok(vector::decode(&bytes))
    }
}

impl Header {
    /// The fields, or which one is wrong and how.
    fn parse(bytes: &[u8], dimension: usize) -> std::result::Result<Self, (&'static str, String)> {
        if bytes.len() as u64 != HEADER_BYTES {
            return Err(("its end", format!("{HEADER_BYTES} bytes were expected")));
        }
        let i32_at = |at| i32::from_le_bytes(word(bytes, at));
        let must = |place: &'static str, found: u64, expected: u64| {
            if found == expected { Ok(()) } else { Err((place, format!("{found}; {expected} was expected"))) }
        };
        if i32_at(0) != 1 {
            return Err(("byte 0 (version)", format!("{}; only version 1 is known", i32_at(0))));
        }
        must("byte 4 (offset of level 0)", u64_at(bytes, 4), 0)?;
        let rows = u64_at(bytes, 20);
        if rows > limits::DOCUMENTS as u64 {
            return Err(("byte 20 (rows)", format!("{rows}; the limit is {}", limits::DOCUMENTS)));
        }
        let m = u64_at(bytes, 76);
        if !(1..=10_000).contains(&m) {
            return Err(("byte 76 (M)", format!("{m}; 1 to 10,000 was expected")));
        }
        must("byte 60 (links above level 0)", u64_at(bytes, 60), m)?;
        must("byte 68 (links at level 0)", u64_at(bytes, 68), 2 * m)?;
        // Small numbers, all of them: nothing here overflows.
        let vector = 4 + 4 * 2 * m;
        let label = vector + 4 * dimension as u64;
        let stride = label + LABEL_BYTES;
        must("byte 44 (offset of the vector)", u64_at(bytes, 44), vector)?;
        must("byte 36 (offset of the label)", u64_at(bytes, 36), label)?;
        must("byte 28 (bytes a row)", u64_at(bytes, 28), stride)?;
        let mult = f64::from_bits(u64_at(bytes, 84));
        // Written so that NaN is wrong as well.
        let follows = (mult * (m as f64).ln() - 1.0).abs() < 1e-6;
        if m > 1 && !follows {
            return Err(("byte 84 (mult)", format!("{mult} does not follow from M = {m}")));
        }
        let level = i32_at(52);
        let entry = u32::from_le_bytes(word(bytes, 56));
        if !(-1..=MAX_LEVEL).contains(&level) || (rows > 0) != (level >= 0) {
            return Err(("byte 52 (highest level)", format!("{level} with {rows} rows")));
        }
        if rows > 0 && u64::from(entry) >= rows {
            return Err(("byte 56 (entry point)", format!("row {entry} of {rows}")));
        }
        let small = |number: u64| usize::try_from(number).map_err(|_| ("its sizes", "too large".to_owned()));
        Ok(Self { rows: rows as u32, stride: small(stride)?, vector: small(vector)?, label: small(label)? })
    }
}

/// Four bytes; zeros beyond the end, which callers have excluded.
fn word(bytes: &[u8], at: usize) -> [u8; 4] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u64::from_le_bytes)
}
