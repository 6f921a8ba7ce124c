//! Bounds on everything that a directory may claim. A real one of claude-mem stays far below each.

/// Of `chroma.sqlite3`, and of its rollback journal or log, bytes.
pub(super) const DATABASE_BYTES: u64 = 16 << 30;
/// Of `data_level0.bin`, bytes.
pub(super) const ROWS_BYTES: u64 = 16 << 30;
/// Of `index_metadata.pickle`, bytes.
pub(super) const PICKLE_BYTES: u64 = 256 << 20;
/// Documents of one collection. Ids and places are held in memory, some 150 bytes each.
pub(super) const DOCUMENTS: usize = 2_000_000;
/// Components of a vector.
pub(super) const DIMENSION: usize = 65_536;
/// Of a document's id, and of a metadata key, bytes.
pub(super) const ID_BYTES: usize = 1_024;
/// Of a document's text, bytes.
pub(super) const TEXT_BYTES: i64 = 16 << 20;
/// Of all metadata of a document without its text, bytes.
pub(super) const METADATA_BYTES: usize = 1 << 20;
/// Metadata keys of a document.
pub(super) const METADATA_KEYS: usize = 256;
/// Collections of a directory.
pub(super) const COLLECTIONS: usize = 10_000;
/// Of one value that SQLite reads, bytes: the largest text, or a vector of the largest dimension, and a margin.
pub(super) const VALUE_BYTES: i32 = (TEXT_BYTES + (1 << 20)) as i32;
