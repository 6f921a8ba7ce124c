//! An embedder for tests: no model, the same vector for the same text everywhere, and texts that share words are
//! near each other.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{Availability, Embedder, Identity, Priority};
use crate::error::{Code, Error, Result};

/// Each word has a direction of its own; a text points where its words point on average.
pub struct Words {
    identity: Identity,
    missing: AtomicBool,
    embedded: AtomicUsize,
}

impl Words {
    /// It fails on texts with this word.
    pub const UNEMBEDDABLE: &str = "unembeddable";

    /// With vectors of `dimensions` numbers. 64 are enough to tell words apart.
    pub fn new(dimensions: usize) -> Self {
        Self::named("words", dimensions)
    }

    /// Under another name: another model to whoever compares identities.
    pub fn named(name: &str, dimensions: usize) -> Self {
        Self {
            identity: Identity {
                name: name.to_owned(),
                dimensions,
                pooling: "mean".to_owned(),
                max_tokens: usize::MAX,
            },
            missing: AtomicBool::new(false),
            embedded: AtomicUsize::new(0),
        }
    }

    /// Takes the model away, or puts it back.
    pub fn set_missing(&self, missing: bool) {
        self.missing.store(missing, Ordering::Relaxed);
    }

    /// Texts that were embedded so far.
    pub fn embedded(&self) -> usize {
        self.embedded.load(Ordering::Relaxed)
    }

    /// The vector of a text, of unit length.
    pub fn vector(&self, text: &str) -> Vec<f32> {
        let lower = text.to_lowercase();
        let mut words = lower.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).peekable();
        let mut sum = vec![0.0_f32; self.identity.dimensions];
        if words.peek().is_none() {
            // A text without words has a direction too.
            add(&mut sum, "");
        }
        for word in words {
            add(&mut sum, word);
        }
        let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt();
        if length == 0.0 {
            sum[0] = 1.0;
        } else {
            sum.iter_mut().for_each(|number| *number /= length);
        }
        sum
    }
}

/// Adds the direction of a word: numbers in -1..1 from FNV-1a of the word, drawn by splitmix64.
fn add(sum: &mut [f32], word: &str) {
    let mut state = word
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for number in sum {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        *number += (drawn >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
    }
}

impl Embedder for Words {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn availability(&self) -> Availability {
        if self.missing.load(Ordering::Relaxed) {
            Availability::Missing { reason: "the test took the model away".to_owned() }
        } else {
            Availability::Loaded
        }
    }

    fn embed(&self, texts: &[&str], _: Priority) -> Result<Vec<Vec<f32>>> {
        if let Availability::Missing { reason } = self.availability() {
            return Err(Error::new(Code::NoModel, reason));
        }
        if texts.iter().any(|text| text.contains(Self::UNEMBEDDABLE)) {
            return Err(Error::internal("a text that this model fails on"));
        }
        self.embedded.fetch_add(texts.len(), Ordering::Relaxed);
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }

    fn query(&self, text: &str) -> Result<Arc<[f32]>> {
        self.embed(&[text], Priority::Query).map(|mut vectors| vectors.remove(0).into())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// As a model that is being loaded: whoever asks for a vector of it waits at a gate until it is opened.
pub struct Gated {
    words: Words,
    is_open: Mutex<bool>,
    opened: Condvar,
    at_gate: AtomicUsize,
}

impl Gated {
    /// In front of `words`, closed.
    pub fn new(words: Words) -> Self {
        Self { words, is_open: Mutex::new(false), opened: Condvar::new(), at_gate: AtomicUsize::new(0) }
    }

    /// Opens it, or closes it again.
    pub fn set_open(&self, open: bool) {
        *self.is_open.lock().unwrap() = open;
        self.opened.notify_all();
    }

    /// Who waits at it now.
    pub fn at_gate(&self) -> usize {
        self.at_gate.load(Ordering::SeqCst)
    }

    /// What is behind it.
    pub fn words(&self) -> &Words {
        &self.words
    }

    fn pass(&self) {
        let open = self.is_open.lock().unwrap();
        self.at_gate.fetch_add(1, Ordering::SeqCst);
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        self.at_gate.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Embedder for Gated {
    fn identity(&self) -> &Identity {
        self.words.identity()
    }

    fn availability(&self) -> Availability {
        match self.words.availability() {
            Availability::Loaded if !*self.is_open.lock().unwrap() => Availability::Unloaded,
            availability => availability,
        }
    }

    fn embed(&self, texts: &[&str], priority: Priority) -> Result<Vec<Vec<f32>>> {
        self.pass();
        self.words.embed(texts, priority)
    }

    fn query(&self, text: &str) -> Result<Arc<[f32]>> {
        self.pass();
        self.words.query(text)
    }

    fn query_now(&self, text: &str) -> Result<Option<Arc<[f32]>>> {
        Ok(self.embed_now(&[text])?.map(|mut vectors| vectors.remove(0).into()))
    }

    fn embed_now(&self, texts: &[&str]) -> Result<Option<Vec<Vec<f32>>>> {
        let is_open = *self.is_open.lock().unwrap();
        is_open.then(|| self.words.embed(texts, Priority::Query)).transpose()
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn texts_that_share_words_are_near() {
    let words = Words::new(64);
    let [leak, other, far] =
        ["the heap leaks memory", "Memory leaks in the heap!", "a button is blue"].map(|text| words.vector(text));
    assert!(cosine(&leak, &other) > 0.8, "{}", cosine(&leak, &other));
    assert!(cosine(&leak, &far) < 0.5, "{}", cosine(&leak, &far));
    assert!((cosine(&leak, &leak) - 1.0).abs() < 1e-5);
    assert!((cosine(&words.vector(""), &words.vector("  ")) - 1.0).abs() < 1e-5);
    assert_eq!(words.embed(&["a", "b"], Priority::Document).unwrap().len(), 2);
    assert_eq!(words.embedded(), 2);
    words.set_missing(true);
    assert_eq!(words.query("x").unwrap_err().code, Code::NoModel);
}
