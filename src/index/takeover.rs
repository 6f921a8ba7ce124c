//! Taking over the vectors of a Chroma directory, so that nothing of it has to be embedded again.
//!
//! A vector is taken where its document's row still has the very text that the vector store kept with it. First a
//! sample is embedded with the model in use: vectors of another model would be nearest to nothing.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{
    Index,
    chroma::{self, Chroma, Document, LeftOut},
    document::DocumentId,
    feed::Depth,
    indexer::Indexer,
    row::{Hash, text_hash},
    storage,
    sync::wait_for,
    table,
};
use crate::{
    db::Database,
    embedder::{Embedder, Priority},
    error::{Code, Error, Result},
    job::{Control, Job, Jobs},
    reply::wait,
};

/// Documents that are embedded and compared, at most.
const SAMPLE: usize = 32;
/// Bytes of a text in the sample at most: its tokens beyond the model's limit would count for nothing.
const SAMPLE_TEXT: usize = 4_096;
/// The least cosine at which two vectors are of one model. The same model stored with other precision keeps to 0.999.
const SAME_MODEL: f64 = 0.99;
/// Vectors handed over at once.
const BATCH: usize = 256;
/// Names kept as examples for each reason.
const EXAMPLES: usize = 5;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Documents of the directory that were looked at.
    pub done: u64,
    /// Documents in the directory, as far as is known.
    pub total: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Documents in the directory.
    pub documents: u64,
    /// Vectors taken over.
    pub imported: u64,
    /// Documents that had a vector already: nothing to do.
    pub current: u64,
    /// The row has another text by now, or the vector store had; left to the indexer.
    pub stale: u64,
    /// No row has such a document, or its name is none of ours.
    pub orphaned: u64,
    /// Left out by what is wrong with them, in words.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The first few names of what was not taken, by `stale`, `orphaned` and the words of `rejected`.
    pub examples: BTreeMap<&'static str, Vec<String>>,
    /// The sample, where there was one.
    pub sample: Option<Sample>,
}

/// How the sample's vectors compare with those of the model in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Documents embedded.
    pub compared: usize,
    /// The median of their cosines.
    pub median: f64,
    /// The least of them: of a document whose vector is not of its text, say.
    pub least: f64,
}

/// What the index knows of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// `documents.id`
    pub document: i64,
    /// Of its text.
    pub text_hash: Hash,
    /// Whether it has a vector already.
    pub has_vector: bool,
}

/// A vector for a document whose text has this hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// `documents.id`
    pub document: i64,
    /// The text that it is of: where the row has another one by then it is not stored.
    pub text_hash: Hash,
    /// Of the model's dimensions and unit length.
    pub vector: Vec<f32>,
}

/// Where the vectors go.
pub trait Target {
    /// What is known of a document.
    ///
    /// # Errors
    /// What the index answers.
    fn known(&mut self, id: DocumentId) -> Result<Option<Known>>;

    /// Stores vectors; how many were still wanted.
    ///
    /// # Errors
    /// What the index answers.
    fn store(&mut self, taken: Vec<Taken>) -> Result<u64>;
}

impl Index {
    /// Takes over the vectors of a Chroma directory, which is only read; see [`run`].
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` on a client, `ERR_DISPOSED`, `ERR_IO` where no thread can be started. The job's own are those of
    /// [`chroma::open`] and [`run`].
    pub fn import_chroma(
        self: &Arc<Self>,
        jobs: &Jobs,
        directory: PathBuf,
        options: chroma::Options,
    ) -> Result<Job<Progress, Report>> {
        if !self.writes() {
            return Err(super::only_the_owner("vectors.importChroma()"));
        }
        let index = Arc::clone(self);
        jobs.start("import-chroma", move |control| {
            // Its private copies lie beside our own files: on the same disk, and as private.
            let scratch = options.scratch.clone().or_else(|| index.shared.path.parent().map(PathBuf::from));
            // Rows first: what they have not is orphaned.
            wait_for(control, || (), |reply| index.feed(Depth::Everything, reply))?;
            let mut chroma = chroma::open(&directory, &chroma::Options { scratch, ..options })?;
            // Vectors that are stored already are compared with the model too, before others join them.
            index.query_vector("a")?;
            let mut target = Table { db: storage::open_reader(&index.shared.path, false)?, index: &index };
            run(&mut chroma, &mut target, &**index.embedder(), control)
        })
    }
}

/// The index as a target.
struct Table<'i> {
    db: Database,
    index: &'i Index,
}

impl Target for Table<'_> {
    fn known(&mut self, id: DocumentId) -> Result<Option<Known>> {
        let found = table::find(&self.db, id)?;
        Ok(found.map(|(document, owed, text_hash)| Known { document, text_hash, has_vector: !owed }))
    }

    fn store(&mut self, taken: Vec<Taken>) -> Result<u64> {
        wait(|reply| self.index.run("vectors.importChroma()", move |indexer: &mut Indexer| indexer.adopt(taken), reply))
    }
}

/// Takes over what can be. Vectors that were stored before an error or a cancellation stay: another run goes on
/// behind them.
///
/// # Errors
/// `ERR_MODEL_MISMATCH` where the sample is of another model; `ERR_NO_MODEL` where there is none to compare with; those
/// of the directory and of the index.
pub fn run(
    chroma: &mut Chroma,
    target: &mut dyn Target,
    embedder: &dyn Embedder,
    control: &Control<'_, Progress>,
) -> Result<Report> {
    let dimensions = embedder.identity().dimensions;
    if let Some(found) = chroma.collection().dimension.filter(|found| *found != dimensions) {
        return Err(mismatch(format!(
            "the vectors of collection '{}' have {found} dimensions, those of the model in use have {dimensions}",
            chroma.collection().name
        )));
    }
    let (total, sample) = look_through(chroma, target, control)?;
    let sample = compare(&sample, embedder, control)?;
    let mut report = Report { sample, ..Report::default() };
    let mut batch = Vec::with_capacity(BATCH);
    let mut documents = chroma.documents();
    for document in documents.by_ref() {
        let document = document?;
        report.documents += 1;
        match judge(&document, target)? {
            Verdict::Current => report.current += 1,
            Verdict::Stale => report.left("stale", &document.id, |report| &mut report.stale),
            Verdict::Orphaned => report.left("orphaned", &document.id, |report| &mut report.orphaned),
            Verdict::Wanted(known) => {
                let Known { document: id, text_hash, .. } = known;
                batch.push(Taken { document: id, text_hash, vector: document.vector });
            }
        }
        if batch.len() == BATCH {
            report.store(target, &mut batch)?;
            control.check()?;
            control.report(Progress { done: report.documents, total });
        }
    }
    report.store(target, &mut batch)?;
    for reason in LeftOut::ALL {
        let (found, words) = (documents.report(), reason.as_str());
        let count = found.left_out(reason);
        // A vector without a document was deleted from the one and not from the other: it is nobody's.
        if count > 0 {
            report.documents += count;
            report.rejected.insert(words, count);
            report.examples.insert(words, found.examples(reason).to_vec());
        }
    }
    control.report(Progress { done: report.documents, total: report.documents });
    Ok(report)
}

enum Verdict {
    Current,
    Stale,
    Orphaned,
    Wanted(Known),
}

fn judge(document: &Document, target: &mut dyn Target) -> Result<Verdict> {
    let Ok(id) = document.id.parse::<DocumentId>() else { return Ok(Verdict::Orphaned) };
    let Some(known) = target.known(id)? else { return Ok(Verdict::Orphaned) };
    let same = document.text.as_deref().is_some_and(|text| text_hash(text) == known.text_hash);
    Ok(match (known.has_vector, same) {
        (true, _) => Verdict::Current,
        (false, true) => Verdict::Wanted(known),
        (false, false) => Verdict::Stale,
    })
}

/// Texts, each with the vector that was stored for it.
type Pairs = Vec<(String, Vec<f32>)>;

/// Counts the documents, and picks the sample: wanted ones, evenly over the whole collection.
fn look_through(chroma: &mut Chroma, target: &mut dyn Target, control: &Control<'_, Progress>) -> Result<(u64, Pairs)> {
    let (mut total, mut wanted, mut stride) = (0_u64, 0_usize, 1_usize);
    let mut sample = Vec::with_capacity(2 * SAMPLE);
    for document in chroma.documents() {
        let document = document?;
        total += 1;
        if total.is_multiple_of(1_024) {
            control.check()?;
        }
        if !matches!(judge(&document, target)?, Verdict::Wanted(_)) {
            continue;
        }
        if wanted.is_multiple_of(stride) {
            if let Some(text) = document.text.filter(|text| text.len() <= SAMPLE_TEXT) {
                sample.push((text, document.vector));
            }
            if sample.len() == 2 * SAMPLE {
                // Twice as many as are wanted, of twice as many documents: every other one goes.
                let mut keep = false;
                sample.retain(|_| {
                    keep = !keep;
                    keep
                });
                stride *= 2;
            }
        }
        wanted += 1;
    }
    // What is left lies between half and all of twice the size: thinned evenly once more.
    let step = sample.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<_> = sample.into_iter().step_by(step).collect();
    if sample.is_empty() && wanted > 0 {
        return Err(mismatch(format!(
            "none of the {wanted} documents that could be taken over has a text of at most {SAMPLE_TEXT} bytes to compare the model with"
        )));
    }
    Ok((total, sample))
}

fn compare(
    sample: &[(String, Vec<f32>)],
    embedder: &dyn Embedder,
    control: &Control<'_, Progress>,
) -> Result<Option<Sample>> {
    let mut cosines = Vec::with_capacity(sample.len());
    // In small steps, so that a cancellation is noticed.
    for part in sample.chunks(8) {
        control.check()?;
        let texts: Vec<&str> = part.iter().map(|(text, _)| text.as_str()).collect();
        let made = embedder.embed(&texts, Priority::Document)?;
        cosines.extend(part.iter().zip(made).map(|((_, theirs), ours)| cosine(theirs, &ours)));
    }
    cosines.sort_by(f64::total_cmp);
    let (Some(&least), Some(&median)) = (cosines.first(), cosines.get(cosines.len() / 2)) else { return Ok(None) };
    if median < SAME_MODEL {
        return Err(mismatch(format!(
            "the vectors of this directory are not of the model in use, {}: of {} texts embedded again the median cosine is {median:.4}, wanted are {SAME_MODEL}",
            embedder.identity().name,
            cosines.len(),
        )));
    }
    Ok(Some(Sample { compared: cosines.len(), median, least }))
}

fn mismatch(what: String) -> Error {
    Error::new(
        Code::ModelMismatch,
        format!(
            "{what}; nothing was taken over: open the memory with the model that made them, or have everything embedded again by vectors.sync()"
        ),
    )
}

/// Both are of finite numbers, and not zero.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

impl Report {
    fn left(&mut self, why: &'static str, id: &str, counter: impl Fn(&mut Self) -> &mut u64) {
        *counter(self) += 1;
        let examples = self.examples.entry(why).or_default();
        if examples.len() < EXAMPLES {
            examples.push(id.to_owned());
        }
    }

    fn store(&mut self, target: &mut dyn Target, batch: &mut Vec<Taken>) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let offered = batch.len() as u64;
        let stored = target.store(std::mem::take(batch))?;
        self.imported += stored;
        // The row has changed, or was embedded, between the look and the store.
        self.stale += offered.saturating_sub(stored);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        path::{Path, PathBuf},
        sync::Arc,
    };

    use super::*;
    use crate::{
        embedder::{Availability, Identity, testing::Words},
        index::{
            document::Kind,
            row::{SourceRow, query},
        },
    };

    /// A fixture's path; prints why the test is skipped where it is absent.
    fn fixture(name: &str) -> Option<PathBuf> {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")).join(name);
        if path.exists() {
            return Some(path);
        }
        eprintln!("skipped: {} is not here", path.display());
        None
    }

    /// The model of the directory, as far as its texts go: it knows their vectors by heart.
    struct ByHeart {
        identity: Identity,
        vectors: HashMap<String, Vec<f32>>,
    }

    impl Embedder for ByHeart {
        fn identity(&self) -> &Identity {
            &self.identity
        }

        fn availability(&self) -> Availability {
            Availability::Loaded
        }

        fn embed(&self, texts: &[&str], _: Priority) -> Result<Vec<Vec<f32>>> {
            Ok(texts.iter().map(|text| self.vectors[*text].clone()).collect())
        }

        fn query(&self, text: &str) -> Result<Arc<[f32]>> {
            Ok(self.vectors[text].clone().into())
        }

        fn memory_bytes(&self) -> usize {
            0
        }
    }

    #[derive(Default)]
    struct Documents {
        known: HashMap<DocumentId, Known>,
        vectors: HashMap<i64, Vec<f32>>,
    }

    impl Target for Documents {
        fn known(&mut self, id: DocumentId) -> Result<Option<Known>> {
            let known = self.known.get(&id).copied();
            Ok(known.map(|known| Known { has_vector: self.vectors.contains_key(&known.document), ..known }))
        }

        fn store(&mut self, taken: Vec<Taken>) -> Result<u64> {
            let stored = taken.len() as u64;
            self.vectors.extend(taken.into_iter().map(|taken| (taken.document, taken.vector)));
            Ok(stored)
        }
    }

    fn documents_of(database: &Path) -> Documents {
        let db = rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut documents = Documents::default();
        for kind in Kind::ALL {
            let mut statement = db.prepare(query(kind)).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let row = SourceRow::read(kind, row).unwrap();
                for text in row.documents() {
                    let document = i64::try_from(documents.known.len()).unwrap();
                    let known = Known { document, text_hash: text_hash(&text.text), has_vector: false };
                    documents.known.insert(DocumentId { row_id: row.id, field: text.field, part: text.part }, known);
                }
            }
        }
        documents
    }

    fn taken_over(directory: &Path, target: &mut Documents, embedder: Arc<dyn Embedder>) -> Result<Report> {
        let mut chroma = chroma::open(directory, &chroma::Options::default())?;
        let mut mine = std::mem::take(target);
        let job = Job::start("test", move |control| {
            let report = run(&mut chroma, &mut mine, &*embedder, control);
            Ok((report, mine.known, mine.vectors))
        })?;
        let (report, known, vectors) = wait(|reply| job.result(reply))?;
        *target = Documents { known, vectors };
        report
    }

    #[test]
    fn every_document_whose_text_is_current_is_taken_over_once() {
        let (Some(directory), Some(database)) = (fixture("chroma"), fixture("claude-mem-6.0.2.db")) else { return };
        let mut chroma = chroma::open(&directory, &chroma::Options::default()).unwrap();
        let identity = Words::new(384).identity().clone();
        let read: Vec<Document> = chroma.documents().collect::<Result<_>>().unwrap();
        let vectors: HashMap<_, _> =
            read.iter().map(|document| (document.text.clone().unwrap(), document.vector.clone())).collect();
        let embedder: Arc<dyn Embedder> = Arc::new(ByHeart { identity, vectors });
        let mut target = documents_of(&database);
        let report = taken_over(&directory, &mut target, Arc::clone(&embedder)).unwrap();
        assert_eq!((report.documents, report.imported, report.stale, report.orphaned), (3_155, 3_154, 1, 0));
        assert_eq!((report.current, report.rejected.len()), (0, 0));
        assert_eq!(report.examples["stale"], ["obs_162_fact_0"]);
        let sample = report.sample.unwrap();
        assert!((17..=32).contains(&sample.compared) && sample.median > 0.999, "{sample:?}");
        for document in &read {
            let known = target.known[&document.id.parse::<DocumentId>().unwrap()];
            match target.vectors.get(&known.document) {
                Some(vector) => assert_eq!(vector, &document.vector),
                None => assert_eq!(document.id, "obs_162_fact_0"),
            }
        }
        let again = taken_over(&directory, &mut target, embedder).unwrap();
        assert_eq!((again.imported, again.current, again.stale), (0, 3_154, 1), "idempotent");
        assert_eq!(again.sample, None, "nothing to compare for");
    }

    #[test]
    fn vectors_of_another_model_are_refused_before_anything_is_stored() {
        let (Some(directory), Some(database)) = (fixture("chroma-small"), fixture("claude-mem-6.0.2.db")) else {
            return;
        };
        let mut target = documents_of(&database);
        for (dimensions, said) in [(384, "median cosine"), (64, "384 dimensions")] {
            let refused = taken_over(&directory, &mut target, Arc::new(Words::new(dimensions))).unwrap_err();
            assert_eq!(refused.code, Code::ModelMismatch);
            assert!(
                refused.message.contains(said) && refused.message.contains("nothing was taken over"),
                "{refused:?}"
            );
            assert!(target.vectors.is_empty());
        }
    }

    #[test]
    fn rows_that_are_gone_leave_orphans_behind() {
        let Some(directory) = fixture("chroma-small") else { return };
        let report = taken_over(&directory, &mut Documents::default(), Arc::new(Words::new(384))).unwrap();
        assert_eq!((report.documents, report.orphaned, report.imported), (300, 300, 0));
        assert_eq!(report.examples["orphaned"].len(), EXAMPLES);
    }
}
