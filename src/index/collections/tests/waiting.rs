//! Queries by a text while a model is being loaded.

use crossbeam_channel::Receiver;

use super::*;
use crate::embedder::testing::Gated;

/// More than there are readers.
const MANY: usize = 8;

/// A collection whose vectors are made, and the model closed.
fn opened() -> (Data, Arc<Gated>, Arc<Collections>) {
    let data = Data::new();
    let collections = data.open();
    let documents = vec![text("leak", "the heap leaks memory"), text("button", "a button is blue")];
    upsert(&collections, "notes", documents).unwrap();
    close(&collections);
    let gate = Arc::new(Gated::new(Words::new(64)));
    let collections = data.open_with(&gate);
    (data, gate, collections)
}

fn asked(collections: &Arc<Collections>, name: &str) -> Receiver<Result<Vec<Found>>> {
    let (reply, answer) = Reply::channel();
    let near = Near::Text("memory leaks".to_owned());
    let query = Query { near, k: 1, filter: None, max_distance: None, include: PLAIN };
    collections.query(name.to_owned(), query, reply);
    answer
}

fn taken(answer: &Receiver<Result<Vec<Found>>>) -> Result<Vec<String>> {
    let found = answer.recv_timeout(Duration::from_secs(60)).expect("it is never answered")?;
    Ok(found.into_iter().map(|found| found.document.id).collect())
}

fn until_waiting(gate: &Gated, collections: &Collections, count: usize) {
    until(|| gate.at_gate() == 1 && collections.waiting_line.waiting() == count);
}

fn others_are_answered(collections: &Arc<Collections>) {
    for _ in 0..MANY {
        let of_leak = Words::new(64).vector("heap leaks");
        assert_eq!(by_vector(collections, "notes", &of_leak, 1), ["leak"]);
        assert_eq!(wait(|reply| collections.count("notes".to_owned(), None, reply)).unwrap(), 2);
        let all = |reply| collections.get("notes".to_owned(), Which::default(), 0, 10, PLAIN, reply);
        assert_eq!(wait(all).unwrap().len(), 2);
        assert_eq!(listed(collections, "notes").count, 2);
    }
}

#[test]
fn queries_that_wait_for_a_model_leave_the_readers_to_others() {
    let (_data, gate, collections) = opened();
    let answers: Vec<_> = (0..MANY).map(|_| asked(&collections, "notes")).collect();
    let nowhere = asked(&collections, "nowhere");
    until_waiting(&gate, &collections, MANY);
    others_are_answered(&collections);
    assert!(answers.iter().all(Receiver::is_empty) && nowhere.is_empty());
    gate.set_open(true);
    assert!(answers.iter().all(|answer| taken(answer).unwrap() == ["leak"]));
    assert!(taken(&nowhere).unwrap().is_empty());
    let before = gate.words().embedded();
    assert_eq!(taken(&asked(&collections, "notes")).unwrap(), ["leak"]);
    assert_eq!(gate.words().embedded() - before, 1, "the model is compared once");
    close(&collections);
}

#[test]
fn a_collection_that_goes_while_its_query_waits_is_not_found() {
    let (_data, gate, collections) = opened();
    let answer = asked(&collections, "notes");
    until_waiting(&gate, &collections, 0);
    assert!(wait(|reply| collections.drop_collection("notes".to_owned(), soon(), reply)).unwrap());
    let own = vec![vector("mine", &[1.0, 0.0])];
    upsert(&collections, "notes", own).unwrap();
    gate.set_open(true);
    let error = taken(&answer).unwrap_err();
    assert_eq!(error.code, Code::NoModel);
    assert!(error.message.contains("are your own"), "{error}");
    close(&collections);
}

#[test]
fn a_model_that_cannot_be_loaded_is_named_to_all_who_waited() {
    let (_data, gate, collections) = opened();
    let answers: Vec<_> = (0..MANY).map(|_| asked(&collections, "notes")).collect();
    until_waiting(&gate, &collections, MANY - 1);
    gate.words().set_missing(true);
    gate.set_open(true);
    for answer in &answers {
        let error = taken(answer).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::NoModel, "the test took the model away"));
    }
    close(&collections);
}

#[test]
fn collections_that_are_closed_answer_all_who_wait_for_their_model() {
    let (_data, gate, collections) = opened();
    let answers: Vec<_> = (0..MANY).map(|_| asked(&collections, "notes")).collect();
    until_waiting(&gate, &collections, MANY - 1);
    let closing = {
        let collections = Arc::clone(&collections);
        std::thread::spawn(move || close(&collections))
    };
    // Before the gate opens, also the one at it.
    assert!(answers.iter().all(|answer| taken(answer).unwrap_err().code == Code::Disposed));
    gate.set_open(true);
    closing.join().unwrap();
    assert_eq!(gate.at_gate(), 0, "the thread was waited for");
    assert_eq!(taken(&asked(&collections, "notes")).unwrap_err().code, Code::Disposed);
}

#[test]
fn too_many_who_wait_for_a_model_are_told() {
    let (_data, gate, collections) = opened();
    let mut answers = vec![asked(&collections, "notes")];
    until_waiting(&gate, &collections, 0);
    for _ in 0..10 {
        answers.extend((0..1_000).map(|_| asked(&collections, "notes")));
        until_waiting(&gate, &collections, answers.len() - 1);
    }
    let error = taken(&asked(&collections, "notes")).unwrap_err();
    assert_eq!(error.code, Code::Busy);
    assert!(error.message.contains("wait for the model, the limit"), "{error}");
    others_are_answered(&collections);
    collections.close(Duration::from_millis(1));
    assert!(answers.iter().all(|answer| taken(answer).unwrap_err().code == Code::Disposed));
    gate.set_open(true);
}
