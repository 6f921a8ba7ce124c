//! The embedder against what other programs answer, with the models that are on this machine; see
//! `reference/make.py`. What needs a real model says so and does nothing where there is none.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use half::f16;
use serde_json::Value;

use super::{
    Availability, DEFAULT_MODEL, Embedder, Priority, local::Local, location::FILE_NAME, onnx, open, probes,
    tokens::Tokens,
};
use crate::{
    error::Code,
    settings::{self, Settings},
};

const SMALL: &[u8] = include_bytes!("reference/small.onnx");
const OTHER: &[u8] = include_bytes!("reference/other.onnx");
const VOCABULARY: &str = include_str!("../../assets/all-MiniLM-L6-v2/vocab.txt");

/// Texts of the reference that are hardly texts: nothing, marks, one token over and over. There weights in 8 bits are
/// less exact: every token has the same error, so that none cancels another's. In the published file a single large
/// weight in the matrices of each layer makes the steps of its whole column up to 42 times as wide as those of the
/// others; in the one that `npm run model` makes, only those of eight weights.
const ODD: usize = 50;

fn texts() -> Vec<String> {
    let entries: Vec<Value> = serde_json::from_str(include_str!("reference/texts.json")).unwrap();
    entries
        .iter()
        .map(|entry| match entry {
            Value::String(text) => text.clone(),
            repeated => {
                let times = repeated["times"].as_u64().unwrap();
                repeated["text"].as_str().unwrap().repeat(usize::try_from(times).unwrap())
            }
        })
        .collect()
}

fn vectors(bytes: &[u8]) -> Vec<Vec<f32>> {
    let number = |number: &[u8; 2]| f16::from_le_bytes(*number).to_f32();
    bytes.chunks_exact(2 * 384).map(|vector| vector.as_chunks().0.iter().map(number).collect()).collect()
}

/// In 64 bits, and whatever the lengths: what is compared is rounded to 16 bits.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn settings_for(folder: &Path) -> settings::Model {
    let mut settings = Settings::new("").model;
    settings.directory = Some(folder.to_owned());
    settings
}

/// The folders with a real model: those beside the sources, and Chroma's cache.
fn real_models() -> Vec<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut folders = vec![models.join(DEFAULT_MODEL), models.join(format!("{DEFAULT_MODEL}-fp32"))];
    folders.extend(std::env::var_os("CLAUDE_MEM_MODEL_DIR").map(PathBuf::from));
    folders.extend(
        std::env::home_dir().map(|home| home.join(".cache/chroma/onnx_models").join(DEFAULT_MODEL).join("onnx")),
    );
    folders.retain(|folder| folder.join(FILE_NAME).is_file());
    if folders.is_empty() {
        println!("skipped: there is no model on this machine (npm run model)");
    }
    folders
}

/// A folder with a model of a few hundred bytes, and what opens it.
fn small() -> (tempfile::TempDir, settings::Model) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE_NAME), SMALL).unwrap();
    fs::write(folder.path().join("vocab.txt"), VOCABULARY).unwrap();
    let mut settings = settings_for(folder.path());
    (settings.name, settings.dimensions, settings.max_tokens) = ("small".to_owned(), 8, 64);
    (folder, settings)
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn tokens_are_those_of_the_published_tokenizer() {
    let wanted: Vec<Vec<u32>> = serde_json::from_str(include_str!("reference/tokens.json")).unwrap();
    let (texts, tokens) = (texts(), Tokens::open(DEFAULT_MODEL, Path::new(""), 256).unwrap());
    assert_eq!((texts.len(), wanted.len()), (200, 200));
    for (text, wanted) in texts.iter().zip(wanted) {
        assert_eq!(tokens.of(text).unwrap(), wanted, "{:.60?}", text);
    }
}

#[test]
fn vectors_agree_with_the_reference() {
    let (texts, fp32, int8) =
        (texts(), vectors(include_bytes!("reference/fp32.f16")), vectors(include_bytes!("reference/int8.f16")));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for folder in real_models() {
        let embedder = open(&settings_for(&folder), Path::new(""));
        let made = embedder.embed(&texts, Priority::Query).unwrap();
        let storage = embedder.figures().storage.unwrap();
        let least = |wanted: &[Vec<f32>], from: usize| {
            made.iter().zip(wanted).skip(from).map(|(made, wanted)| cosine(made, wanted)).fold(1.0, f64::min)
        };
        println!(
            "{storage}: least cosine to fp32 {:.7}, of texts with sense {:.7}",
            least(&fp32, 0),
            least(&fp32, ODD)
        );
        for (text, vector) in texts.iter().zip(&made) {
            let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
            assert!(vector.len() == 384 && (length - 1.0).abs() < 1e-5, "{text:.60?}: {length}");
        }
        let megabytes = embedder.figures().model_bytes / 1_000_000;
        if storage == "fp32" {
            assert!(least(&fp32, 0) >= 0.99999);
            assert!((130..140).contains(&megabytes), "{megabytes} MB");
            continue;
        }
        assert!((105..110).contains(&megabytes), "{megabytes} MB");
        let file = folder.join(FILE_NAME).metadata().unwrap().len();
        if file == onnx::MADE.0 {
            println!("{storage}: least cosine to the same file in onnxruntime {:.7}", least(&int8, 0));
            assert!(least(&int8, 0) >= 0.99999, "another runtime makes other vectors of the same file");
            assert!(least(&fp32, 0) >= 0.9995);
            assert!(least(&fp32, ODD) >= 0.9998);
        } else if file == onnx::PUBLISHED.0 {
            assert!(least(&fp32, 0) >= 0.994);
            assert!(least(&fp32, ODD) >= 0.999);
            let far = made[..ODD].iter().zip(&fp32).filter(|(made, wanted)| cosine(made, wanted) < 0.999).count();
            assert!(far <= 23, "{far} of {ODD} odd texts are below 0.999; weights rounded to 8 bits explain 23");
        }
    }
}

#[test]
fn the_golden_queries_have_their_vectors() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures/golden-vector-queries.json");
    let Ok(golden) = fs::read(&file) else {
        println!("skipped: ../shared is not here");
        return;
    };
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    for folder in real_models() {
        let embedder = open(&settings_for(&folder), Path::new(""));
        for query in golden["queries"].as_array().unwrap() {
            let wanted: Vec<f32> =
                query["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect();
            let made = embedder.query(query["text"].as_str().unwrap()).unwrap();
            let least = if embedder.figures().storage == Some("fp32") { 0.99999 } else { 0.999 };
            assert!(cosine(&made, &wanted) >= least, "{}", cosine(&made, &wanted));
        }
    }
}

#[test]
fn a_text_has_one_vector_alone_and_in_a_batch() {
    let (_folder, settings) = small();
    let embedder = open(&settings, Path::new(""));
    let texts = ["a b c", "", "d", "a b c d e f g h i j k l m n", "d", &"long ".repeat(20_000)];
    let together = embedder.embed(&texts, Priority::Document).unwrap();
    for (text, together) in texts.iter().zip(&together) {
        let alone = embedder.embed(&[text], Priority::Query).unwrap().remove(0);
        assert!(cosine(&alone, together) > 0.999_999, "{text:.20?}");
    }
    assert_eq!(together[2], together[4]);
    assert!(cosine(&together[0], &together[2]) < 0.99);
    assert!(embedder.embed(&[], Priority::Document).unwrap().is_empty());
    assert_eq!(embedder.figures().embedded, 12);
}

#[test]
fn a_model_is_loaded_on_first_use_and_dropped_after_a_while() {
    let (_folder, mut settings) = small();
    settings.idle = Duration::from_millis(50);
    let embedder = open(&settings, Path::new(""));
    assert_eq!(embedder.availability(), Availability::Unloaded);
    assert_eq!(embedder.memory_bytes(), 0);
    for loads in 1..=3 {
        embedder.embed(&["x"], Priority::Document).unwrap();
        assert_eq!(embedder.figures().loads, loads);
        eventually("it is never dropped", || embedder.availability() == Availability::Unloaded);
        assert_eq!(embedder.memory_bytes(), 0);
    }
    assert_eq!(embedder.figures().file, Some(settings.directory.unwrap().join(FILE_NAME)));
}

#[test]
fn a_remembered_query_needs_no_model() {
    let (folder, mut settings) = small();
    settings.idle = Duration::ZERO;
    let embedder = open(&settings, Path::new(""));
    assert_eq!(embedder.remembered("again"), None);
    let first = embedder.query("again").unwrap();
    eventually("it is never dropped", || embedder.availability() == Availability::Unloaded);
    fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
    assert_eq!(embedder.query("again").unwrap(), first);
    assert_eq!(
        (embedder.query_now("again").unwrap(), embedder.remembered("again")),
        (Some(first.clone()), Some(first))
    );
    assert_eq!(embedder.query("new").unwrap_err().code, Code::NoModel);
    assert!(embedder.figures().query_cache_bytes > 0);
}

#[test]
fn nothing_is_loaded_for_who_cannot_wait() {
    let (_folder, settings) = small();
    let embedder = open(&settings, Path::new(""));
    assert_eq!((embedder.query_now("a").unwrap(), embedder.embed_now(&["a"]).unwrap()), (None, None));
    assert_eq!(embedder.figures().loads, 0);
    let loaded = embedder.query("b").unwrap();
    assert_eq!(embedder.query_now("b").unwrap(), Some(loaded));
    let made = embedder.query_now("a").unwrap().unwrap();
    assert_eq!(embedder.remembered("a").as_ref(), Some(&made), "it is remembered");
    assert_eq!(embedder.embed_now(&["a"]).unwrap().unwrap()[0], *made);
    assert_eq!(embedder.embed_now(&[]).unwrap(), Some(Vec::new()));
    assert_eq!((embedder.figures().loads, embedder.figures().embedded), (1, 3));
}

#[test]
fn without_a_file_it_says_what_helps_and_finds_one_that_comes() {
    let (folder, settings) = small();
    let file = folder.path().join(FILE_NAME);
    fs::rename(&file, folder.path().join("away")).unwrap();
    let embedder = open(&settings, Path::new(""));
    let Availability::Missing { reason } = embedder.availability() else { panic!("{:?}", embedder.availability()) };
    let error = embedder.query("x").unwrap_err();
    assert_eq!((error.code, &error.message), (Code::NoModel, &reason));
    for part in [file.to_str().unwrap(), "npm run model", "modelDir"] {
        assert!(reason.contains(part), "{reason}");
    }
    fs::rename(folder.path().join("away"), &file).unwrap();
    assert_eq!(embedder.availability(), Availability::Unloaded);
    embedder.query("x").unwrap();
    assert_eq!(embedder.figures().last_error, None);
}

#[test]
fn a_file_that_is_no_model_is_refused_once_and_read_no_more() {
    let (folder, settings) = small();
    let embedder = Local::new(&settings, Path::new(""));
    let file = folder.path().join(FILE_NAME);
    let mut wide = settings.clone();
    wide.dimensions = 16;
    for (bytes, reason) in [
        (OTHER, "asks for 'image'"),
        (b"".as_slice(), "of 0"),
        (b"not a model".as_slice(), "no ONNX file"),
        (&SMALL[..SMALL.len() / 2], "damaged"),
    ] {
        fs::write(&file, bytes).unwrap();
        let error = embedder.query("x").unwrap_err();
        assert_eq!(error.code, Code::NoModel);
        assert!(error.message.contains(reason) && error.message.contains("replace it"), "{error}");
        assert_eq!(embedder.availability(), Availability::Missing { reason: error.message.clone() });
        assert_eq!(embedder.figures().last_error.as_ref(), Some(&error.message));
        assert_eq!(embedder.query("y").unwrap_err(), error);
    }
    fs::write(&file, SMALL).unwrap();
    embedder.query("x").unwrap();
    let error = open(&wide, Path::new("")).query("x").unwrap_err();
    assert!(error.message.contains("8 numbers, not 16"), "{error}");
    // A directory of that name is no file at all.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let error = open(&settings, Path::new("")).query("x").unwrap_err();
    assert!(error.message.contains("there is no file"), "{error}");
}

#[test]
fn another_model_under_the_name_of_the_default_one_is_refused() {
    let Some(folder) = real_models().into_iter().next() else { return };
    let copy = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(folder.join(FILE_NAME)).unwrap();
    // Weights from its middle to its end are others; the graph before them is whole.
    let error = |bytes: &[u8]| {
        fs::write(copy.path().join(FILE_NAME), bytes).unwrap();
        open(&settings_for(copy.path()), Path::new("")).query("x").unwrap_err()
    };
    // In the middle of the vectors of words, so that the graph is whole.
    let part = bytes.len() / 40;
    bytes[part..8 * part].chunks_exact_mut(64).for_each(<[u8]>::reverse);
    if [onnx::MADE.0, onnx::PUBLISHED.0].contains(&(bytes.len() as u64)) {
        assert!(error(&bytes).message.contains("SHA-256"), "{}", error(&bytes));
    }
    // One more field, so that it is not its hash that tells.
    bytes.extend([0x12, 1, b'x']);
    assert_eq!(error(&bytes).code, Code::NoModel);
    assert!(error(&bytes).message.contains("another model"), "{}", error(&bytes));
}

#[test]
fn damaged_files_are_refused_or_make_vectors() {
    let (folder, mut settings) = small();
    settings.idle = Duration::ZERO;
    let file = folder.path().join(FILE_NAME);
    fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ntext\n").unwrap();
    let (mut refused, mut working) = (0, 0);
    let mut attempt = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        match open(&settings, Path::new("")).embed(&["a text", "another"], Priority::Document) {
            Ok(vectors) => {
                working += 1;
                for vector in vectors {
                    assert!(vector.len() == 8 && vector.iter().all(|number| number.is_finite()));
                }
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.code, Code::NoModel, "{error}");
            }
        }
    };
    for end in (0..SMALL.len()).step_by(3) {
        attempt(&SMALL[..end]);
    }
    for at in 0..SMALL.len() {
        let mut bytes = SMALL.to_vec();
        for bits in [0x01, 0x80, 0xff] {
            bytes[at] = SMALL[at] ^ bits;
            attempt(&bytes);
        }
    }
    println!("{refused} damaged files refused, {working} worked");
    assert!(refused > 200);
}

#[test]
fn a_damaged_real_model_is_refused_or_recognised() {
    let Some(folder) = real_models().into_iter().next() else { return };
    let whole = fs::read(folder.join(FILE_NAME)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let attempt = |what: &str, bytes: &[u8]| {
        fs::write(copy.path().join(FILE_NAME), bytes).unwrap();
        match open(&settings_for(copy.path()), Path::new("")).probes() {
            // One weight more or less: still the same model.
            Ok(made) => assert!(probes::agreement(&made, &made) > 0.999, "{what}"),
            Err(error) => assert_eq!(error.code, Code::NoModel, "{what}: {error}"),
        }
    };
    let length = whole.len();
    // Of another length than a known file, so that it is not only its hash that tells.
    let whole = [whole, vec![0x12, 1, b'x']].concat();
    for end in [1, 100, 4_096, 65_536, length / 4, length / 2, length - 1] {
        attempt(&format!("cut to {end}"), &whole[..end]);
    }
    for at in [0, 1, 2, 9, 40, 200, 1_000, 5_000, 20_000, 40_000, length / 3, length - 20] {
        let mut bytes = whole.clone();
        bytes[at..at + 8].iter_mut().for_each(|byte| *byte ^= 0xff);
        attempt(&format!("flipped at {at}"), &bytes);
    }
}

#[test]
fn a_query_does_not_wait_for_the_documents_before_it() {
    let Some(folder) = real_models().into_iter().next() else { return };
    let embedder = open(&settings_for(&folder), Path::new(""));
    embedder.query("load").unwrap();
    let document = "a document of some length that the indexer has to embed ".repeat(12);
    let documents = vec![document.as_str(); 60];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(embedder.embed(&documents, Priority::Document));
            done.store(true, Ordering::Release);
        });
        std::thread::sleep(Duration::from_millis(100));
        for number in 0..3 {
            embedder.query(&format!("a question {number}")).unwrap();
        }
        // They take a second and more, three questions some ten milliseconds: on the busiest machine a query that
        // had to wait for them would come after them.
        assert!(!done.load(Ordering::Acquire), "the queries waited for the documents");
        // The rest is of no interest.
        embedder.close();
    });
}

#[test]
fn closing_ends_the_documents_and_no_query() {
    let (_folder, settings) = small();
    let embedder = open(&settings, Path::new(""));
    std::thread::scope(|scope| {
        let indexing = scope.spawn(|| {
            let texts: Vec<String> = (0..20_000).map(|number| "a text ".repeat(1 + number % 30)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            loop {
                if let Err(error) = embedder.embed(&texts, Priority::Document) {
                    return error;
                }
            }
        });
        eventually("it never loads", || embedder.availability() == Availability::Loaded);
        embedder.close();
        assert_eq!(indexing.join().unwrap().code, Code::Disposed);
    });
    assert_eq!(embedder.embed(&["x"], Priority::Document).unwrap_err().code, Code::Disposed);
    embedder.query("x").unwrap();
    assert_eq!(embedder.figures().last_error, None);
}

#[test]
fn probes_tell_models_apart() {
    let (_folder, settings) = small();
    let made = open(&settings, Path::new("")).probes().unwrap();
    assert!(probes::same_model(&made, &open(&settings, Path::new("")).probes().unwrap()));
    let mut others = made.clone();
    others.rotate_left(1);
    assert!(!probes::same_model(&made, &others));
    let mut same: Vec<Vec<Vec<f32>>> = Vec::new();
    for folder in real_models() {
        let embedder = open(&settings_for(&folder), Path::new(""));
        let made = embedder.probes().unwrap();
        let known = probes::known(embedder.identity()).unwrap();
        // An index keeps what one file made of them, and is opened with another.
        for other in same.iter().chain([&known]) {
            println!("{}: agreement {:.6}", folder.display(), probes::agreement(&made, other));
            assert!(probes::same_model(&made, other));
        }
        same.push(made);
    }
}

/// `cargo test --release measure_embedding -- --ignored --nocapture`: figures, no test.
#[test]
#[ignore = "measures"]
fn measure_embedding() {
    let resident = || {
        let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096 / 1_000_000
    };
    let short = "the queue leases a message to the worker and waits until it has been acknowledged once more ok";
    let long = format!("{short} and ").repeat(8);
    let tokens = Tokens::open(DEFAULT_MODEL, Path::new(""), 256).unwrap();
    println!("short: {} tokens, long: {}", tokens.of(short).unwrap().len(), tokens.of(&long).unwrap().len());
    for folder in real_models() {
        let mut settings = settings_for(&folder);
        settings.idle = Duration::from_secs(2);
        settings.query_cache_bytes = 0;
        let embedder = open(&settings, Path::new(""));
        let before = resident();
        let start = Instant::now();
        embedder.query("load").unwrap();
        let load = start.elapsed();
        let loaded = resident();
        for (name, text, count) in [("short", short, 256), ("long", long.as_str(), 64)] {
            let texts = vec![text; count];
            let mut rates: Vec<f64> = (0..5)
                .map(|_| {
                    let start = Instant::now();
                    embedder.embed(&texts, Priority::Query).unwrap();
                    count as f64 / start.elapsed().as_secs_f64()
                })
                .collect();
            rates.sort_by(f64::total_cmp);
            println!("{name}: {:.1}/s (best {:.1})", rates[2], rates[4]);
        }
        let mut one: Vec<Duration> = (0..40)
            .map(|_| {
                let start = Instant::now();
                embedder.query(short).unwrap();
                start.elapsed()
            })
            .collect();
        one.sort();
        let working = resident();
        eventually("it is never dropped", || embedder.availability() == Availability::Unloaded);
        std::thread::sleep(Duration::from_millis(500));
        println!(
            "{}: loaded in {load:?}, one text {:?}, resident MB before {before}, loaded {loaded}, working {working}, \
             after {}",
            folder.display(),
            one[20],
            resident()
        );
    }
}
