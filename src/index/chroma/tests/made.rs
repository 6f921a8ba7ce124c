//! Directories made by hand, with what a test needs of either generation.

use std::path::Path;

use rusqlite::{Connection, ToSql, params};

use super::{
    super::{Chroma, Document, Report, Writer},
    Options, Result, age, open, read, write_old,
};

pub(super) const COLLECTION: &str = "11111111-2222-4333-8444-555555555555";
pub(super) const SEGMENT: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
const METADATA: &str = "99999999-8888-4777-8666-555555555555";
/// Components of a vector, and links of a row at level 0.
pub(super) const DIMENSION: usize = 4;
const M: u64 = 2;
const ROW_BYTES: usize = 4 + 4 * 2 * M as usize + 4 * DIMENSION + 8;

/// A directory in the making; the database is written at once, the index when it is given.
pub(super) struct Made {
    pub directory: tempfile::TempDir,
    pub db: Connection,
    writer: Writer,
}

/// A row of the index: label, deleted, vector.
pub(super) type Row = (u64, bool, [f32; DIMENSION]);

/// A vector of unit length that `number` can be told from.
pub(super) fn vector(number: u16) -> [f32; DIMENSION] {
    let angle = f32::from(number) / 100.0;
    [angle.cos(), angle.sin(), 0.0, 0.0]
}

impl Made {
    pub fn by(writer: Writer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = Connection::open(directory.path().join("chroma.sqlite3")).unwrap();
        let seq = if writer == Writer::V0 { "BLOB NOT NULL" } else { "INTEGER" };
        db.execute_batch(&format!(
            "CREATE TABLE databases (id TEXT PRIMARY KEY, name TEXT NOT NULL, tenant_id TEXT NOT NULL);
             CREATE TABLE collections (id TEXT PRIMARY KEY, name TEXT NOT NULL, dimension INTEGER,
                database_id TEXT NOT NULL, config_json_str TEXT);
             CREATE TABLE collection_metadata (collection_id TEXT, key TEXT NOT NULL, str_value TEXT,
                PRIMARY KEY (collection_id, key));
             CREATE TABLE segments (id TEXT PRIMARY KEY, type TEXT NOT NULL, scope TEXT NOT NULL,
                collection TEXT NOT NULL);
             CREATE TABLE max_seq_id (segment_id TEXT PRIMARY KEY, seq_id {seq});
             CREATE TABLE embeddings (id INTEGER PRIMARY KEY, segment_id TEXT NOT NULL, embedding_id TEXT NOT NULL,
                seq_id BLOB NOT NULL, UNIQUE (segment_id, embedding_id));
             CREATE TABLE embedding_metadata (id INTEGER, key TEXT NOT NULL, string_value TEXT, int_value INTEGER,
                float_value REAL, bool_value INTEGER, PRIMARY KEY (id, key));
             CREATE TABLE embeddings_queue (seq_id INTEGER PRIMARY KEY, operation INTEGER NOT NULL,
                topic TEXT NOT NULL, id TEXT NOT NULL, vector BLOB, encoding TEXT, metadata TEXT);
             INSERT INTO databases VALUES ('0', 'default_database', 'default_tenant');
             INSERT INTO collections VALUES ('{COLLECTION}', 'cm__claude-mem', {DIMENSION}, '0', '{{}}');
             INSERT INTO segments VALUES
                ('{SEGMENT}', 'urn:chroma:segment/vector/hnsw-local-persisted', 'VECTOR', '{COLLECTION}'),
                ('{METADATA}', 'urn:chroma:segment/metadata/sqlite', 'METADATA', '{COLLECTION}');"
        ))
        .unwrap();
        Self { directory, db, writer }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// As this generation stores it.
    fn seq(&self, seq: i64) -> Box<dyn ToSql> {
        match self.writer {
            Writer::V0 => Box::new(seq.to_be_bytes().to_vec()),
            Writer::V1 => Box::new(seq),
        }
    }

    /// A document in `embeddings`, last written by `seq`.
    pub fn document(&self, id: &str, seq: i64) -> i64 {
        let sql = "INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES (?1, ?2, ?3)";
        self.db.execute(sql, params![METADATA, id, self.seq(seq)]).unwrap();
        let row = self.db.last_insert_rowid();
        let sql = "INSERT INTO embedding_metadata (id, key, string_value) VALUES (?1, 'chroma:document', ?2)";
        self.db.execute(sql, params![row, format!("text of {id}")]).unwrap();
        row
    }

    /// An entry of the log: 0 add, 1 update, 2 upsert, 3 delete.
    pub fn log(&self, seq: i64, operation: i64, id: &str, vector: Option<[f32; DIMENSION]>) {
        let bytes = vector.map(|vector| vector.map(f32::to_le_bytes).concat());
        self.log_bytes(seq, operation, id, bytes.as_deref(), "FLOAT32");
    }

    pub fn log_bytes(&self, seq: i64, operation: i64, id: &str, vector: Option<&[u8]>, encoding: &str) {
        let topic = format!("persistent://default/default/{COLLECTION}");
        let encoding = vector.map(|_| encoding);
        let sql = "INSERT INTO embeddings_queue VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}')";
        self.db.execute(sql, params![seq, operation, topic, id, vector, encoding]).unwrap();
    }

    /// The index files, which include the log up to `upto`.
    pub fn index(&self, rows: &[Row], ids: &[(&str, u64)], upto: i64) {
        let pickle = match self.writer {
            Writer::V0 => instance_pickle(ids),
            Writer::V1 => plain_pickle(ids),
        };
        self.index_files(rows, &pickle);
        let sql = "INSERT INTO max_seq_id VALUES (?1, ?2)";
        self.db.execute(sql, params![SEGMENT, self.seq(upto)]).unwrap();
    }

    pub fn index_files(&self, rows: &[Row], pickle: &[u8]) {
        let folder = self.path().join(SEGMENT);
        std::fs::create_dir_all(&folder).unwrap();
        write_old(&folder.join("header.bin"), &header(rows.len() as u64));
        write_old(&folder.join("data_level0.bin"), &data(rows));
        write_old(&folder.join("index_metadata.pickle"), pickle);
    }

    pub fn open(&self) -> Result<Chroma> {
        age(&self.path().join("chroma.sqlite3"));
        open(self.path(), &Options::default())
    }

    pub fn read(&self) -> Result<(Vec<Document>, Report)> {
        read(&mut self.open()?)
    }
}

pub(super) fn header(rows: u64) -> Vec<u8> {
    let vector = 4 + 4 * 2 * M;
    let label = vector + 4 * DIMENSION as u64;
    let mut bytes = 1_i32.to_le_bytes().to_vec();
    // The capacity lies, as one real file's does.
    for size in [0, 1, rows, ROW_BYTES as u64, label, vector] {
        bytes.extend(size.to_le_bytes());
    }
    bytes.extend((if rows > 0 { 0_i32 } else { -1 }).to_le_bytes());
    bytes.extend((if rows > 0 { 0_u32 } else { u32::MAX }).to_le_bytes());
    for size in [M, 2 * M, M] {
        bytes.extend(size.to_le_bytes());
    }
    bytes.extend((1.0 / (M as f64).ln()).to_le_bytes());
    bytes.extend(100_u64.to_le_bytes());
    bytes
}

pub(super) fn data(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, (label, deleted, vector)) in rows.iter().enumerate() {
        let links = u16::from(rows.len() > 1);
        bytes.extend(links.to_le_bytes());
        bytes.extend([u8::from(*deleted), 0]);
        let neighbour = u32::from(number == 0);
        bytes.extend([neighbour, 0, 0, 0].map(u32::to_le_bytes).concat());
        bytes.extend(vector.map(f32::to_le_bytes).concat());
        bytes.extend(label.to_le_bytes());
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'X');
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn number(bytes: &mut Vec<u8>, number: u64) {
    bytes.push(b'J');
    bytes.extend((number as i32).to_le_bytes());
}

/// As 1.x writes it: protocol 3, a dictionary, each text in full.
pub(super) fn plain_pickle(ids: &[(&str, u64)]) -> Vec<u8> {
    let mut bytes = vec![0x80, 3, b'}', b'('];
    text(&mut bytes, "dimensionality");
    bytes.push(b'N');
    text(&mut bytes, "total_elements_added");
    number(&mut bytes, ids.len() as u64);
    text(&mut bytes, "max_seq_id");
    bytes.push(b'N');
    text(&mut bytes, "id_to_label");
    bytes.extend(b"}(");
    for (id, label) in ids {
        text(&mut bytes, id);
        number(&mut bytes, *label);
    }
    bytes.push(b'u');
    text(&mut bytes, "label_to_id");
    bytes.extend(b"}(");
    for (id, label) in ids {
        number(&mut bytes, *label);
        text(&mut bytes, id);
    }
    bytes.push(b'u');
    text(&mut bytes, "id_to_seq_id");
    bytes.extend(b"}u.");
    bytes
}

fn remembered(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend([0x8c, text.len() as u8]);
    bytes.extend(text.as_bytes());
    bytes.push(0x94);
}

/// As 0.x writes it: protocol 5, an instance, each text once and referred to afterwards.
pub(super) fn instance_pickle(ids: &[(&str, u64)]) -> Vec<u8> {
    let mut body = Vec::new();
    remembered(&mut body, "chromadb.segment.impl.vector.local_persistent_hnsw");
    remembered(&mut body, "PersistentData");
    body.extend([0x93, 0x94, b')', 0x81, 0x94, b'}', 0x94, b'(']);
    remembered(&mut body, "dimensionality");
    body.extend([b'K', DIMENSION as u8]);
    remembered(&mut body, "total_elements_added");
    body.extend([b'M', ids.len() as u8, 0]);
    remembered(&mut body, "max_seq_id");
    body.extend([0x8a, 2, 0xb8, 0x0b]);
    remembered(&mut body, "id_to_label");
    // Text 0 and 1, class, instance, state, three names, this name, this dictionary: the first id is number 10.
    body.extend([b'}', 0x94, b'(']);
    for (id, label) in ids {
        remembered(&mut body, id);
        body.extend([b'K', *label as u8]);
    }
    body.push(b'u');
    remembered(&mut body, "label_to_id");
    body.extend([b'}', 0x94, b'(']);
    for (at, (_, label)) in ids.iter().enumerate() {
        body.extend([b'K', *label as u8, b'h', 10 + at as u8]);
    }
    body.push(b'u');
    remembered(&mut body, "id_to_seq_id");
    body.extend([b'}', 0x94, b'(']);
    for (at, (_, label)) in ids.iter().enumerate() {
        body.push(b'j');
        body.extend((10 + at as u32).to_le_bytes());
        body.extend([b'K', *label as u8]);
    }
    body.extend(b"uub.");
    let mut bytes = vec![0x80, 5, 0x95];
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(body);
    bytes
}
