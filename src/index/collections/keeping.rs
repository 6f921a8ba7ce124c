//! Saves the graphs of collections, on a thread of its own that is there from the first graph on: once nothing has
//! changed for a while, and when the memory is disposed, where that is quick.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{Shared, closing::join_within, loaded::Unsaved, storage};
use crate::{error::Result, reply};

/// A graph that has not changed for so long is saved.
const REST: Duration = Duration::from_secs(10);
/// One that never rests is saved after so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is still written when the memory is disposed: graphs up to this size, some 300,000 vectors.
const CLOSING_BYTES: usize = 64 << 20;
/// How long the note waits for a lock.
const WRITE: Duration = Duration::from_secs(60);

/// The thread, and the way to it.
#[derive(Default)]
pub struct Keeping {
    line: Mutex<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
enum Line {
    #[default]
    Idle,
    Running(Sender<()>),
    Closed,
}

impl Keeping {
    /// Says that a graph has changed. Starts the thread where it is not.
    pub(super) fn changed(&self, shared: &Arc<Shared>) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Line::Idle = &*line {
            let (sender, changes) = crossbeam_channel::bounded(1);
            let shared = Arc::clone(shared);
            let spawned =
                std::thread::Builder::new().name("cm-collect-graph".into()).spawn(move || serve(&shared, &changes));
            // Without a thread no graph is saved; the next change tries again.
            if let Ok(thread) = spawned {
                *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
                *line = Line::Running(sender);
            }
        }
        if let Line::Running(sender) = &*line {
            // Where it is full the thread will look anyway.
            let _ = sender.try_send(());
        }
    }

    /// Has what is quickly saved be saved, and ends the thread; waits at most `bound`.
    pub(super) fn close(&self, bound: Duration) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Line::Closed;
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // A panic in it costs a file that can be made again.
        join_within(thread, bound);
    }
}

fn serve(shared: &Shared, changes: &Receiver<()>) {
    while changes.recv().is_ok() {
        let mut since = Instant::now();
        loop {
            let rest = REST.min(PATIENCE.saturating_sub(since.elapsed()));
            match changes.recv_timeout(rest) {
                Ok(()) if since.elapsed() < PATIENCE => {}
                Ok(()) | Err(RecvTimeoutError::Timeout) => {
                    if save_all(shared, usize::MAX) {
                        break;
                    }
                    // Something is being built: it rests once that is done.
                    since = Instant::now();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    save_all(shared, CLOSING_BYTES);
                    return;
                }
            }
        }
    }
}

/// Saves the graphs of at most `most` bytes that are there; answers whether none is still being built.
fn save_all(shared: &Shared, most: usize) -> bool {
    let mut all = true;
    for unsaved in shared.loaded.unsaved() {
        if unsaved.index.is_working() {
            all = false;
        } else if unsaved.index.memory().graph <= most && save(shared, &unsaved).is_err() {
            // As where a disk is full: with the next change it is tried again.
            unsaved.failed();
        }
    }
    all
}

fn save(shared: &Shared, unsaved: &Unsaved) -> Result<()> {
    let files = shared.loaded.files();
    let id = unsaved.id;
    let Some(saved) = files.save(id, &unsaved.space, &unsaved.index)? else { return Ok(()) };
    let note = saved.to_json();
    let noted = reply::wait(|reply| {
        let run = move |db: &rusqlite::Connection| storage::note_snapshot(db, id, &note);
        shared.files.writer.call("collection.graph", Instant::now() + WRITE, run, reply);
    });
    // Where the note cannot be told to be there, nor not to be, the file stays: it is tidied away, or used.
    let kept = noted?.then_some(&saved);
    files.keep_only(id, kept)
}
