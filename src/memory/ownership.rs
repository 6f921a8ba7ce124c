//! Taking a data directory, and what is given up with it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    db::{
        in_process::{self, Held},
        layout::Layout,
        owner::OwnerLock,
        schema,
    },
    error::Result,
    parts::Part,
    settings::Settings,
};

/// What an owner gives up last.
pub struct Ownership {
    _lock: OwnerLock,
    /// With the part `store`.
    _held: Option<Held>,
}

impl Ownership {
    /// Takes the data directory of `layout`.
    ///
    /// # Errors
    /// `ERR_LOCKED`, `ERR_SCHEMA_UNSUPPORTED`, `ERR_CORRUPT`, `ERR_IO`.
    pub fn take(layout: &Layout, settings: &Settings) -> Result<Self> {
        let lock = own(layout, settings)?;
        let held = settings.parts.has(Part::Store).then(|| in_process::hold(&layout.database()));
        Ok(Self { _lock: lock, _held: held })
    }
}

/// Takes the data directory. A database that we do not know must be left as it was, with nothing beside it,
/// so it is looked at before `native/` is made. Without the part `store` it is not looked at.
///
/// Where `native/` exists the lock comes first instead: looking opens and closes the file, and on POSIX
/// systems that would drop the locks of a memory that this very process has open on it.
fn own(layout: &Layout, settings: &Settings) -> Result<OwnerLock> {
    static FIRST_OPEN: Mutex<()> = Mutex::new(());
    if !settings.parts.has(Part::Store) {
        return OwnerLock::acquire(layout, settings.lock_wait);
    }
    if !layout.owner_lock().exists() {
        // One first open at a time: between the look and the lock nobody else of this process may open.
        let _one = FIRST_OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !layout.owner_lock().exists() {
            schema::check(&layout.database())?;
            return OwnerLock::acquire(layout, Duration::ZERO.max(settings.lock_wait));
        }
    }
    let owner = OwnerLock::acquire(layout, settings.lock_wait)?;
    schema::check(&layout.database())?;
    Ok(owner)
}
