//! What others have the thread do with its file.

use std::time::Instant;

use rusqlite::Connection;

use super::{
    super::{
        Pending,
        document::DocumentId,
        feed::{Depth, Failure},
        storage,
        table::{self, Changes},
        takeover::Taken,
        vectors::vector,
    },
    Indexer,
};
use crate::{
    error::{Error, Result},
    fault,
};

/// A vector that the caller has made.
#[derive(Debug)]
pub struct Given {
    /// Of which document.
    pub document: DocumentId,
    /// As `pending()` told it; the vector is of that text only.
    pub revision: Option<i64>,
    /// As it is stored.
    pub blob: Vec<u8>,
}

/// What became of vectors that the caller has made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// Stored.
    pub stored: usize,
    /// Of a text that has changed since: not stored.
    pub stale: Vec<DocumentId>,
    /// There is no such document: not stored.
    pub unknown: Vec<DocumentId>,
}

impl Indexer {
    /// Makes everything anew.
    ///
    /// # Errors
    /// What SQLite and the disk answer.
    pub fn rebuild(&mut self) -> Result<()> {
        self.close_file();
        self.shared.vectors.clear();
        storage::throw_away(&self.shared.path)?;
        self.shared.next_generation();
        self.retry = None;
        self.freshen(Depth::Everything)
    }

    /// The write connection, with everything up to date.
    ///
    /// # Errors
    /// As [`Indexer::freshen`].
    pub fn fresh(&mut self) -> Result<&Connection> {
        let done = self.freshen(Depth::Fresh);
        self.note(done.clone());
        done?;
        self.file.as_ref().map(|file| &*file.db).ok_or_else(|| Error::disposed("memory"))
    }

    /// Changes documents in one transaction, and then what is in memory.
    ///
    /// # Errors
    /// As [`Indexer::freshen`], and those of `write`.
    pub fn write<T>(&mut self, write: impl FnOnce(&Connection, &mut Changes) -> Result<T>) -> Result<T> {
        let db = self.fresh()?;
        let transaction = db.unchecked_transaction()?;
        let mut changes = Changes::default();
        let answer = write(&transaction, &mut changes)?;
        fault::point("index-write-commit");
        transaction.commit()?;
        self.logged = Some(Instant::now());
        self.shared.take(&changes)?;
        Ok(answer)
    }

    /// Stores vectors that the caller has made.
    ///
    /// # Errors
    /// As [`Indexer::write`].
    pub fn put(&mut self, given: Vec<Given>) -> Result<Put> {
        self.fresh()?;
        if self.other_model {
            // The first vector of the new model is here: those of the old one go.
            self.with_file(|indexer, db| indexer.change_model(db))?;
        }
        self.write(|db, changes| {
            let mut put = Put::default();
            for Given { document, revision, blob } in given {
                match table::find(db, document)? {
                    None => put.unknown.push(document),
                    Some((id, ..)) if revision.is_some_and(|revision| revision != id) => put.stale.push(document),
                    Some((id, owed, _)) => {
                        if owed {
                            table::set_vector(db, id, blob, changes)?;
                        } else {
                            table::replace_vector(db, id, blob, changes)?;
                        }
                        put.stored += 1;
                    }
                }
            }
            Ok(put)
        })
    }

    /// Stores vectors that somebody else has made with the model in use; how many were still owed.
    ///
    /// # Errors
    /// As [`Indexer::write`].
    pub fn adopt(&mut self, vectors: Vec<Taken>) -> Result<u64> {
        let dimensions = self.shared.vectors.dimensions();
        self.write(|db, changes| {
            let mut adopted = 0;
            for Taken { document, text_hash, vector: values } in vectors {
                let blob = vector::to_blob(&vector::unit(&values, dimensions)?);
                adopted += u64::from(table::set_vector_of(db, document, &text_hash, blob, changes)?);
            }
            Ok(adopted)
        })
    }

    /// Runs `work` with the file taken out, so that both can be worked with.
    pub(super) fn with_file<T>(&mut self, work: impl FnOnce(&mut Self, &Connection) -> Result<T>) -> Result<T> {
        let file = self.file.take().ok_or_else(|| Error::disposed("memory"))?;
        let done = work(self, &file.db);
        self.file = Some(file);
        done
    }

    /// Takes what was deleted out of the file's free pages and of the text indexes' segments.
    ///
    /// # Errors
    /// As [`Indexer::freshen`].
    pub fn scrub(&mut self) -> Result<()> {
        let db = self.fresh()?;
        table::merge_texts(db)?;
        self.logged = Some(Instant::now());
        self.move_log();
        Ok(())
    }

    /// Documents that owe their vectors, newest first, with their texts.
    ///
    /// # Errors
    /// As [`Indexer::freshen`].
    pub fn pending(&mut self, limit: usize) -> Result<Vec<Pending>> {
        let owed = table::owed(self.fresh()?, limit)?;
        let texts = self.feed.texts(&owed).map_err(Failure::into_error)?;
        let pending = owed.into_iter().zip(texts);
        // A text that changed just now comes with the next call.
        Ok(pending
            .filter_map(|(owed, text)| Some(Pending { document: owed.document, revision: owed.id, text: text? }))
            .collect())
    }
}
