//! Long work on a file that others write too, in transactions of some 25 ms with rests between them, so that a
//! hook that waits for the lock gets it.

use std::{
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{Call, Writer};
use crate::{error::Result, reply};

/// How long one step works before it commits, about: one row more is always done.
pub const STEP: Duration = Duration::from_millis(25);
/// The longest rest after a step, for one that met a slow disk.
const LONGEST_REST: Duration = Duration::from_millis(250);

/// Steps of one operation. For a thread of its own: each waits for the writer.
pub struct Steps<'w> {
    writer: &'w Writer,
    name: &'static str,
    wait: Duration,
    rest: Duration,
}

impl<'w> Steps<'w> {
    /// Steps called `name`, each waiting `wait` for a lock that another process holds.
    #[must_use]
    pub const fn new(writer: &'w Writer, name: &'static str, wait: Duration) -> Self {
        Self { writer, name, wait, rest: Duration::ZERO }
    }

    /// Runs `step` in the writer's next transaction. It is told when to stop, and answers how far it came; like
    /// every command it may run again where its first transaction was lost.
    ///
    /// # Errors
    /// What `step` answers, `ERR_BUSY`, `ERR_DISPOSED`.
    pub fn run<T: Send + 'static>(
        &mut self,
        mut step: impl FnMut(&Connection, Instant) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        thread::sleep(self.rest);
        let deadline = Instant::now() + self.wait;
        let (answer, began) = reply::wait(|reply| {
            let run = move |db: &Connection| {
                let began = Instant::now();
                Ok((step(db, began + STEP)?, began))
            };
            self.writer.submit(Call::new(self.name, deadline, run, reply));
        })?;
        // As long as the lock was held: SQLite's waiters only try again from time to time.
        self.rest = began.elapsed().min(LONGEST_REST);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::db::{Budget, Durability, connection};

    #[test]
    fn others_write_between_the_steps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let db = connection::open_writer(&path, "").unwrap();
        db.execute_batch("CREATE TABLE t(x)").unwrap();
        let budget = Arc::new(Budget::new(1 << 20));
        let writer = Writer::start("t-writer", db, Durability::Normal, budget, Arc::default(), None).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = Connection::open(&path).unwrap();
                other.busy_timeout(Duration::from_secs(30)).unwrap();
                for _ in 0..5 {
                    other.execute("INSERT INTO t VALUES ('theirs')", []).unwrap();
                }
            });
            let mut steps = Steps::new(&writer, "fill", Duration::from_secs(30));
            for _ in 0..10 {
                let rows = steps
                    .run(|db, until| {
                        let mut rows = 0;
                        while Instant::now() < until {
                            rows += db.execute("INSERT INTO t VALUES ('ours')", [])?;
                        }
                        Ok(rows)
                    })
                    .unwrap();
                assert!(rows > 0);
            }
        });
        let other = Connection::open(&path).unwrap();
        let theirs: i64 = other.query_row("SELECT count(*) FROM t WHERE x = 'theirs'", [], |row| row.get(0)).unwrap();
        assert_eq!(theirs, 5);
        writer.close(Duration::from_secs(20));
    }
}
