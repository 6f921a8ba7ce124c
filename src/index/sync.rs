//! The job that brings the index up to date: rows first, then every vector that is owed, and last the segments of the
//! text indexes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{Depth, Index, Shared, indexer::Progress as Embedding};
use crate::{
    error::{Error, Result},
    job::{Control, Job, Jobs},
    reply::Reply,
};

/// How often it says how far it is.
const STEP: Duration = Duration::from_millis(100);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Documents that have their vectors.
    pub done: i64,
    /// Documents there are, as far as rows have been read.
    pub total: i64,
    /// Vectors made a second, since it began.
    pub documents_per_second: f64,
    /// How long the rest takes at that speed, ms; `None` while nothing can be said.
    pub eta_ms: Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Lines of the index: observations, summaries and prompts.
    pub rows: i64,
    /// Documents there are.
    pub documents: i64,
    /// Vectors made meanwhile.
    pub embedded: u64,
    /// Documents that went meanwhile, as their rows were deleted or have other texts.
    pub removed: u64,
    /// Documents that had their vectors before.
    pub unchanged: i64,
    /// Vectors that are still owed.
    pub pending: i64,
    /// Why they are; `None` where none is.
    pub reason: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Keeps the indexer embedding, also where it does nothing by itself.
struct Wanted(Arc<Shared>);

impl Wanted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.syncs.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.syncs.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Index {
    /// Looks at every row, and embeds what is owed; with `rebuild` everything is made anew. Cancelled, what it has done
    /// stays, and so it does when the process dies: the next one goes on from there.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` on a client, `ERR_DISPOSED`, `ERR_IO` where no thread can be started.
    pub fn sync(self: &Arc<Self>, jobs: &Jobs, rebuild: bool) -> Result<Job<Progress, Report>> {
        let name = if rebuild { "rebuild" } else { "sync" };
        if !self.writes() {
            return Err(super::only_the_owner(if rebuild { "vectors.rebuild()" } else { "vectors.sync()" }));
        }
        let index = Arc::clone(self);
        jobs.start(name, move |control| index.bring_up_to_date(rebuild, control))
    }

    fn bring_up_to_date(&self, rebuild: bool, control: &Control<'_, Progress>) -> Result<Report> {
        let _wanted = Wanted::new(&self.shared);
        let began = Instant::now();
        let before = self.figures();
        let report = || control.report(self.progress(before.embedded, began));
        // Anew, or as it is.
        wait_for(control, report, |reply| {
            if rebuild {
                self.run("vectors.rebuild()", super::indexer::Indexer::rebuild, reply);
            } else {
                self.feed(Depth::Everything, reply);
            }
        })?;
        // Once it serves the next command it has seen what is owed now, and that somebody wants it.
        wait_for(control, report, |reply| self.run("vectors.sync()", super::indexer::Indexer::look_for_model, reply))?;
        wait_for(control, report, |reply| self.run("vectors.sync()", |_| Ok(()), reply))?;
        loop {
            control.check()?;
            report();
            let figures = self.figures();
            if let Some(error) = figures.error {
                return Err(error);
            }
            let reason = match figures.progress {
                Embedding::Stalled(reason) => Some(reason),
                Embedding::Idle => None,
                Embedding::Working => {
                    std::thread::sleep(STEP);
                    continue;
                }
            };
            // A step a command: who searches meanwhile waits for no more than one.
            while wait_for(control, report, |reply| {
                self.run("vectors.sync()", |indexer| Ok(indexer.merge_segments()), reply);
            })? {
                control.check()?;
            }
            let embedded = figures.embedded - before.embedded;
            let counts = figures.counts;
            return Ok(Report {
                rows: counts.rows,
                documents: counts.documents,
                embedded,
                removed: figures.removed - before.removed,
                unchanged: (counts.documents - counts.owed).saturating_sub_unsigned(embedded).max(0),
                pending: counts.owed,
                reason: reason.filter(|_| counts.owed > 0),
                seconds: began.elapsed().as_secs_f64(),
            });
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "speeds are for people")]
    fn progress(&self, embedded_before: u64, began: Instant) -> Progress {
        let figures = self.figures();
        let (counts, made) = (figures.counts, figures.embedded.saturating_sub(embedded_before));
        let speed = made as f64 / began.elapsed().as_secs_f64().max(1e-9);
        let eta_ms = (made > 0).then(|| counts.owed as f64 / speed * 1e3);
        let done = counts.documents - counts.owed;
        Progress { done, total: counts.documents, documents_per_second: speed, eta_ms }
    }
}

/// Waits for an answer, telling how far it is, until the job is cancelled.
pub(super) fn wait_for<T: Send + 'static, P>(
    control: &Control<'_, P>,
    report: impl Fn(),
    start: impl FnOnce(Reply<T>),
) -> Result<T> {
    let (reply, answer) = Reply::channel();
    start(reply);
    loop {
        match answer.recv_timeout(STEP) {
            Ok(answer) => return answer,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                control.check()?;
                report();
            }
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("the indexer dropped what it was asked"));
            }
        }
    }
}
