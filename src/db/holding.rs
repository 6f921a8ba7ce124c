//! Keeping something until a writer's thread has ended.

use std::any::Any;
use std::sync::Arc;

use rusqlite::Connection;

use super::{Follow, Write};
use crate::error::Result;

/// Keeps the owner lock until a writer's thread has ended, also where the handle is only garbage-collected.
pub struct Holding(pub Arc<dyn Any + Send + Sync>);

impl Follow for Holding {
    fn begun(&mut self, _: &Connection) -> Result<()> {
        Ok(())
    }

    fn follow_ups(&mut self) -> Vec<Box<dyn Write>> {
        Vec::new()
    }
}
