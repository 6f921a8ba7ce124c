//! What was not handed out, and why.

/// Why a document was left out. None of these is an error: such a document is embedded again by whoever needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum LeftOut {
    /// It stands in `embeddings`, but neither the index nor the log has a vector for it.
    NoVector,
    /// The index or the log has a vector for the id, but `embeddings` has no such document.
    NotInEmbeddings,
    /// The pickle names a label that no row of the index bears.
    RowMissing,
    /// The row that the pickle names is flagged as deleted.
    RowDeleted,
    /// The row's links or flags are impossible, so its vector cannot be trusted either.
    RowDamaged,
    /// Several rows bear the label.
    LabelAmbiguous,
    /// The vector in the log has not the collection's dimension.
    WrongDimension,
    /// The vector in the log is not of `FLOAT32`, or its entry is of no known operation.
    UnknownEncoding,
    /// A component is NaN or infinite.
    NotFinite,
    /// All components are zero.
    Zero,
    /// Not of length 1, as all vectors of the model are: a damaged one, or another model's.
    NotUnitLength,
    /// Text and vector are of different moments: one of them was updated without the other.
    OutOfStep,
    /// The id is not text, not UTF-8, empty, or longer than 1,024 bytes.
    InvalidId,
    /// The id was met before.
    DuplicateId,
    /// The text has over 16 MiB, or the metadata over 256 keys or 1 MiB.
    TooLarge,
    /// Text or metadata is not UTF-8, or of a wrong type.
    DamagedText,
}

impl LeftOut {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 16] = [
        Self::NoVector,
        Self::NotInEmbeddings,
        Self::RowMissing,
        Self::RowDeleted,
        Self::RowDamaged,
        Self::LabelAmbiguous,
        Self::WrongDimension,
        Self::UnknownEncoding,
        Self::NotFinite,
        Self::Zero,
        Self::NotUnitLength,
        Self::OutOfStep,
        Self::InvalidId,
        Self::DuplicateId,
        Self::TooLarge,
        Self::DamagedText,
    ];

    /// The reason in a few words, for a report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoVector => "no vector",
            Self::NotInEmbeddings => "vector without a document",
            Self::RowMissing => "row missing from the index",
            Self::RowDeleted => "row deleted from the index",
            Self::RowDamaged => "row damaged",
            Self::LabelAmbiguous => "label borne by several rows",
            Self::WrongDimension => "wrong dimension",
            Self::UnknownEncoding => "unknown encoding or operation",
            Self::NotFinite => "not finite",
            Self::Zero => "zero vector",
            Self::NotUnitLength => "not of unit length",
            Self::OutOfStep => "text and vector of different moments",
            Self::InvalidId => "invalid id",
            Self::DuplicateId => "duplicate id",
            Self::TooLarge => "text or metadata too large",
            Self::DamagedText => "text or metadata damaged",
        }
    }
}

/// Ids kept as examples for each reason.
const EXAMPLES: usize = 5;

/// What was read and what was left out. Complete once the documents have been iterated to their end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Documents handed out.
    pub documents: u64,
    /// Rows in the HNSW files, deleted ones included.
    pub index_rows: u64,
    /// Rows that are flagged as deleted.
    pub index_rows_deleted: u64,
    /// Rows that are alive but have no id: flushed just before a crash, and in the log as well.
    pub index_rows_without_id: u64,
    /// Entries of the log that were replayed.
    pub log_entries: u64,
    /// Documents that the replayed entries deleted.
    pub log_deletes: u64,
    counts: [u64; LeftOut::ALL.len()],
    examples: [Vec<String>; LeftOut::ALL.len()],
}

impl Report {
    /// Documents left out for `reason`.
    #[must_use]
    pub const fn left_out(&self, reason: LeftOut) -> u64 {
        self.counts[reason as usize]
    }

    /// Documents left out, whatever the reason.
    #[must_use]
    pub fn left_out_in_all(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first five ids left out for `reason`.
    #[must_use]
    pub fn examples(&self, reason: LeftOut) -> &[String] {
        &self.examples[reason as usize]
    }

    pub(super) fn count(&mut self, reason: LeftOut, id: &str) {
        self.counts[reason as usize] += 1;
        let examples = &mut self.examples[reason as usize];
        if examples.len() < EXAMPLES {
            examples.push(id.to_owned());
        }
    }
}
