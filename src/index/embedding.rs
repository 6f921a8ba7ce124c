//! The thread that embeds, with nothing locked and no file open. The work itself is done by the embedder's own threads, at
//! low priority.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender};

use super::vectors::{Postponed, VectorIndex};
use crate::{
    embedder::{Embedder, Priority},
    error::{Error, Result},
    fault,
};

/// Documents by their ids, with their texts.
pub struct Batch(pub Vec<(i64, String)>);

/// What comes back.
pub enum Made {
    /// The vectors of the probe texts, before the first batch.
    Probes(Vec<Vec<f32>>),
    /// Those of a batch.
    Vectors(Batch, Result<Vec<Vec<f32>>>),
}

/// The thread, from outside. It ends when this is dropped, with the batch that it is at.
pub struct Embedding {
    batches: Option<Sender<Batch>>,
    /// What it has made.
    pub made: Receiver<Made>,
    /// Batches given and not come back.
    pub waiting: usize,
    thread: Option<JoinHandle<()>>,
    /// The graph waits until all is embedded. Below the thread, so that it waits for that, too.
    _postponed: Postponed,
}

impl Embedding {
    /// Batches that it is given ahead: while one is stored the next is worked at.
    pub const AHEAD: usize = 2;

    /// Starts it. It begins with the probes, unless they are known to agree. While it is there the graph of `vectors` waits.
    ///
    /// # Errors
    /// `ERR_IO` where no thread can be started.
    pub fn start(embedder: &Arc<dyn Embedder>, vectors: &VectorIndex, verified: bool) -> Result<Self> {
        let (batches, given) = crossbeam_channel::bounded::<Batch>(Self::AHEAD);
        let (tell, made) = crossbeam_channel::bounded(Self::AHEAD + 1);
        let embedder = Arc::clone(embedder);
        let thread = std::thread::Builder::new().name("cm-embed".into()).spawn(move || {
            let mut verified = verified;
            for batch in given {
                let answer = catch_unwind(AssertUnwindSafe(|| {
                    fault::point("index-embed");
                    if !verified {
                        let probes = embedder.probes()?;
                        verified = true;
                        // Nobody listens where the indexer has ended.
                        let _ = tell.send(Made::Probes(probes));
                    }
                    let texts: Vec<&str> = batch.0.iter().map(|(_, text)| text.as_str()).collect();
                    embedder.embed(&texts, Priority::Document)
                }))
                .unwrap_or_else(|payload| Err(Error::from_panic("embedding", &*payload)));
                let whole = answer.and_then(|vectors| {
                    let (made, wanted) = (vectors.len(), batch.0.len());
                    if made == wanted {
                        return Ok(vectors);
                    }
                    Err(Error::internal(format!("the model made {made} vectors of {wanted} texts")))
                });
                if tell.send(Made::Vectors(batch, whole)).is_err() {
                    break;
                }
            }
        })?;
        let postponed = vectors.postpone_building();
        Ok(Self { batches: Some(batches), made, waiting: 0, thread: Some(thread), _postponed: postponed })
    }

    /// Gives it one more; no more than [`Embedding::AHEAD`] at a time.
    pub fn give(&mut self, batch: Batch) {
        if let Some(batches) = &self.batches
            && batches.send(batch).is_ok()
        {
            self.waiting += 1;
        }
    }

    /// Counts what has come back.
    pub fn took(&mut self, made: &Made) {
        if matches!(made, Made::Vectors(..)) {
            self.waiting = self.waiting.saturating_sub(1);
        }
    }
}

impl Drop for Embedding {
    fn drop(&mut self) {
        drop(self.batches.take());
        // It may be telling: whatever it has made is let go.
        let (_, nobody) = crossbeam_channel::bounded(0);
        drop(std::mem::replace(&mut self.made, nobody));
        if let Some(thread) = self.thread.take() {
            // Its panics are caught inside; it ends with the batch that it is at, a fraction of a second.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{
        super::vectors::{Entry, State, THRESHOLD, testing::clustered},
        *,
    };
    use crate::{embedder::testing::Words, settings::Settings};

    #[test]
    fn the_graph_waits_until_nothing_is_embedded_any_more() {
        let embedder: Arc<dyn Embedder> = Arc::new(Words::new(4));
        let vectors = VectorIndex::new(4, &Settings::new("").index);
        let mut embedding = Embedding::start(&embedder, &vectors, true).unwrap();
        embedding.give(Batch(vec![(1, "a text".to_owned())]));
        let made = embedding.made.recv().unwrap();
        embedding.took(&made);
        assert!(matches!(made, Made::Vectors(_, Ok(vectors)) if vectors.len() == 1));
        assert_eq!(embedding.waiting, 0);

        let of_clusters = clustered(THRESHOLD, 4, 1);
        let entries = (0..).zip(&of_clusters).map(|(id, vector)| Entry { id, group: id, vector });
        vectors.put(&entries.collect::<Vec<_>>()).unwrap();
        assert_eq!((vectors.state(), vectors.is_working()), (State::Exact, false));
        drop(embedding);
        let start = Instant::now();
        while vectors.state() != State::Graph {
            assert!(start.elapsed() < Duration::from_secs(300), "{:?}", vectors.state());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
