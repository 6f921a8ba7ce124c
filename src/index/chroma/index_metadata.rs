//! `index_metadata.pickle`: which label of the index belongs to which id.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufReader, Read},
    sync::Arc,
};

use super::{
    corrupt,
    pickle::{self, Dict, Value},
    snapshot::Copied,
};
use crate::{
    db::connection::naming,
    error::{Error, Result},
};

/// What the file says, checked against itself.
#[derive(Debug)]
pub(super) struct IndexMetadata {
    /// Label by id; no two share one.
    pub labels: HashMap<Arc<str>, u64>,
    /// How much of the log the index includes, where the file says so (0.x).
    pub max_seq_id: Option<i64>,
}

impl IndexMetadata {
    /// Reads the file of an index of `dimension`.
    ///
    /// # Errors
    /// `ERR_CORRUPT` with the byte where it could not be read on, or with the entry that disagrees; `ERR_IO`.
    pub fn read(file: &Copied, dimension: usize) -> Result<Self> {
        let input = naming(&file.original, || Ok(BufReader::new(File::open(&file.copy)?)))?;
        Self::decode(file, input, dimension)
    }

    fn decode(file: &Copied, input: impl Read, dimension: usize) -> Result<Self> {
        let mut dict = pickle::decode(input, file.bytes)
            .map_err(|fault| corrupt(&file.original, format_args!("byte {}", fault.at), fault.what))?;
        match dict.take("dimensionality") {
            Some(Value::Integer(found)) if usize::try_from(found) != Ok(dimension) => {
                let what = format!("{found}; the collection has {dimension}");
                return Err(corrupt(&file.original, "dimensionality", what));
            }
            _ => {}
        }
        let max_seq_id = match dict.take("max_seq_id") {
            Some(Value::Integer(seq)) if seq >= 0 => Some(seq),
            _ => None,
        };
        let ids = match dict.take("id_to_label") {
            Some(Value::Dict(Dict::Integers(ids))) => ids,
            Some(Value::Dict(Dict::Empty)) => Vec::new(),
            _ => return Err(corrupt(&file.original, "id_to_label", "missing or of another type")),
        };
        let labels = match dict.take("label_to_id") {
            Some(Value::Dict(Dict::Texts(labels))) => labels,
            Some(Value::Dict(Dict::Empty)) => Vec::new(),
            _ => return Err(corrupt(&file.original, "label_to_id", "missing or of another type")),
        };
        Ok(Self { labels: join(file, ids, &labels)?, max_seq_id })
    }
}

/// The two dictionaries say the same thing twice, so a damaged id or label cannot pass.
fn join(file: &Copied, ids: Vec<(Arc<str>, i64)>, labels: &[(i64, Arc<str>)]) -> Result<HashMap<Arc<str>, u64>> {
    let disagree = |what: String| -> Error { corrupt(&file.original, "id_to_label and label_to_id", what) };
    if ids.len() != labels.len() {
        return Err(disagree(format!("{} ids and {} labels", ids.len(), labels.len())));
    }
    let mut by_id = HashMap::with_capacity(ids.len());
    for (id, label) in ids {
        let Ok(label) = u64::try_from(label) else { return Err(disagree(format!("label {label}"))) };
        if by_id.insert(id, label).is_some() {
            return Err(disagree(format!("an id stands twice, with label {label}")));
        }
    }
    let mut met = HashSet::with_capacity(labels.len());
    for (label, id) in labels {
        if by_id.get(id).copied() != u64::try_from(*label).ok() || !met.insert(label) {
            return Err(disagree(format!("they disagree on label {label}")));
        }
    }
    Ok(by_id)
}
