//! Vectors of collections in memory.
//!
//! A collection is read when it is first searched, and caught up before each search with what was committed since, by
//! whichever process: the search, and the documents that it answers, are of one read transaction. What was deleted
//! since is found out when its document is looked for, and does not appear either.
//!
//! From `THRESHOLD` vectors on a graph finds them, which is kept in a file between two opens: [`super::graph_file`].
//!
//! Together they keep within `vectorMemoryBudget`: those that were searched longest ago go first, and one that is too
//! large by itself is read from its table for each search.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use rusqlite::Connection;

use super::{
    documents::{Document, Include},
    filter_sets::{Admitted, FilterSets},
    graph_file::{GraphFiles, Read},
    reading::{self, Documents, Info},
    scan::{self, Near},
    storage::Space,
    where_filter::Filter,
};
use crate::{
    allocator,
    error::Result,
    index::vectors::{Allowed, By, Entry, State, VectorIndex, vector},
    settings::{self, Precision, Settings},
};

/// Candidates beyond those that are asked for (and half as many again): some may be gone, and with 8 bits a number they are
/// rounded more than in the table, by whose vectors they are ranked again.
const MORE: usize = 16;
/// Documents that are asked about one by one at most, before a filter's whole set is made.
const MANY: usize = 2_000;
/// Vectors that are put at once.
const BATCH: usize = 512;
/// Vectors that may have been taken away unseen before a collection is read again, where they are a quarter of it.
const REMOVED: i64 = 1_000;
/// A graph that was saved is saved again once this share of it has changed: until then what is read of it is mended in
/// seconds.
const CHANGED_SHARE: usize = 32;
/// In [`One::changed`]: it was never saved.
const NEVER: usize = usize::MAX;

/// What is searched for.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Near to what.
    pub vector: &'a [f32],
    /// How many documents at most.
    pub k: usize,
    /// Only those that it holds for.
    pub filter: Option<&'a Filter>,
    /// Only those up to this distance.
    pub max_distance: Option<f32>,
    /// What of them is answered.
    pub include: Include,
}

/// A document that was found, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The document.
    pub document: Document,
    /// 1 − cosine.
    pub distance: f32,
}

/// How the vectors of a collection are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InMemory {
    /// How searches are answered.
    pub answers: State,
    /// How they are kept; `None` where none are.
    pub precision: Option<Precision>,
    /// Bytes of them.
    pub bytes: usize,
}

/// See the module.
pub struct Loaded {
    settings: settings::Index,
    files: GraphFiles,
    all: Mutex<HashMap<i64, Arc<One>>>,
    searches: AtomicU64,
    /// Whether a graph has come to be worth a file since that was asked.
    news: AtomicBool,
}

/// A collection whose graph, if it has one, is worth a file.
pub struct Unsaved {
    /// Which.
    pub id: i64,
    /// What makes its vectors.
    pub space: Space,
    /// Its vectors.
    pub index: Arc<VectorIndex>,
    one: Arc<One>,
}

impl Unsaved {
    /// It could not be saved: it is as if it never had been.
    pub fn failed(&self) {
        self.one.changed.store(NEVER, Ordering::Relaxed);
    }
}

/// One collection.
#[derive(Default)]
struct One {
    /// Which search it was used by last.
    used: AtomicU64,
    bytes: AtomicUsize,
    /// Vectors that have changed since its graph was saved, about.
    changed: AtomicUsize,
    state: RwLock<Option<Contents>>,
}

impl One {
    /// Bytes at present; while it is read, or caught up, those before. A graph grows in the background.
    fn bytes(&self) -> usize {
        if let Ok(state) = self.state.try_read() {
            let bytes = state.as_ref().and_then(|state| state.index.as_ref()).map_or(0, |index| index.memory().total());
            self.bytes.store(bytes, Ordering::Relaxed);
        }
        self.bytes.load(Ordering::Relaxed)
    }

    fn has_changed(&self, count: usize) {
        let add = |known: usize| Some(known.saturating_add(count));
        // It always answers something.
        let _ = self.changed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Whether the graph of an index, where there is one or is to be, is worth a file.
    fn is_unsaved(&self, index: &VectorIndex) -> bool {
        let changed = self.changed.load(Ordering::Relaxed);
        changed > index.len() / CHANGED_SHARE && (index.is_working() || index.state() == State::Graph)
    }
}

/// Its vectors, as they were committed at one moment.
struct Contents {
    space: Space,
    revision: i64,
    /// [`Info::removed`] when it was read.
    removed: i64,
    /// Vectors that were read.
    count: usize,
    /// None where it is too large for the budget.
    index: Option<Arc<VectorIndex>>,
    filters: FilterSets,
}

impl Loaded {
    /// Nothing yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.index.clone(),
            files: GraphFiles::new(settings),
            all: Mutex::default(),
            searches: AtomicU64::new(0),
            news: AtomicBool::new(false),
        }
    }

    /// The files with the graphs.
    #[must_use]
    pub const fn files(&self) -> &GraphFiles {
        &self.files
    }

    /// Whether a graph has come to be worth a file since this was asked last; never where none is written.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.news.load(Ordering::Relaxed) && self.news.swap(false, Ordering::Relaxed)
    }

    /// The collections whose graphs are worth a file. What changes from now on counts against what is saved then.
    #[must_use]
    pub fn unsaved(&self) -> Vec<Unsaved> {
        let all: Vec<(i64, Arc<One>)> = self.lock().iter().map(|(id, one)| (*id, Arc::clone(one))).collect();
        let unsaved = all.into_iter().filter_map(|(id, one)| {
            let (space, index) = {
                let state = one.state.read().unwrap_or_else(PoisonError::into_inner);
                let state = state.as_ref()?;
                (state.space.clone(), Arc::clone(state.index.as_ref()?))
            };
            // Now that the graph may be there.
            one.bytes.store(index.memory().total(), Ordering::Relaxed);
            if !one.is_unsaved(&index) {
                return None;
            }
            if !index.is_working() {
                one.changed.store(0, Ordering::Relaxed);
            }
            Some(Unsaved { id, space, index, one })
        });
        unsaved.collect()
    }

    /// The documents of a collection that are nearest, nearest first. No transaction is open on `db`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for a vector of another length; what SQLite answers.
    pub fn search(&self, db: &Connection, name: &str, ask: &Ask<'_>) -> Result<Vec<Found>> {
        if let Some(found) = self.search_what_is_there(db, name, ask)? {
            return Ok(found);
        }
        loop {
            let Some(Info { id, .. }) = reading::find(db, name)? else { return Ok(Vec::new()) };
            let one = Arc::clone(self.lock().entry(id).or_default());
            one.used.store(self.searches.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            {
                let state = one.state.read().unwrap_or_else(PoisonError::into_inner);
                // Begun under the lock: what is in memory is caught up under the other one.
                let transaction = db.unchecked_transaction()?;
                if let Some(info) = reading::find(&transaction, name)?
                    && let Some(state) = state.as_ref().filter(|state| info.id == id && state.is_of(&info))
                {
                    return state.search(&transaction, &info, ask);
                }
            }
            let mut state = one.state.write().unwrap_or_else(PoisonError::into_inner);
            let transaction = db.unchecked_transaction()?;
            let Some(info) = reading::find(&transaction, name)?.filter(|info| info.id == id) else {
                // Dropped meanwhile, and perhaps made again.
                self.forget(id);
                continue;
            };
            let caught_up = match state.take() {
                Some(known) if known.can_catch_up(&info) => {
                    known.caught_up(&transaction, &info, &self.settings).map(|(state, count)| {
                        one.has_changed(count);
                        state
                    })
                }
                _ => Contents::read(&transaction, &info, self).map(|(state, changed)| {
                    one.changed.store(changed.unwrap_or(NEVER), Ordering::Relaxed);
                    state
                }),
            }?;
            // Where that has failed nothing is in memory, and the next search reads it again.
            let state = state.insert(caught_up);
            one.bytes.store(state.index.as_ref().map_or(0, |index| index.memory().total()), Ordering::Relaxed);
            if self.files.writes() && state.index.as_ref().is_some_and(|index| one.is_unsaved(index)) {
                self.news.store(true, Ordering::Relaxed);
            }
            self.keep_within(id);
            return state.search(&transaction, &info, ask);
        }
    }

    /// The same in one transaction, where the collection is in memory as that transaction sees it; else none.
    fn search_what_is_there(&self, db: &Connection, name: &str, ask: &Ask<'_>) -> Result<Option<Vec<Found>>> {
        let transaction = db.unchecked_transaction()?;
        let Some(info) = reading::find(&transaction, name)? else { return Ok(Some(Vec::new())) };
        let Some(one) = self.lock().get(&info.id).map(Arc::clone) else { return Ok(None) };
        // What is being caught up is not waited for with a transaction that will be older than it.
        let Ok(state) = one.state.try_read() else { return Ok(None) };
        // Caught up since the transaction began, it is of another revision.
        let Some(state) = state.as_ref().filter(|state| state.is_of(&info)) else { return Ok(None) };
        one.used.store(self.searches.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        state.search(&transaction, &info, ask).map(Some)
    }

    /// The vectors of a collection that is in memory.
    #[cfg(test)]
    pub fn index_of(&self, id: i64) -> Option<Arc<VectorIndex>> {
        let one = self.lock().get(&id).map(Arc::clone)?;
        let state = one.state.read().unwrap_or_else(PoisonError::into_inner);
        state.as_ref()?.index.as_ref().map(Arc::clone)
    }

    /// Lets a collection go that was dropped.
    pub fn forget(&self, id: i64) {
        self.lock().remove(&id);
    }

    /// Bytes of all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().values().map(|one| one.bytes()).sum()
    }

    /// How the vectors of a collection are in memory.
    #[must_use]
    pub fn in_memory(&self, id: i64) -> InMemory {
        let one = self.lock().get(&id).map(Arc::clone);
        one.and_then(|one| {
            let state = one.state.try_read().ok()?;
            let index = state.as_ref()?.index.as_ref()?;
            let (answers, precision) = (index.state(), Some(index.precision()));
            Some(InMemory { answers, precision, bytes: index.memory().total() })
        })
        .unwrap_or(InMemory { answers: State::FromFile, precision: None, bytes: 0 })
    }

    /// Lets those go that were searched longest ago, but not `id`.
    fn keep_within(&self, id: i64) {
        let mut all = self.lock();
        loop {
            let bytes: usize = all.values().map(|one| one.bytes()).sum();
            if bytes <= self.settings.memory_budget {
                return;
            }
            let oldest = all
                .iter()
                .filter(|(other, one)| **other != id && one.bytes() > 0)
                .min_by_key(|(_, one)| one.used.load(Ordering::Relaxed))
                .map(|(other, _)| *other);
            let Some(oldest) = oldest else { return };
            all.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Arc<One>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// With what has changed since the graph was saved, where that was loaded.
    fn read(db: &Connection, info: &Info, loaded: &Loaded) -> Result<(Self, Option<usize>)> {
        let index = VectorIndex::new(info.space.dimensions(), &loaded.settings);
        let Read { count, changed } = loaded.files.read(db, info, &index)?;
        // All vectors have gone through the page cache, and will not be read again.
        db.execute_batch("PRAGMA shrink_memory")?;
        allocator::give_pages_back();
        let space = info.space.clone();
        let index = index.is_in_memory().then(|| Arc::new(index));
        let (revision, removed, filters) = (info.revision, info.removed, FilterSets::default());
        Ok((Self { space, revision, removed, count, index, filters }, changed))
    }

    fn is_of(&self, info: &Info) -> bool {
        self.space == info.space && self.revision == info.revision
    }

    /// Whether it is worth more than reading the collection again.
    fn can_catch_up(&self, info: &Info) -> bool {
        let removed = info.removed - self.removed;
        let many = removed > REMOVED && usize::try_from(removed).is_ok_and(|removed| removed > self.count / 4);
        self.space == info.space && self.revision <= info.revision && !many
    }

    /// With how many documents have changed.
    fn caught_up(mut self, db: &Connection, info: &Info, settings: &settings::Index) -> Result<(Self, usize)> {
        let since = std::mem::replace(&mut self.revision, info.revision);
        self.filters = FilterSets::default();
        let Some(index) = &self.index else { return Ok((self, 0)) };
        let mut written = db.prepare_cached(
            "SELECT d.key, v.vector FROM documents d INDEXED BY documents_written LEFT JOIN vectors v ON v.key = d.key
             WHERE d.collection = ?1 AND d.revision > ?2",
        )?;
        let mut rows = written.query([info.id, since])?;
        let (mut batch, mut gone) = (Batch::new(info.space.dimensions()), Vec::new());
        let mut changed = 0;
        while let Some(row) = rows.next()? {
            changed += 1;
            let key = row.get(0)?;
            if !batch.add(key, row.get_ref(1)?.as_blob().unwrap_or_default()) {
                gone.push(key);
            }
            if batch.keys.len() == BATCH {
                batch.put(index)?;
            }
        }
        batch.put(index)?;
        index.remove(&gone);
        if index.memory().total() > settings.memory_budget {
            self.count = index.len();
            self.index = None;
        }
        Ok((self, changed))
    }

    fn search(&self, db: &Connection, info: &Info, ask: &Ask<'_>) -> Result<Vec<Found>> {
        // Of the wrong length it is told so also where nothing is there to compare it with.
        vector::unit(ask.vector, info.space.dimensions())?;
        let Some(index) = &self.index else {
            let allowed = ask.filter.map(|filter| reading::keys(db, info.id, Some(filter), 0, None)).transpose()?;
            let mut found = Answer::new(ask, None);
            found.read(db, &scan::nearest(db, info.id, ask.vector, ask.k, allowed.as_deref())?)?;
            return Ok(found.documents);
        };
        let mut admitted =
            ask.filter.map(|filter| self.filters.admitted(db, info.id, filter, index.len())).transpose()?;
        let mut wanted = ask.k.saturating_add(ask.k / 2 + MORE);
        loop {
            let (allowed, asked) = match &admitted {
                None => (Allowed::All, None),
                Some(Admitted::Set(set)) => (Allowed::Documents(set), None),
                Some(Admitted::Many) => (Allowed::All, ask.filter),
            };
            let hits = index.nearest(ask.vector, wanted, By::Document, allowed)?;
            let all = hits.len() < wanted;
            let near = match index.precision() {
                // As exactly as the table has them.
                Precision::I16 => hits.iter().map(|hit| Near { key: hit.id, distance: hit.distance }).collect(),
                Precision::I8 => {
                    let keys: Vec<i64> = hits.iter().map(|hit| hit.id).collect();
                    scan::nearest(db, info.id, ask.vector, keys.len(), Some(&keys))?
                }
            };
            let mut found = Answer::new(ask, asked);
            found.read(db, &near)?;
            if found.is_whole || all {
                return Ok(found.documents);
            }
            let there: HashSet<i64> = near.iter().map(|near| near.key).collect();
            found.gone.extend(hits.iter().map(|hit| hit.id).filter(|key| !there.contains(key)));
            // Keys are never used again: what is not there now will never be.
            index.remove(&found.gone);
            wanted = wanted.saturating_mul(4);
            if asked.is_some() && wanted > MANY {
                // What it lets through is far from the query: its set is quicker than asking on.
                let filter = ask.filter.map(|filter| reading::admitted(db, info.id, filter)).transpose()?;
                admitted = filter.map(|set| Admitted::Set(Arc::new(set)));
                wanted = ask.k.saturating_add(ask.k / 2 + MORE);
            }
        }
    }
}

/// The documents of an answer, as they are read.
struct Answer<'a> {
    ask: &'a Ask<'a>,
    /// What each document is asked about.
    asked: Option<&'a Filter>,
    documents: Vec<Found>,
    /// Whether there are as many as were wanted, or what comes is too far.
    is_whole: bool,
    /// Those that are there no more.
    gone: Vec<i64>,
}

impl<'a> Answer<'a> {
    fn new(ask: &'a Ask<'a>, asked: Option<&'a Filter>) -> Self {
        Self { ask, asked, documents: Vec::new(), is_whole: ask.k == 0, gone: Vec::new() }
    }

    /// The next nearest.
    fn read(&mut self, db: &Connection, near: &[Near]) -> Result<()> {
        let mut documents = Documents::of(db, self.ask.include)?;
        for &Near { key, distance } in near {
            if self.is_whole {
                break;
            }
            if self.ask.max_distance.is_some_and(|max| distance > max) {
                self.is_whole = true;
                break;
            }
            if let Some(filter) = self.asked
                && !reading::holds(db, key, filter)?
            {
                continue;
            }
            match documents.read(key)? {
                Some(document) => self.documents.push(Found { document, distance }),
                None => self.gone.push(key),
            }
            self.is_whole = self.documents.len() == self.ask.k;
        }
        Ok(())
    }
}

/// Vectors on their way into an index.
struct Batch {
    dimensions: usize,
    keys: Vec<i64>,
    numbers: Vec<f32>,
}

impl Batch {
    fn new(dimensions: usize) -> Self {
        Self { dimensions, keys: Vec::with_capacity(BATCH), numbers: Vec::new() }
    }

    /// Takes a stored vector; not one that is damaged, or of another length: such a one is compared with nothing.
    fn add(&mut self, key: i64, blob: &[u8]) -> bool {
        let Ok(vector) = vector::from_blob(blob, self.dimensions) else { return false };
        self.keys.push(key);
        self.numbers.extend(vector);
        true
    }

    fn put(&mut self, index: &VectorIndex) -> Result<()> {
        let entries: Vec<Entry<'_>> = self
            .keys
            .iter()
            .zip(self.numbers.chunks_exact(self.dimensions.max(1)))
            .map(|(&key, vector)| Entry { id: key, group: key, vector })
            .collect();
        index.put(&entries)?;
        self.keys.clear();
        self.numbers.clear();
        Ok(())
    }
}
