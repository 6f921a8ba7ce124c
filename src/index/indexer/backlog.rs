//! What owes its vector: read in batches, handed to whoever embeds, and stored.

use std::time::{Duration, Instant};

use super::{
    super::{
        embedding::{Batch, Embedding, Made},
        feed::Failure,
        model, storage,
        table::{self, Changes},
        vectors::vector,
    },
    Indexer,
};
use crate::{
    embedder::probes::same_model,
    error::{Code, Error, Result},
    fault,
};

/// How long without a model before it is looked for again.
const MODEL_RETRY: Duration = Duration::from_secs(30);
/// Documents whose texts are read at once, to be sorted by length.
const WINDOW: usize = 512;
/// Documents of one batch.
const BATCH: usize = 64;
/// Bytes of text of one batch, about: a model looks at some thousand bytes of a text only, but reads all.
const BATCH_BYTES: usize = 256 << 10;

/// How embedding goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to do, or nothing is known yet.
    Idle,
    /// Texts are being embedded.
    Working,
    /// Vectors are owed, and are not made now: why.
    Stalled(String),
}

impl Indexer {
    /// Keeps the embedder busy while anything is owed, and says how that goes.
    pub(super) fn embed_more(&mut self) {
        let progress = match self.next_batches() {
            Ok(progress) => progress,
            Err(error) => {
                if storage::is_doubt(&error) {
                    self.discard(&error);
                } else {
                    self.fail(error);
                }
                return;
            }
        };
        self.shared.update(|figures| figures.progress = progress);
    }

    pub(super) fn next_batches(&mut self) -> Result<Progress> {
        let progress = self.give_batches();
        // With nothing to do its thread costs a stack, and has the graph wait and not be kept: also where what is owed
        // cannot be made now.
        self.embedding = self.embedding.take().filter(|embedding| embedding.waiting > 0);
        progress
    }

    fn give_batches(&mut self) -> Result<Progress> {
        if self.file.is_none() || !self.may_try() {
            return Ok(Progress::Idle);
        }
        let owed = self.shared.figures().counts.owed;
        let in_hands = self.embedding.as_ref().map_or(0, |embedding| embedding.waiting);
        if owed == 0 && in_hands == 0 {
            self.forget_batches();
            return Ok(Progress::Idle);
        }
        if !self.acts_alone() {
            return Ok(Progress::Stalled("indexing is 'manual': call vectors.sync()".to_owned()));
        }
        if let Some(reason) = model::why_not(&*self.shared.embedder) {
            return Ok(Progress::Stalled(reason));
        }
        if let Some(at) = self.model_retry {
            if at > Instant::now() {
                return Ok(self.shared.figures().progress.clone());
            }
            self.model_retry = None;
        }
        if self.other_model {
            self.with_file(|indexer, db| indexer.change_model(db))?;
        }
        while self.embedding.as_ref().is_none_or(|embedding| embedding.waiting < Embedding::AHEAD) {
            if self.ready.is_empty() && !self.read_owed()? {
                break;
            }
            let Some(batch) = self.ready.pop_front() else { continue };
            if self.embedding.is_none() {
                self.embedding = Some(Embedding::start(&self.shared.embedder, &self.shared.vectors, self.verified)?);
            }
            if let Some(embedding) = &mut self.embedding {
                embedding.give(batch);
            }
        }
        let working = self.embedding.as_ref().is_some_and(|embedding| embedding.waiting > 0);
        Ok(if working {
            Progress::Working
        } else {
            let left = self.skipped.len();
            Progress::Stalled(format!(
                "{left} documents could not be embedded; they are tried again after the next change"
            ))
        })
    }

    /// Reads the texts of documents that owe their vectors, newest first, in batches of like length; false where there
    /// is none.
    pub(super) fn read_owed(&mut self) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let mut owed = table::owed(&file.db, WINDOW + self.busy.len())?;
        owed.retain(|document| !self.busy.contains(&document.id));
        owed.truncate(WINDOW);
        // Documents of a row are read one after the other.
        owed.sort_unstable_by_key(|owed| (owed.document.row(), owed.id));
        let texts = self.feed.texts(&owed).map_err(Failure::into_error)?;
        let mut found: Vec<(i64, String)> = Vec::with_capacity(owed.len());
        for (owed, text) in owed.iter().zip(texts) {
            self.busy.insert(owed.id);
            match text {
                Some(text) => found.push((owed.id, text)),
                // The row has changed since it was read; the next look at the tables finds that.
                None => drop(self.skipped.insert(owed.id)),
            }
        }
        found.sort_by_key(|(_, text)| text.len());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (id, text) in found {
            if batch.len() == BATCH || (bytes + text.len() > BATCH_BYTES && !batch.is_empty()) {
                self.ready.push_back(Batch(std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += text.len();
            batch.push((id, text));
        }
        if !batch.is_empty() {
            self.ready.push_back(Batch(batch));
        }
        Ok(!owed.is_empty())
    }

    pub(super) fn forget_batches(&mut self) {
        self.ready.clear();
        self.busy.clear();
        self.skipped.clear();
    }

    pub(super) fn forget_skipped(&mut self) {
        for id in self.skipped.drain() {
            self.busy.remove(&id);
        }
    }

    /// Takes what was embedded.
    pub(super) fn take(&mut self, made: Made) {
        if let Some(embedding) = &mut self.embedding {
            embedding.took(&made);
        }
        let stored = match made {
            Made::Probes(probes) => self.verify(&probes),
            Made::Vectors(batch, Ok(vectors)) => self.store(&batch, &vectors),
            Made::Vectors(batch, Err(error)) => {
                self.embedding_failed(batch, &error);
                Ok(())
            }
        };
        if let Err(error) = stored {
            // What is not stored stays owed, and is made again.
            self.forget_batches();
            if storage::is_doubt(&error) {
                self.discard(&error);
            } else {
                self.fail(error);
            }
        }
    }

    pub(super) fn store(&mut self, batch: &Batch, vectors: &[Vec<f32>]) -> Result<()> {
        fault::point("index-store");
        for (id, _) in &batch.0 {
            self.busy.remove(id);
        }
        let Some(file) = &self.file else { return Ok(()) };
        let dimensions = self.shared.vectors.dimensions();
        let transaction = file.db.unchecked_transaction()?;
        let mut changes = Changes::default();
        for ((id, _), values) in batch.0.iter().zip(vectors) {
            match vector::unit(values, dimensions) {
                Ok(unit) => drop(table::set_vector(&transaction, *id, vector::to_blob(&unit), &mut changes)?),
                // A model that makes such vectors is asked once only.
                Err(_) => {
                    self.busy.insert(*id);
                    self.skipped.insert(*id);
                }
            }
        }
        fault::point("index-store-commit");
        transaction.commit()?;
        self.logged = Some(Instant::now());
        self.shared.update(|figures| figures.embedded += changes.placed.len() as u64);
        self.shared.take(&changes)
    }

    pub(super) fn embedding_failed(&mut self, batch: Batch, error: &Error) {
        if matches!(error.code, Code::NoModel | Code::ModelMismatch | Code::Disposed) {
            self.forget_batches();
            self.model_retry = Some(Instant::now() + MODEL_RETRY);
            self.shared.update(|figures| figures.progress = Progress::Stalled(error.message.clone()));
        } else if batch.0.len() > 1 {
            // One of these texts may be at fault: it is found, and the others get their vectors.
            let mut batch = batch.0;
            let half = batch.split_off(batch.len() / 2);
            self.ready.push_front(Batch(half));
            self.ready.push_front(Batch(batch));
        } else {
            self.skipped.extend(batch.0.iter().map(|(id, _)| *id));
            self.shared
                .update(|figures| figures.last_doubt = Some(format!("a text was not embedded: {}", error.message)));
        }
    }

    /// Looks for a model again, where there was none.
    ///
    /// # Errors
    /// None.
    pub fn look_for_model(&mut self) -> Result<()> {
        self.model_retry = None;
        self.forget_skipped();
        Ok(())
    }

    /// Compares what the model in use makes of the probes with what is stored of them; vectors of another model are
    /// made again.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn verify(&mut self, probes: &[Vec<f32>]) -> Result<()> {
        if self.verified || self.file.is_none() {
            return Ok(());
        }
        self.with_file(|indexer, db| {
            match model::stored_probes(db)? {
                Some(stored) if same_model(&stored, probes) => {}
                Some(_) => {
                    indexer.change_model(db)?;
                    model::store_probes(db, probes)?;
                }
                None => model::store_probes(db, probes)?,
            }
            indexer.verified = true;
            indexer.shared.set_verified();
            Ok(())
        })
    }
}
