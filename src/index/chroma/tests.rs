//! Directories made by Chroma lie beside the repository, and tests that need them say so where they are absent;
//! all others make their own.

mod damage;
mod made;
mod pickles;
mod replay;
mod snapshots;
mod written_by_chroma;

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{Chroma, Document, LeftOut, Options, Report, open};
use crate::error::{Code, Error, Result};

/// A fixture's path; prints why the test is skipped where it is absent.
fn fixture(name: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not here", path.display());
    None
}

/// A copy of a fixture that can be damaged.
fn copy_of(name: &str) -> Option<tempfile::TempDir> {
    let from = fixture(name)?;
    let directory = tempfile::tempdir().unwrap();
    copy_folder(&from, directory.path());
    Some(directory)
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            write_old(&to, &fs::read(entry.path()).unwrap());
        }
    }
}

/// Writes a file as if long ago, so that an error of it is believed at once.
fn write_old(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    age(path);
}

fn age(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// The path of a file in the one segment folder.
fn in_segment(directory: &Path, name: &str) -> PathBuf {
    let folders = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.is_dir()).map(|path| path.join(name)).next().unwrap()
}

/// All documents and the complete report.
fn read(chroma: &mut Chroma) -> Result<(Vec<Document>, Report)> {
    let mut documents = chroma.documents();
    let read = documents.by_ref().collect::<std::result::Result<Vec<_>, Error>>()?;
    Ok((read, documents.report().clone()))
}

fn read_directory(directory: &Path) -> Result<(Vec<Document>, Report)> {
    read(&mut open(directory, &Options::default())?)
}

fn by_id(documents: Vec<Document>) -> HashMap<String, Document> {
    documents.into_iter().map(|document| (document.id.clone(), document)).collect()
}

/// Every file below `directory`, with what could show that it was touched.
fn traces(directory: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                found.push((path.clone(), fs::read(&path).unwrap(), modified));
            }
        }
    }
    found.sort();
    found
}

/// That the error is of a damaged file, and names it and the place in it.
#[track_caller]
fn assert_corrupt(error: &Error, file: &str, place: &str) {
    assert_eq!(error.code, Code::Corrupt, "{error}");
    assert!(error.message.contains(file), "{error} should name {file}");
    assert!(error.message.contains(place), "{error} should name {place}");
}

/// That exactly these were left out, and no others.
#[track_caller]
fn assert_left_out(report: &Report, expected: &[(LeftOut, u64)]) {
    for reason in LeftOut::ALL {
        let count = expected.iter().find(|(named, _)| *named == reason).map_or(0, |(_, count)| *count);
        assert_eq!(report.left_out(reason), count, "{} {:?}", reason.as_str(), report.examples(reason));
    }
}
