//! Searches while a model is being loaded.

use crossbeam_channel::Receiver;

use super::*;
use crate::{
    embedder::testing::Gated,
    index::document::DocumentId,
    reply::Reply,
    search::{
        nearest::{Near, To},
        service::Surroundings,
    },
};

/// More than there are readers.
const MANY: usize = 8;

/// Three rows whose vectors are made, and a fourth that owes its own; the model is closed.
fn fixture() -> Fixture<Gated> {
    let fixture = Fixture::new();
    fixture.observe(1, "Leak", "the heap leaks memory");
    fixture.observe(2, "Button", "a button is blue");
    fixture.observe(3, "Disk", "the disk is full");
    fixture.sync();
    let fixture = fixture.reopened(Gated::new(Words::new(64)));
    fixture.observe(4, "Heap", "a heap that leaks");
    fixture
}

impl Fixture<Gated> {
    fn asked(&self, query: Query, request: Request) -> Receiver<Result<Answer>> {
        let (reply, answer) = Reply::channel();
        self.search.find(query, request, reply);
        answer
    }

    fn asked_by_text(&self, mode: Mode) -> Receiver<Result<Answer>> {
        self.asked(Query::Text(None), Request { mode, ..observations("heap leaks") })
    }

    fn nearest(&self, text: &str) -> Receiver<Result<Vec<Near>>> {
        let (reply, answer) = Reply::channel();
        let kinds = Kinds::of(&[Kind::Observation]);
        self.search.nearest(To::Text(text.to_owned()), 1, kinds, Filters::default(), reply);
        answer
    }

    fn timeline(&self, text: &str) -> Receiver<Result<Surroundings>> {
        let (reply, answer) = Reply::channel();
        self.search.timeline(Query::Text(None), observations(text), 1, 1, reply);
        answer
    }

    /// One is at the gate, and so many wait behind it.
    fn until_waiting(&self, count: usize) {
        until("they do not come to the line", || {
            self.model.at_gate() == 1 && self.index.waiting_line().waiting() == count
        });
    }

    /// What needs no vector is answered; on a machine however slow, as nothing else moves.
    fn others_are_answered(&self) {
        for _ in 0..MANY {
            let answer = self.find(Request { mode: Mode::Keyword, ..observations("heap") });
            assert_eq!(ids(&answer).len(), 2, "{answer:?}");
            let document: DocumentId = "obs_1_narrative".parse().unwrap();
            assert!(wait(|reply| self.index.get(document, reply)).unwrap().is_some());
            let count =
                |db: &Connection| Ok(db.query_row("SELECT count(*) FROM rows", [], |row| row.get::<_, i64>(0))?);
            // Each row, and the session's.
            assert!(wait(|reply| self.index.read("count", count, reply)).unwrap() >= 4);
        }
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn taken<T>(answer: &Receiver<Result<T>>) -> Result<T> {
    answer.recv_timeout(SOON).expect("it is never answered")
}

#[test]
fn searches_that_wait_for_a_model_leave_the_readers_to_others() {
    let fixture = fixture();
    let hybrid: Vec<_> = (0..MANY).map(|_| fixture.asked_by_text(Mode::Hybrid)).collect();
    let semantic: Vec<_> = (0..MANY).map(|_| fixture.asked_by_text(Mode::Semantic)).collect();
    // What owes its vectors needs the model too: an observation that others are to be like, and rows that were found.
    let similar = fixture.asked(Query::Observation(4), observations(""));
    let given = Query::Text(Some(fixture.model.words().vector("heap leaks")));
    let given = fixture.asked(given, observations("heap leaks"));
    let (nearest, timeline) = (fixture.nearest("full disk"), fixture.timeline("full disk"));
    fixture.until_waiting(2 * MANY + 3);
    fixture.others_are_answered();
    assert!(hybrid.iter().chain(&semantic).chain([&similar, &given]).all(Receiver::is_empty));
    assert!(nearest.is_empty() && timeline.is_empty());

    fixture.model.set_open(true);
    for (answers, mode) in [(&hybrid, Mode::Hybrid), (&semantic, Mode::Semantic)] {
        for answer in answers {
            let answer = taken(answer).unwrap();
            assert_eq!((answer.mode, answer.reason.as_deref()), (Some(mode), None));
            // What owes its vectors is found by its words alone, and then judged by what it says.
            assert_eq!(ids(&answer).contains(&4), mode == Mode::Hybrid, "{answer:?}");
            assert!(answer.results.iter().all(|found| found.hit.meaning.is_some()), "{answer:?}");
            assert!(ids(&answer)[0] != 2 && ids(&answer)[0] != 3, "{answer:?}");
        }
    }
    let answer = taken(&given).unwrap();
    assert!(answer.results.iter().all(|found| found.hit.meaning.is_some()), "{answer:?}");
    let answer = taken(&similar).unwrap();
    assert_eq!((answer.mode, ids(&answer)[0]), (Some(Mode::Semantic), 1), "{answer:?}");
    assert_eq!(taken(&nearest).unwrap()[0].document.to_string(), "obs_3_narrative");
    assert_eq!(ids(&taken(&timeline).unwrap().anchor), [3]);
    assert_eq!((fixture.model.at_gate(), fixture.index.waiting_line().waiting()), (0, 0));
    // The same on a model that is there.
    let again = taken(&fixture.asked_by_text(Mode::Hybrid)).unwrap();
    assert_eq!((again.mode, again.results.len()), (Some(Mode::Hybrid), 4));
}

#[test]
fn a_model_that_cannot_be_loaded_leaves_the_words() {
    let fixture = fixture();
    let hybrid = fixture.asked_by_text(Mode::Hybrid);
    let (similar, nearest) = (fixture.asked(Query::Observation(4), observations("")), fixture.nearest("disk"));
    fixture.until_waiting(2);
    fixture.model.words().set_missing(true);
    fixture.model.set_open(true);
    for answer in [&hybrid, &similar] {
        let answer = taken(answer).unwrap();
        assert_eq!(answer.mode, Some(Mode::Keyword));
        assert_eq!(answer.reason.as_deref(), Some("the test took the model away"));
        assert!(ids(&answer).contains(&1), "{answer:?}");
    }
    let error = taken(&nearest).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::NoModel, "the test took the model away"));
}

#[test]
fn an_index_that_is_closed_answers_all_who_wait_for_its_model() {
    let fixture = fixture();
    let answers: Vec<_> = (0..MANY).map(|_| fixture.asked_by_text(Mode::Hybrid)).collect();
    fixture.until_waiting(MANY - 1);
    let index = Arc::clone(&fixture.index);
    let closing = std::thread::spawn(move || index.close(SOON));
    // Before the gate opens, also the one at it.
    for answer in &answers {
        assert_eq!(taken(answer).unwrap_err().code, Code::Disposed);
    }
    assert_eq!(taken(&fixture.asked_by_text(Mode::Hybrid)).unwrap_err().code, Code::Disposed);
    fixture.model.set_open(true);
    closing.join().unwrap();
    assert_eq!(fixture.model.at_gate(), 0, "the thread was waited for");
}

#[test]
fn an_index_whose_model_never_comes_is_closed_within_its_bound() {
    let fixture = fixture();
    let answer = fixture.asked_by_text(Mode::Hybrid);
    fixture.until_waiting(0);
    fixture.index.close(Duration::from_millis(10));
    assert_eq!(taken(&answer).unwrap_err().code, Code::Disposed);
    fixture.model.set_open(true);
    until("the thread never ends", || fixture.model.at_gate() == 0);
}

#[test]
fn too_many_who_wait_for_a_model_are_told() {
    let fixture = fixture();
    let mut answers = vec![fixture.asked_by_text(Mode::Hybrid)];
    fixture.until_waiting(0);
    for _ in 0..10 {
        answers.extend((0..1_000).map(|_| fixture.asked_by_text(Mode::Hybrid)));
        fixture.until_waiting(answers.len() - 1);
    }
    let error = taken(&fixture.asked_by_text(Mode::Hybrid)).unwrap_err();
    assert_eq!(error.code, Code::Busy);
    assert!(error.message.contains("wait for the model, the limit"), "{error}");
    fixture.others_are_answered();
    // The closing answers them, before the gate opens.
    fixture.index.close(Duration::from_millis(1));
    assert!(answers.iter().all(|answer| taken(answer).unwrap_err().code == Code::Disposed));
    fixture.model.set_open(true);
}
