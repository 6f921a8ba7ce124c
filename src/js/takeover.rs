//! `vectors.importChroma()`: the vectors of a Chroma directory.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::Argument,
    call::immediate,
    files::path,
    job::JobHandle,
    vectors::Vectors,
};
use crate::index::{
    chroma,
    takeover::{Progress, Report, Sample},
};

/// Options of `vectors.importChroma`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ImportChromaOptions {
    /// The collection's name. Default `'cm__claude-mem'`.
    pub collection: Option<String>,
    /// Chroma's database that it is in, where several have one of that name. Default: the only one, else
    /// `'default_database'`.
    pub database: Option<String>,
}

/// How far `vectors.importChroma()` is.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ImportChromaProgress {
    /// Documents looked at.
    pub done: f64,
    /// Documents in the collection.
    pub total: f64,
}

/// Documents that were not taken over for one reason.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct NotImported {
    /// `'stale'`, `'orphaned'`, or what is wrong with them in a few words.
    pub reason: String,
    /// How many.
    pub count: f64,
    /// The first few names.
    pub examples: Vec<String>,
}

/// How a sample of the vectors compares with those of the model in use.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ChromaSample {
    /// Documents embedded again.
    pub compared: f64,
    /// The median of the cosines; at least 0.99.
    pub median: f64,
    /// The least of them.
    pub least: f64,
}

/// What `vectors.importChroma()` has done.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ImportChromaReport {
    /// Documents in the collection; the sum of the next five.
    pub documents: f64,
    /// Vectors taken over.
    pub imported: f64,
    /// Documents that had a vector before.
    pub current: f64,
    /// Documents whose row has another text than the vector store had. The indexer embeds them.
    pub stale: f64,
    /// Documents without a row, or with a name that is none of claude-mem's.
    pub orphaned: f64,
    /// Documents that are damaged, or of the wrong size.
    pub rejected: f64,
    /// Why documents were not taken over, with examples.
    pub reasons: Vec<NotImported>,
    /// The sample; null where nothing was to be taken over.
    pub sample: Option<ChromaSample>,
}

object_answer!(Progress { done: "done", total: "total" });
object_answer!(Sample { compared: "compared", median: "median", least: "least" });

impl IntoAnswer for Report {
    fn into_answer(self) -> Answer {
        let Self { documents, imported, current, stale, orphaned, rejected, mut examples, sample } = self;
        let damaged: u64 = rejected.values().sum();
        let counted = [("stale", stale), ("orphaned", orphaned)].into_iter().filter(|(_, count)| *count > 0);
        let reasons = counted.chain(rejected).map(|(reason, count)| {
            let names = examples.remove(reason).unwrap_or_default();
            let names = Answer::List(names.into_iter().map(IntoAnswer::into_answer).collect());
            Answer::object(&["reason", "count", "examples"], [reason.into_answer(), count.into_answer(), names])
        });
        let reasons = Answer::List(reasons.collect());
        Answer::object(
            &["documents", "imported", "current", "stale", "orphaned", "rejected", "reasons", "sample"],
            [
                documents.into_answer(),
                imported.into_answer(),
                current.into_answer(),
                stale.into_answer(),
                orphaned.into_answer(),
                damaged.into_answer(),
                reasons,
                sample.into_answer(),
            ],
        )
    }
}

#[napi]
impl Vectors {
    /// Takes over the vectors of a Chroma directory (`chroma.sqlite3` and its index folders), as claude-mem's vector
    /// store left it, without Python and without embedding anything again but a sample. `await` it for the report; `for
    /// await` shows how far it is.
    ///
    /// A vector is taken where its document's row still has the text that the vector store kept with it. First up to 32
    /// documents are embedded with the model in use and compared: where the median cosine is below 0.99 it was another
    /// model, and nothing is taken. The directory is only read, from a private copy, and nothing in it is executed; a
    /// damaged document is left out and counted. Run again, it takes what is still missing; disposed, what it has taken
    /// stays.
    ///
    /// Throws `ERR_INVALID_ARG`, `ERR_NOT_OPEN` on a client and `ERR_DISPOSED`; rejects with `ERR_MODEL_MISMATCH`,
    /// `ERR_NO_MODEL`, `ERR_NOT_FOUND` where there is no such directory or collection (the message names those there
    /// are), `ERR_CORRUPT` naming the file and the place, `ERR_BUSY` while a Chroma process keeps writing, `ERR_IO` and
    /// `ERR_DISK_FULL`.
    #[napi(
        ts_args_type = "directory: string, options?: ImportChromaOptions | null",
        ts_return_type = "Job<ImportChromaProgress, ImportChromaReport>",
        catch_unwind
    )]
    pub fn import_chroma<'e>(
        &self,
        env: &'e Env,
        directory: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let directory = path("directory", &directory)?;
            let fields = Argument::new("options", &options).options(&["collection", "database"])?;
            let mut wanted = chroma::Options::default();
            if let Some(collection) = fields.read("collection", Argument::nonempty_text)? {
                wanted.collection = collection;
            }
            wanted.database = fields.read("database", Argument::nonempty_text)?;
            Ok(JobHandle::answer(self.memory.import_chroma(directory, wanted)?))
        })
    }
}
