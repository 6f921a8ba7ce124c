//! The log, `embeddings_queue`: what was written since the index was last flushed.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, types::ValueRef};

use super::{
    catalog::{self, refused},
    corrupt,
    hnsw::Rows,
    index_metadata::IndexMetadata,
    limits,
    places::{Places, Source},
    report::{LeftOut, Report},
    vector,
};
use crate::error::Result;

const ADD: i64 = 0;
const UPDATE: i64 = 1;
const UPSERT: i64 = 2;
const DELETE: i64 = 3;

/// The table's name, as the place of an error.
const QUEUE: &str = "embeddings_queue";

/// The places of what the index holds; it includes the log up to `upto`.
pub(super) fn of_index(
    file: &Path,
    rows: &Rows,
    metadata: &IndexMetadata,
    upto: i64,
    report: &mut Report,
) -> Result<Places> {
    let mut places = Places::default();
    let mut live = 0;
    for (id, label) in &metadata.labels {
        let source = match rows.find(*label) {
            Ok(row) => {
                live += 1;
                Source::Row(row)
            }
            Err(reason) => Source::Nowhere(reason),
        };
        places.set(file, id, source, upto)?;
    }
    report.index_rows = rows.len();
    report.index_rows_deleted = rows.deleted();
    report.index_rows_without_id = rows.live().saturating_sub(live);
    Ok(places)
}

/// Replays the collection's entries after `start`, in their order, on `places`.
///
/// # Errors
/// `ERR_CORRUPT` where the table cannot be read or has too many ids; `ERR_IO`.
pub(super) fn replay(
    db: &Connection,
    path: &Path,
    collection: &str,
    dimension: usize,
    start: i64,
    places: &mut Places,
    report: &mut Report,
) -> Result<()> {
    // Topics end with the collection's id, which is a UUID; what stands before it is the tenant's business.
    let sql = "SELECT seq_id, operation, id, encoding, octet_length(vector) FROM embeddings_queue
               WHERE seq_id > ?1 AND substr(topic, -37) = '/' || ?2 ORDER BY seq_id";
    let mut statement = db.prepare(sql).map_err(|error| refused(path, QUEUE, error))?;
    let mut rows = statement.query((start, collection)).map_err(|error| refused(path, QUEUE, error))?;
    while let Some(row) = rows.next().map_err(|error| refused(path, QUEUE, error))? {
        let get = |column| row.get_ref(column).map_err(|error| refused(path, QUEUE, error));
        let Some(seq) = catalog::sequence(get(0)?) else {
            return Err(corrupt(path, QUEUE, "a seq_id that is not a number"));
        };
        report.log_entries += 1;
        let Some(id) = catalog::text(get(2)?).filter(|id| !id.is_empty() && id.len() <= limits::ID_BYTES) else {
            report.count(LeftOut::InvalidId, &format!("{QUEUE} {seq}"));
            continue;
        };
        let known = places.get(id).is_some();
        let operation = match get(1)? {
            ValueRef::Integer(operation) => operation,
            _ => -1,
        };
        match operation {
            DELETE => report.log_deletes += u64::from(places.remove(id)),
            ADD if known => {}
            UPDATE if !known => {}
            ADD | UPDATE | UPSERT => {
                let source = match (get(3)?, get(4)?) {
                    (_, ValueRef::Null) if operation == UPSERT && !known => continue,
                    (_, ValueRef::Null) if operation == ADD => continue,
                    // Only the metadata was updated, and the vector stays.
                    (_, ValueRef::Null) => {
                        if let Some(place) = places.get_mut(id) {
                            place.upto = place.upto.max(seq);
                        }
                        continue;
                    }
                    (ValueRef::Text(b"FLOAT32"), ValueRef::Integer(bytes)) => {
                        if usize::try_from(bytes) == Ok(4 * dimension) {
                            Source::Log(seq)
                        } else {
                            Source::Nowhere(LeftOut::WrongDimension)
                        }
                    }
                    _ => Source::Nowhere(LeftOut::UnknownEncoding),
                };
                places.set(path, &Arc::from(id), source, seq)?;
            }
            _ => places.set(path, &Arc::from(id), Source::Nowhere(LeftOut::UnknownEncoding), seq)?,
        }
    }
    Ok(())
}

/// The vector of an entry that [`replay`] has found good.
pub(super) fn vector(db: &Connection, path: &Path, seq: i64) -> Result<Vec<f32>> {
    let read = || {
        db.prepare_cached("SELECT vector FROM embeddings_queue WHERE seq_id = ?1")?.query_row([seq], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Blob(bytes) => Some(vector::decode(bytes)),
                _ => None,
            })
        })
    };
    read()
        .map_err(|error| refused(path, QUEUE, error))?
        .ok_or_else(|| corrupt(path, format_args!("{QUEUE} {seq}"), "the vector is not a blob"))
}
