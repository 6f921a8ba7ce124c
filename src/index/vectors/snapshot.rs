//! The graph in a file, so that it need not be built again at the next start.
//!
//! A snapshot holds no vector: they are read from the table, which is the truth. It holds the graph, which slot each
//! document had, and a fingerprint of the vector that it was placed by. So it can be told exactly what the table has
//! changed since; that is added to the graph like anything new, and nothing that has gone is found. A snapshot that is
//! damaged, of something else, or too far behind is refused, and the graph built anew.
//!
//! Below [`THRESHOLD`](super::THRESHOLD) there is no graph and no snapshot: reading the table is all there is to do.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufReader, Read, Write},
    path::Path,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{VectorIndex, contents::Contents, filling::Visit, graph::Graph, slots, slots::Slot, vector};
use crate::{
    error::{Code, Error, Result},
    settings::Precision,
};

/// The beginning of a file: "cmVECS" and the version of its format.
const MAGIC: [u8; 8] = *b"cmVECS01";

/// Beginning, slots, documents, bytes of the graph.
const HEADER: usize = 8 + 3 * 8;

/// Slot, id and fingerprint of a document.
const ENTRY: usize = 4 + 8 + 8;

/// What is known of a snapshot, to be kept in the database that it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The file's name in its folder: `<name>-<generation>.usearch`.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub checksum: String,
    /// Its length.
    pub bytes: u64,
    /// Documents in it.
    pub documents: usize,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// How the vectors were kept.
    pub precision: Precision,
    /// The identity of the model that made them.
    pub model: String,
}

impl SnapshotInfo {
    /// As one line of text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "file": self.file,
            "checksum": self.checksum,
            "bytes": self.bytes,
            "documents": self.documents,
            "dimensions": self.dimensions,
            "precision": precision_name(self.precision),
            "model": self.model,
        })
        .to_string()
    }

    /// From that text.
    ///
    /// # Errors
    /// `ERR_CORRUPT` where it is none.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = || Error::new(Code::Corrupt, "the note about the vector snapshot cannot be read");
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| wrong())?;
        let string = |name: &str| value[name].as_str().map(str::to_owned).ok_or_else(wrong);
        let number = |name: &str| value[name].as_u64().ok_or_else(wrong);
        let size = |name: &str| number(name).and_then(|number| usize::try_from(number).map_err(|_| wrong()));
        Ok(Self {
            file: string("file")?,
            checksum: string("checksum")?,
            bytes: number("bytes")?,
            documents: size("documents")?,
            dimensions: size("dimensions")?,
            precision: match value["precision"].as_str() {
                Some("i16") => Precision::I16,
                Some("i8") => Precision::I8,
                _ => return Err(wrong()),
            },
            model: string("model")?,
        })
    }
}

const fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::I16 => "i16",
        Precision::I8 => "i8",
    }
}

impl VectorIndex {
    /// Writes the graph into a new file of `folder`, `<name>-<generation>.usearch`, and answers what has to be noted in
    /// the database; `None` where there is no graph, or so much of it is out of date that it is being built anew.
    /// Searches go on. Older files stay until [`keep_only`].
    ///
    /// # Errors
    /// `ERR_DISK_FULL`, `ERR_IO`, `ERR_READ_ONLY`: no file is left behind then.
    pub fn save(&self, folder: &Path, name: &str, model: &str) -> Result<Option<SnapshotInfo>> {
        let written = {
            let contents = self.shared.read();
            let Some(graph) = contents.graph.as_ref().filter(|_| contents.is_worth_keeping(contents.slots.dead()))
            else {
                return Ok(None);
            };
            Written::of(&contents, graph.save())
        };
        let path = |generation: u64| format!("{name}-{generation}.usearch");
        let generation = generations(folder, name)?.into_iter().max().unwrap_or(0) + 1;
        let mut file = tempfile::Builder::new().prefix(&format!("{name}-")).suffix(".tmp").tempfile_in(folder)?;
        let mut hash = Sha256::new();
        let mut bytes = 0;
        for part in [&written.head, &written.graph] {
            file.write_all(part)?;
            hash.update(part);
            bytes += part.len() as u64;
        }
        file.as_file().sync_all()?;
        let path = path(generation);
        file.persist(folder.join(&path)).map_err(|error| error.error)?;
        // The name is on the disk too.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(Some(SnapshotInfo {
            file: path,
            checksum: hexadecimal(&hash.finalize()),
            bytes,
            documents: written.documents,
            dimensions: self.shared.dimensions,
            precision: written.precision,
            model: model.to_owned(),
        }))
    }

    /// As [`Self::fill`], with the graph of a snapshot in place of building one. What the table has changed since is
    /// taken from the table, so that the answers are as after a fill.
    ///
    /// # Errors
    /// `ERR_CORRUPT` where the file is missing, is not byte for byte what was written, was made from vectors of another
    /// model, length or precision, or where more than an eighth of it is out of date; nothing has changed then, and
    /// [`Self::fill`] is what to do. Those of the [`Source`](super::Source).
    pub fn load(&self, folder: &Path, info: &SnapshotInfo, model: &str) -> Result<usize> {
        match &self.shared.source {
            Some(source) => self.load_from(|visit| source.scan(visit), folder, info, model),
            None => Ok(self.len()),
        }
    }

    /// As [`Self::load`], of a table that the index does not keep: see [`Self::fill_from`].
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_from(
        &self,
        scan: impl FnOnce(Visit<'_>) -> Result<()>,
        folder: &Path,
        info: &SnapshotInfo,
        model: &str,
    ) -> Result<usize> {
        let shared = &self.shared;
        if info.dimensions != shared.dimensions || info.model != model {
            return Err(refused(&format!(
                "was made from vectors of {} with {} numbers; these are of {model} with {}",
                info.model, info.dimensions, shared.dimensions
            )));
        }
        let file = verified(&folder.join(&info.file), info)?;
        let read = Snapshot::parse(&file, info)?;
        let graph = Graph::load(shared.settings.expansion, read.graph, read.slots)?;

        let mut filled = shared.read().emptied(shared.settings.precision);
        let empty = vec![0.0; shared.dimensions];
        for _ in 0..read.slots {
            filled.slots.add_dead();
            filled.blocks.push(&empty);
        }
        // First every vector goes to where the snapshot had it; whether it still is that one is asked once it is known
        // how many bits are kept.
        let mut found = Vec::with_capacity(read.entries.len());
        let mut vector = empty;
        let mut fits = true;
        let mut rows = 0_usize;
        scan(&mut |row| {
            if fits {
                vector::read_blob(row.blob, &mut vector)?;
                if let Some(&(slot, fingerprint)) = read.entries.get(&row.id) {
                    filled.blocks.set(slot, &vector);
                    found.push((slot, fingerprint, row.id, row.group));
                } else {
                    filled.put(row.id, row.group, &vector)?;
                }
                rows += 1;
                fits = !rows.is_multiple_of(1_024) || filled.keep_within_budget();
            }
            Ok(())
        })?;
        if !fits {
            return Err(refused("is of more vectors than vectorMemoryBudget allows"));
        }
        if filled.blocks.precision() != info.precision {
            return Err(refused(&format!("is of vectors kept as {}", precision_name(info.precision))));
        }
        for (slot, fingerprint, id, group) in found {
            if filled.blocks.fingerprint(slot) == fingerprint {
                filled.slots.revive(slot, id, group);
            } else {
                let vector = filled.blocks.get(slot);
                filled.put(id, group, &vector)?;
            }
        }
        let gone = filled.slots.dead();
        if !filled.is_worth_keeping(gone) {
            return Err(refused(&format!("is too old: {gone} of its {} places lead to nothing", read.slots)));
        }
        filled.graph = Some(Arc::new(graph));
        filled.recent = filled.slots.all(Slot::Pending).collect();
        if !filled.keep_within_budget() {
            return Err(refused("is of more vectors than vectorMemoryBudget allows"));
        }
        filled.loaded = true;
        let count = filled.slots.live();
        *shared.write() = filled;
        shared.build_in_background();
        Ok(count)
    }
}

/// The name of a snapshot, of a file that is one or was to become one.
#[must_use]
pub fn name_of(file: &str) -> Option<&str> {
    let (name, rest) = file.rsplit_once('-')?;
    (rest.ends_with(".tmp") || generation_of(file, name).is_some()).then_some(name)
}

/// Removes all snapshots called `name` from a folder but one, and what unfinished ones have left.
///
/// # Errors
/// `ERR_IO`, `ERR_READ_ONLY`.
pub fn keep_only(folder: &Path, name: &str, kept: Option<&SnapshotInfo>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name();
        let Some(file) = file.to_str() else { continue };
        let ours = generation_of(file, name).is_some()
            || file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".tmp"));
        if ours && kept.is_none_or(|kept| kept.file != file) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn generations(folder: &Path, name: &str) -> Result<Vec<u64>> {
    let mut generations = Vec::new();
    for entry in fs::read_dir(folder)? {
        generations.extend(entry?.file_name().to_str().and_then(|file| generation_of(file, name)));
    }
    Ok(generations)
}

fn generation_of(file: &str, name: &str) -> Option<u64> {
    file.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".usearch")?.parse().ok()
}

/// What is to be written.
struct Written {
    head: Vec<u8>,
    graph: Vec<u8>,
    documents: usize,
    precision: Precision,
}

impl Written {
    fn of(contents: &Contents, graph: Vec<u8>) -> Self {
        let mut head = Vec::with_capacity(HEADER + contents.slots.live() * ENTRY);
        head.extend(MAGIC);
        head.extend((contents.slots.len() as u64).to_le_bytes());
        let indexed = contents.slots.live() - contents.slots.pending();
        head.extend((indexed as u64).to_le_bytes());
        head.extend((graph.len() as u64).to_le_bytes());
        for slot in contents.slots.all(Slot::Indexed) {
            head.extend(slot.to_le_bytes());
            head.extend(contents.slots.id(slot).to_le_bytes());
            head.extend(contents.blocks.fingerprint(slot).to_le_bytes());
        }
        Self { head, graph, documents: indexed, precision: contents.blocks.precision() }
    }
}

/// What is read.
struct Snapshot<'a> {
    slots: usize,
    /// Slots and fingerprints of documents.
    entries: HashMap<i64, (u32, u64)>,
    graph: &'a [u8],
}

impl<'a> Snapshot<'a> {
    /// Takes a verified file apart. It is ours, byte for byte; what is checked here guards against our own mistakes.
    fn parse(file: &'a [u8], info: &SnapshotInfo) -> Result<Self> {
        let wrong = || refused("contradicts itself");
        let (head, rest) = file.split_at_checked(HEADER).ok_or_else(wrong)?;
        let (magic, numbers) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(refused("is of another version"));
        }
        let (numbers, _) = numbers.as_chunks::<8>();
        let number = |place: usize| usize::try_from(u64::from_le_bytes(numbers[place])).map_err(|_| wrong());
        let (slots, documents, graph_bytes) = (number(0)?, number(1)?, number(2)?);
        let entries_bytes = documents.checked_mul(ENTRY).ok_or_else(wrong)?;
        let (entries, graph) = rest.split_at_checked(entries_bytes).ok_or_else(wrong)?;
        if graph.len() != graph_bytes || documents != info.documents || slots > slots::MAX || documents > slots {
            return Err(wrong());
        }
        let mut map = HashMap::with_capacity(documents);
        let mut taken = vec![false; slots];
        for entry in entries.as_chunks::<ENTRY>().0 {
            let (slot, rest) = entry.split_first_chunk::<4>().ok_or_else(wrong)?;
            let (id, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
            let fingerprint = rest.first_chunk::<8>().ok_or_else(wrong)?;
            let slot = u32::from_le_bytes(*slot);
            let place = taken.get_mut(slot as usize).ok_or_else(wrong)?;
            let known = map.insert(i64::from_le_bytes(*id), (slot, u64::from_le_bytes(*fingerprint)));
            if std::mem::replace(place, true) || known.is_some() {
                return Err(wrong());
            }
        }
        Ok(Self { slots, entries: map, graph })
    }
}

/// The whole file, which is what its checksum says.
fn verified(path: &Path, info: &SnapshotInfo) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| refused(&format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length != info.bytes {
        return Err(refused(&format!("has {length} bytes in place of {}", info.bytes)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    BufReader::new(file).take(length).read_to_end(&mut bytes).map_err(unreadable)?;
    if hexadecimal(&Sha256::digest(&bytes)) != info.checksum {
        return Err(refused("is damaged: its checksum is another"));
    }
    Ok(bytes)
}

fn refused(why: &str) -> Error {
    Error::new(Code::Corrupt, format!("the vector snapshot {why}; it is made anew"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
