//! Rows that a search has found elsewhere, by their ids.

use rusqlite::{Connection, params};

use crate::{db::Rows, error::Result, store::order::OrderBy};

/// `columns` of the rows `ids` of `table` (as `t`), by time, each once. A limit of 0 or less is none.
pub(super) fn rows(
    db: &Connection,
    columns: &str,
    table: &str,
    joins: &str,
    ids: &[i64],
    order: OrderBy,
    limit: i64,
) -> Result<Rows> {
    let direction = order.direction();
    let ids = serde_json::to_string(ids).unwrap_or_else(|_| "[]".to_owned());
    let sql = format!(
        "SELECT {columns} FROM {table} AS t {joins} WHERE t.id IN (SELECT value FROM json_each(?1))
         ORDER BY t.created_at_epoch {direction}, t.id LIMIT ?2"
    );
    let limit = if limit > 0 { limit } else { -1 };
    Rows::query(&mut *db.prepare_cached(&sql)?, params![ids, limit])
}

/// `columns` of the rows `ids` of `table` (as `t`), in the order of `ids`; one that is not there is left out.
pub(super) fn in_turn(db: &Connection, columns: &str, table: &str, joins: &str, ids: &[i64]) -> Result<Rows> {
    let sql = format!("SELECT {columns} FROM {table} AS t {joins} WHERE t.id = ?1");
    Rows::query_each(&mut *db.prepare_cached(&sql)?, ids.iter().map(|id| [id]))
}
