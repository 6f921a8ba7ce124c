//! Part `store`: the threads of `claude-mem.db`.

use std::{any::Any, sync::Arc};

use rusqlite::Connection;

use crate::{
    db::{Budget, Follow, Readers, Write, Writer, activity::Activity, connection, layout::Layout, schema},
    error::Result,
    settings::Settings,
};

/// The threads of `claude-mem.db`.
pub struct SharedDatabase {
    pub readers: Arc<Readers>,
    pub writer: Arc<Writer>,
}

/// Keeps the owner lock until a writer's thread has ended, also where the handle is only garbage-collected.
struct HoldsLock {
    _lock: Arc<dyn Any + Send + Sync>,
}

impl Follow for HoldsLock {
    fn begun(&mut self, _: &Connection) -> Result<()> {
        Ok(())
    }

    fn follow_ups(&mut self) -> Vec<Box<dyn Write>> {
        Vec::new()
    }
}

impl SharedDatabase {
    /// Brings the schema up to date and starts the threads. `guard` lives as long as its writer's.
    pub fn open(
        layout: &Layout,
        settings: &Settings,
        budget: &Arc<Budget>,
        activity: &Arc<Activity>,
        guard: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<Self> {
        let db = schema::prepare(&layout.database(), settings.deadline)?;
        if settings.secure_delete {
            db.execute_batch("PRAGMA secure_delete=ON")?;
        }
        let connections = (0..settings.readers.max(1))
            .map(|_| connection::open_reader(&layout.database()))
            .collect::<Result<Vec<_>>>()?;
        let readers = Arc::new(Readers::start("cm-reader", connections, Arc::clone(activity))?);
        let follow = guard.map(|lock| Box::new(HoldsLock { _lock: lock }) as Box<dyn Follow>);
        let (budget, activity) = (Arc::clone(budget), Arc::clone(activity));
        let writer = Writer::start("cm-writer", db, settings.durability, budget, activity, follow)?;
        Ok(Self { readers, writer: Arc::new(writer) })
    }
}
