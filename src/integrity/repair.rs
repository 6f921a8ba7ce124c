//! Makes again what can be derived: full-text tables and their triggers from the rows, counters from the queue.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Action, Repaired, check};
use crate::{
    db::schema::text_index::{mend, searchable},
    error::Result,
    index::collections::{
        self,
        damage::{METADATA_DIFFERS, VECTOR_DAMAGED},
    },
    job::Control,
    memory::Memory,
    queue::{Audit, Difference},
    reply,
};

/// How long each step waits for the write lock.
const PATIENCE: Duration = Duration::from_secs(60);

/// Repairs what a check finds, one table a transaction. Each keeps everybody from writing to `claude-mem.db` while it
/// fills its full-text table, which must not be seen half filled. Touches nothing where all is well.
///
/// # Errors
/// Those of [`check::run`]; `ERR_BUSY` where the write lock was not free for a minute.
pub fn run(memory: &Memory, control: &Control<'_, ()>) -> Result<Repaired> {
    let found = check::run(memory, control)?;
    let broken: BTreeSet<&str> = found
        .findings
        .iter()
        .filter(|finding| ["missing-text-index", "text-index-differs", "trigger"].contains(&finding.kind))
        .filter_map(|finding| finding.table.as_deref())
        .collect();
    let mut actions = Vec::new();
    for table in searchable() {
        let index = table.full_text();
        if !broken.contains(index.as_str()) && !table.triggers().iter().any(|(name, _)| broken.contains(name.as_str()))
        {
            continue;
        }
        control.check()?;
        let (done, took) = reply::wait(|reply| {
            let run = move |db: &rusqlite::Connection| {
                // From here the write lock is held; the commit itself is not counted.
                let since = Instant::now();
                Ok((mend(db, table)?, since.elapsed()))
            };
            match memory.writer() {
                Ok(writer) => writer.call("repair", Instant::now() + PATIENCE, run, reply),
                Err(error) => reply.settle(Err(error)),
            }
        })?;
        let blocked_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        actions.push(Action { table: index, message: done.join("; "), blocked_ms });
    }
    let of_queue = ["queue-counters", "dead-letter-counter", "stray-leases", "stray-attempts"];
    if found.findings.iter().any(|finding| of_queue.contains(&finding.kind)) {
        actions.extend(mended(&memory.queue()?.audit(true)?.unwrap_or_default()));
    }
    if found.findings.iter().any(|finding| finding.kind == METADATA_DIFFERS) {
        let rows = reply::wait(|reply| match memory.collections_to_write() {
            Ok(collections) => collections.writer().call(
                "repair",
                Instant::now() + PATIENCE,
                collections::storage::rebuild_metadata,
                reply,
            ),
            Err(error) => reply.settle(Err(error)),
        })?;
        actions.push(Action {
            table: "metadata".to_owned(),
            message: format!("made again of the documents of collections.db: {rows} values"),
            blocked_ms: 0,
        });
    }
    if found.findings.iter().any(|finding| finding.kind == VECTOR_DAMAGED) {
        let count = reply::wait(|reply| match memory.collections_to_write() {
            Ok(collections) => collections.owe_damaged_vectors(Instant::now() + PATIENCE, reply),
            Err(error) => reply.settle(Err(error)),
        })?;
        if count > 0 {
            actions.push(Action {
                table: "vectors".to_owned(),
                message: format!("{count} damaged vectors of texts are made again"),
                blocked_ms: 0,
            });
        }
    }
    let report = if actions.is_empty() { found } else { check::run(memory, control)? };
    Ok(Repaired { blocked_ms: actions.iter().map(|action| action.blocked_ms).sum(), actions, report })
}

/// What an audit of the queue has mended. `queue.db` is nobody else's to wait for.
fn mended(audit: &Audit) -> Vec<Action> {
    let action = |table: &str, message| Action { table: table.to_owned(), message, blocked_ms: 0 };
    let counted = |difference: &Difference| {
        let Difference { session_db_id, counted, stored } = difference;
        action("queue", format!("session {session_db_id} counts {} messages, not {}", stored.0, counted.0))
    };
    let mut actions: Vec<Action> = audit.counters.iter().map(counted).collect();
    if let Some((counted, stored)) = audit.dead_letters {
        actions.push(action("queue", format!("health counts {stored} dead letters, not {counted}")));
    }
    for (table, ids) in [("leases", &audit.leases), ("attempts", &audit.attempts)] {
        if !ids.is_empty() {
            actions.push(action(table, format!("{} rows without what they were about were deleted", ids.len())));
        }
    }
    actions
}
