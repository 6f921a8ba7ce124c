//! Damaged and hostile copies: refused or read, never a crash and never a vector that a check could have told.

use std::{
    fs::{self, File},
    path::Path,
};

use super::{
    super::{Document, Writer, hnsw::Rows, snapshot::Copied},
    Code, Options, age, assert_corrupt, by_id, copy_of, fixture, in_segment,
    made::{self, Made, SEGMENT, vector},
    open, read_directory, write_old,
};

/// Cuts `path` off at every multiple of `step` from its end on, and reads after each cut.
fn cut(path: &Path, step: u64, mut after: impl FnMut(u64)) {
    let length = fs::metadata(path).unwrap().len();
    for end in (0..length.div_ceil(step)).rev().map(|cut| cut * step) {
        File::options().write(true).open(path).unwrap().set_len(end).unwrap();
        age(path);
        after(end);
    }
}

#[test]
fn rows_cut_off_at_every_4_kib() {
    let Some(directory) = copy_of("chroma") else { return };
    let copied = |name: &str| {
        let original = in_segment(directory.path(), name);
        Copied { bytes: fs::metadata(&original).unwrap().len(), copy: original.clone(), original }
    };
    let header = copied("header.bin");
    Rows::open(&header, &copied("data_level0.bin"), 384).unwrap();
    cut(&in_segment(directory.path(), "data_level0.bin"), 4096, |end| {
        let error = Rows::open(&header, &copied("data_level0.bin"), 384).unwrap_err();
        assert_corrupt(&error, "data_level0.bin", &format!("byte {end}"));
    });
}

#[test]
fn pickle_and_header_cut_off() {
    let Some(directory) = copy_of("chroma") else { return };
    let pickle = in_segment(directory.path(), "index_metadata.pickle");
    let whole = fs::read(&pickle).unwrap();
    cut(&pickle, 4096, |_| {
        assert_corrupt(&read_directory(directory.path()).unwrap_err(), "index_metadata.pickle", "too early");
    });
    write_old(&pickle, &whole);
    read_directory(directory.path()).unwrap();
    cut(&in_segment(directory.path(), "header.bin"), 25, |_| {
        assert_corrupt(&read_directory(directory.path()).unwrap_err(), "header.bin", "its end");
    });
}

#[test]
fn a_database_cut_off_at_every_4_kib() {
    for name in ["chroma-small", "chroma-small-0.6.3"] {
        let Some(directory) = copy_of(name) else { return };
        cut(&directory.path().join("chroma.sqlite3"), 4096, |_| {
            let error = read_directory(directory.path()).unwrap_err();
            assert_corrupt(&error, "chroma.sqlite3", ": ");
        });
    }
}

/// A generator of the same numbers each time.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn cosine(one: &Document, other: &Document) -> f64 {
    one.vector.iter().zip(&other.vector).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
}

#[test]
fn flipped_bits_are_refused_or_left_out() {
    let Some(directory) = copy_of("chroma") else { return };
    let truth = by_id(read_directory(directory.path()).unwrap().0);
    let files = [
        (in_segment(directory.path(), "header.bin"), 12),
        (in_segment(directory.path(), "index_metadata.pickle"), 12),
        (in_segment(directory.path(), "data_level0.bin"), 10),
        (directory.path().join("chroma.sqlite3"), 8),
    ];
    let mut seeded = Seeded(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut less) = (0, 0);
    for (file, trials) in files {
        let whole = fs::read(&file).unwrap();
        let vectors = file.ends_with("data_level0.bin") || file.ends_with("chroma.sqlite3");
        for _ in 0..trials {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                let bit = seeded.below(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            write_old(&file, &bytes);
            match read_directory(directory.path()) {
                Err(error) => {
                    assert_eq!(error.code, Code::Corrupt, "{error}");
                    refused += 1;
                }
                Ok((documents, _)) => {
                    less += usize::from(documents.len() < truth.len());
                    let mut changed = 0;
                    for document in &documents {
                        let Some(known) = truth.get(&document.id) else { panic!("{} was never stored", document.id) };
                        if document.vector != known.vector {
                            changed += 1;
                            // No larger than what the length of a vector cannot tell.
                            assert!(cosine(document, known) > 0.8, "{}", document.id);
                        }
                    }
                    assert!(changed <= if vectors { 4 } else { 0 }, "{changed} vectors changed");
                }
            }
        }
        write_old(&file, &whole);
    }
    assert!(refused > 15 && less > 0, "{refused} refused, {less} with documents left out");
}

#[test]
fn files_of_another_directory_are_refused() {
    let (Some(directory), Some(other)) = (copy_of("chroma"), fixture("chroma-small")) else { return };
    for name in ["header.bin", "data_level0.bin"] {
        let file = in_segment(directory.path(), name);
        let whole = fs::read(&file).unwrap();
        write_old(&file, &fs::read(in_segment(&other, name)).unwrap());
        assert_corrupt(&read_directory(directory.path()).unwrap_err(), "", "");
        write_old(&file, &whole);
    }
    // And of the same directory, exchanged for one another.
    let names =
        ["header.bin", "data_level0.bin", "index_metadata.pickle"].map(|name| in_segment(directory.path(), name));
    let whole = names.clone().map(|name| fs::read(name).unwrap());
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        write_old(&names[one], &whole[other]);
        write_old(&names[other], &whole[one]);
        assert_eq!(read_directory(directory.path()).unwrap_err().code, Code::Corrupt);
        write_old(&names[one], &whole[one]);
        write_old(&names[other], &whole[other]);
    }
}

#[test]
fn a_header_is_compared_field_by_field() {
    let made = Made::by(Writer::V1);
    made.document("one", 1);
    made.index(&[(1, false, vector(1))], &[("one", 1)], 1);
    let file = made.path().join(SEGMENT).join("header.bin");
    for at in (0..100).filter(|at| !(12..20).contains(at) && *at < 92) {
        let mut bytes = made::header(1);
        bytes[at] ^= 0x40;
        write_old(&file, &bytes);
        match made.read() {
            // More rows than there are is seen at the other file.
            Err(error) => {
                assert_corrupt(&error, if (20..22).contains(&at) { "data_level0.bin" } else { "header.bin" }, "byte")
            }
            // The lowest bits of 1/ln(M), and a level that could be.
            Ok((documents, _)) => assert!(((84..90).contains(&at) || at == 52) && documents.len() == 1, "byte {at}"),
        }
    }
    for rows in [2, 2_000_001, u64::MAX / 44, u64::MAX] {
        write_old(&file, &made::header(rows));
        assert_eq!(made.read().unwrap_err().code, Code::Corrupt);
    }
    write_old(&file, &made::header(1));
    made.read().unwrap();
    for dimension in [0, -1, 5, 65_537, i64::MAX] {
        made.db.execute("UPDATE collections SET dimension = ?1", [dimension]).unwrap();
        assert_eq!(made.read().unwrap_err().code, Code::Corrupt);
    }
}

#[test]
fn a_segment_is_nothing_but_a_folder_beside_the_database() {
    for id in [
        "../outside",
        "/etc",
        "",
        "..",
        "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeee/e",
        "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeee\0e",
    ] {
        let made = Made::by(Writer::V1);
        made.db.execute("UPDATE segments SET id = ?1 WHERE scope = 'VECTOR'", [id]).unwrap();
        assert_corrupt(&made.read().unwrap_err(), "chroma.sqlite3", "UUID");
    }
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let made = Made::by(Writer::V1);
    made.document("one", 1);
    made.index(&[(1, false, vector(1))], &[("one", 1)], 1);
    let folder = made.path().join(SEGMENT);
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["header.bin", "data_level0.bin", "index_metadata.pickle"] {
        let moved = elsewhere.path().join(name);
        fs::rename(folder.join(name), &moved).unwrap();
        symlink(&moved, folder.join(name)).unwrap();
        assert_corrupt(&made.read().unwrap_err(), name, "regular file");
        fs::remove_file(folder.join(name)).unwrap();
        fs::rename(&moved, folder.join(name)).unwrap();
    }
    made.read().unwrap();
    fs::rename(&folder, elsewhere.path().join("moved")).unwrap();
    symlink(elsewhere.path().join("moved"), &folder).unwrap();
    assert_corrupt(&made.read().unwrap_err(), SEGMENT, "link");
}

#[test]
fn a_hostile_schema_runs_nothing() {
    for (sql, place) in [
        (
            "DROP TABLE embeddings; CREATE VIEW embeddings AS SELECT 1 AS id, '' AS segment_id, '' AS embedding_id, 1 AS seq_id",
            "embeddings",
        ),
        ("DROP TABLE max_seq_id", "max_seq_id"),
        ("DROP TABLE segments; CREATE TABLE segments (id, scope, type)", "collection"),
        // A table without the index by which each document's metadata are found.
        (
            "DROP TABLE embedding_metadata; CREATE TABLE embedding_metadata (id, key, string_value, int_value, float_value)",
            "embedding_metadata",
        ),
        (
            "DROP TABLE embeddings_queue; CREATE VIRTUAL TABLE embeddings_queue USING fts5(seq_id, id)",
            "embeddings_queue",
        ),
    ] {
        let made = Made::by(Writer::V1);
        made.document("one", 1);
        made.log(1, 0, "one", Some(vector(1)));
        assert_eq!(made.read().unwrap().0.len(), 1);
        made.db.execute_batch(sql).unwrap();
        assert_corrupt(&made.read().unwrap_err(), "chroma.sqlite3", place);
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for path in [directory.path(), &missing] {
        assert_eq!(open(path, &Options::default()).unwrap_err().code, Code::NotFound);
    }
    write_old(&missing, b"a file");
    assert_eq!(open(&missing, &Options::default()).unwrap_err().code, Code::NotFound);
    write_old(&directory.path().join("chroma.sqlite3"), &[b'x'; 5000]);
    assert_corrupt(&open(directory.path(), &Options::default()).unwrap_err(), "chroma.sqlite3", "not a database");
}
