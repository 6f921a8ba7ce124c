//! Which rows a search may answer: kinds and filters, as one set that both legs are held to before they rank.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    remembered::Remembered,
    request::{Kinds, Request},
};
use crate::{
    error::Result,
    index::{
        document::{Kind, RowKey},
        vectors::IdSet,
    },
    store::filters::{self, Conditions, Filters},
};

/// What is let through.
#[derive(Debug)]
pub(super) enum Scope {
    /// Every row.
    All,
    /// These.
    Groups {
        /// Their kinds.
        kinds: Kinds,
        /// All of them.
        groups: Arc<IdSet>,
        /// Whether every row of these kinds is among them.
        whole: bool,
    },
}

impl Scope {
    /// What `request` lets through. Call it within a snapshot.
    ///
    /// # Errors
    /// What SQLite answers; `ERR_INVALID_ARG` for a filter that SQLite would refuse.
    pub(super) fn of(db: &Connection, remembered: &mut Remembered, request: &Request) -> Result<Self> {
        let kinds = request.kinds;
        let conditions = conditions(db, request)?;
        if conditions.is_empty() {
            if kinds == Kinds::ALL {
                return Ok(Self::All);
            }
            let groups = match remembered.groups.get(&kinds.bits()) {
                Some(groups) => Arc::clone(groups),
                None => {
                    let groups = Arc::new(select(db, kinds, &conditions)?);
                    remembered.groups.insert(kinds.bits(), Arc::clone(&groups));
                    groups
                }
            };
            return Ok(Self::Groups { kinds, groups, whole: true });
        }
        Ok(Self::Groups { kinds, groups: Arc::new(select(db, kinds, &conditions)?), whole: false })
    }

    /// Whether a row is let through.
    pub(super) fn admits(&self, key: i64) -> bool {
        match self {
            Self::All => true,
            Self::Groups { kinds, groups, whole } => kinds.contain(RowKey(key)) && (*whole || groups.contains(key)),
        }
    }
}

/// The filters as conditions on a line `t` of `rows`. The columns of `rows` are those of `observations`, whatever kind
/// of row a line stands for. A filter that a kind of row does not have is ignored where only that kind is asked for, as
/// the store does; in a ranking of all kinds a row without it does not pass.
pub(super) fn conditions(db: &Connection, request: &Request) -> Result<Conditions> {
    let Filters { project, kinds, concepts, files, date_range } = request.filters.clone();
    let observations = request.kinds.has(Kind::Observation);
    let with_files = observations || request.kinds.has(Kind::Summary);
    let filters = Filters {
        project,
        kinds: kinds.filter(|_| observations),
        concepts: concepts.filter(|_| observations),
        files: files.filter(|_| with_files),
        date_range,
    };
    Conditions::new(db, filters::Kind::Observations, &filters)
}

fn select(db: &Connection, kinds: Kinds, conditions: &Conditions) -> Result<IdSet> {
    let sql = format!(
        "SELECT t.key FROM rows AS t WHERE t.kind IN ({}){} ORDER BY t.key",
        kinds.codes().collect::<Vec<_>>().join(", "),
        conditions.sql()
    );
    let mut statement = db.prepare_cached(&sql)?;
    let keys = statement.query_map(&*conditions.params(&[]), |row| row.get(0))?;
    Ok(keys.collect::<rusqlite::Result<Vec<i64>>>()?.into())
}
