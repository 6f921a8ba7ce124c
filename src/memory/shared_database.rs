//! Part `store`: the threads of `claude-mem.db`.

use std::{any::Any, sync::Arc};

use crate::{
    db::{Budget, Follow, Holding, Readers, Writer, activity::Activity, connection, layout::Layout, schema},
    error::Result,
    settings::Settings,
};

/// The threads of `claude-mem.db`.
pub struct SharedDatabase {
    pub readers: Arc<Readers>,
    pub writer: Arc<Writer>,
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
        let follow = guard.map(|lock| Box::new(Holding(lock)) as Box<dyn Follow>);
        let (budget, activity) = (Arc::clone(budget), Arc::clone(activity));
        let writer = Writer::start("cm-writer", db, settings.durability, budget, activity, follow)?;
        Ok(Self { readers, writer: Arc::new(writer) })
    }
}
