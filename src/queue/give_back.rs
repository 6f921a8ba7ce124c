//! Giving back everything of `queue.db` that is no longer needed, because somebody asked for it.

use std::time::{Duration, Instant};

use super::{engine::Queue, reclaim};
use crate::{
    db::Call,
    error::{Code, Error, Result},
    reply,
};

/// Pages given back in one transaction.
const STEP: i64 = 1_024;
/// Between two looks at a purge that is running.
const PAUSE: Duration = Duration::from_millis(5);

impl Queue {
    /// Purges what is acknowledged, then cuts every free page off, in steps between which others write. Blocks; `check`
    /// may end it. Answers how long the longest step took.
    ///
    /// # Errors
    /// Those of `check`; `ERR_BUSY` where it was not done by `deadline`; what SQLite answers.
    pub fn give_everything_back(&self, deadline: Instant, check: &dyn Fn() -> Result<()>) -> Result<Duration> {
        self.purge_acknowledged(deadline, check)?;
        let mut longest = Duration::ZERO;
        loop {
            check()?;
            let (more, took) = reply::wait(|reply| {
                let step = move |db: &rusqlite::Connection| {
                    let since = Instant::now();
                    let free = |db: &rusqlite::Connection| -> Result<i64> {
                        Ok(db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?)
                    };
                    let before = free(db)?;
                    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({STEP})"))?;
                    let mut rows = statement.query([])?;
                    while rows.next()?.is_some() {}
                    let after = free(db)?;
                    // A file that was made without it keeps its pages.
                    Ok((after > 0 && after < before, since.elapsed()))
                };
                self.shared().queue_writer().submit(Call::new("reclaim-pages", deadline, step, reply));
            })?;
            longest = longest.max(took);
            if !more {
                return Ok(longest);
            }
        }
    }

    /// Has a purge run now, and waits for its end. What is acknowledged meanwhile is the next one's.
    fn purge_acknowledged(&self, deadline: Instant, check: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut asked = false;
        loop {
            check()?;
            let (running, failed) = self.shared().read(|state| (state.purging, state.purge_after.is_some()));
            if !running {
                if asked && !failed {
                    return Ok(());
                }
                // Also while one that failed rests: somebody waits for this one.
                self.shared().with(|state, _| state.purge_after = None);
                reclaim::start_now(self.shared());
                asked = true;
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    Code::Busy,
                    "acknowledged messages could not be purged in time: somebody holds a lock, or the disk fails; nothing \
                     is lost: try again, or raise deadlineMs",
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }
}
