//! The private copy: of one moment, and without a trace.

use std::fs;

use super::{
    super::{LeftOut, Writer},
    Options, assert_corrupt,
    made::{Made, vector},
    open, traces,
};

fn one() -> Made {
    let made = Made::by(Writer::V1);
    made.document("one", 1);
    made.log(1, 0, "one", Some(vector(1)));
    made
}

#[test]
fn the_copy_goes_with_the_value_and_the_directory_is_untouched() {
    let (made, scratch) = (one(), tempfile::tempdir().unwrap());
    let before = traces(made.path());
    let options = Options { scratch: Some(scratch.path().to_owned()), ..Options::default() };
    let mut chroma = open(made.path(), &options).unwrap();
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    assert_eq!(super::read(&mut chroma).unwrap().0.len(), 1);
    drop(chroma);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    assert_eq!(traces(made.path()), before);
}

#[test]
fn a_transaction_that_died_is_rolled_back_in_the_copy_alone() {
    let made = one();
    // A transaction whose pages have spilled into the file, as it would be found after a crash.
    made.db.execute_batch("PRAGMA cache_size=1; PRAGMA synchronous=OFF; BEGIN").unwrap();
    made.db.execute("UPDATE embeddings SET embedding_id = 'uncommitted'", []).unwrap();
    for number in 0..200_i64 {
        made.log(100 + number, 0, &format!("uncommitted {number}{}", "x".repeat(900)), Some(vector(1)));
    }
    let crashed = tempfile::tempdir().unwrap();
    for name in ["chroma.sqlite3", "chroma.sqlite3-journal"] {
        fs::write(crashed.path().join(name), fs::read(made.path().join(name)).unwrap()).unwrap();
    }
    let journal = crashed.path().join("chroma.sqlite3-journal");
    let before = traces(crashed.path());
    let (documents, report) = super::read_directory(crashed.path()).unwrap();
    assert_eq!(documents.iter().map(|document| document.id.as_str()).collect::<Vec<_>>(), ["one"]);
    assert_eq!(report.left_out(LeftOut::NotInEmbeddings), 0);
    assert_eq!(traces(crashed.path()), before);
    // One that names a super-journal would have SQLite delete the file of that name.
    let mut bytes = fs::read(&journal).unwrap();
    bytes.extend([0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    fs::write(&journal, bytes).unwrap();
    assert_corrupt(&super::read_directory(crashed.path()).unwrap_err(), "chroma.sqlite3-journal", "super-journal");
}

#[test]
fn committed_pages_in_a_log_beside_the_file_are_read() {
    let made = one();
    made.db.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    made.document("two", 2);
    made.log(2, 0, "two", Some(vector(2)));
    assert!(fs::metadata(made.path().join("chroma.sqlite3-wal")).unwrap().len() > 0);
    let before = traces(made.path());
    assert_eq!(super::read_directory(made.path()).unwrap().0.len(), 2);
    assert_eq!(traces(made.path()), before);
}

#[test]
fn a_writer_that_goes_on_never_shows_half_of_a_transaction() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let made = one();
    let path = made.path().to_owned();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, made) = (&stop, made);
        scope.spawn(move || {
            let mut seq = 2;
            while !stop.load(Ordering::Relaxed) {
                made.db.execute_batch("BEGIN").unwrap();
                made.document(&format!("d{seq}"), seq);
                made.log(seq, 0, &format!("d{seq}"), Some(vector(1)));
                made.db.execute_batch("COMMIT").unwrap();
                seq += 1;
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
            // The directory goes with it, so not before the reader is done.
        });
        for _ in 0..20 {
            match super::read_directory(&path) {
                Ok((documents, report)) => {
                    assert!(!documents.is_empty());
                    assert_eq!(report.left_out_in_all(), 0);
                }
                Err(error) => assert_eq!(error.code, crate::error::Code::Busy, "{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
