//! Building that waits.

use super::{
    super::{Allowed, By, Entry, State, VectorIndex, testing::clustered},
    graphed, settings, settle,
};

/// From so many on [`graphed`] has a graph.
const THRESHOLD: usize = 300;

fn put(index: &VectorIndex, vectors: &[Vec<f32>], ids: std::ops::Range<usize>) {
    for id in ids {
        index.put(&[Entry { id: id as i64, group: id as i64, vector: &vectors[id] }]).unwrap();
    }
    settle(index);
}

/// Waits until it has ended by itself what there was to do.
fn until_done(index: &VectorIndex) {
    let start = std::time::Instant::now();
    while index.is_working() {
        assert!(start.elapsed().as_secs() < 300, "nobody begins");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn a_first_graph_waits_until_all_is_taken_in_and_no_longer_than_searches_bear() {
    let index = graphed(None, 32, &settings());
    let vectors = clustered(3 * THRESHOLD, 32, 5);
    let (first, second) = (index.postpone_building(), index.postpone_building());
    put(&index, &vectors, 0..2 * THRESHOLD - 1);
    assert_eq!((index.state(), index.is_working()), (State::Exact, false));
    drop(first);
    settle(&index);
    assert_eq!(index.state(), State::Exact, "the other still has it wait");
    put(&index, &vectors, 2 * THRESHOLD - 1..2 * THRESHOLD);
    assert_eq!(index.state(), State::Graph, "too many to be compared for long");
    drop(second);

    let index = graphed(None, 32, &settings());
    let postponed = index.postpone_building();
    put(&index, &vectors, 0..THRESHOLD);
    assert_eq!(index.state(), State::Exact);
    drop(postponed);
    until_done(&index);
    assert_eq!((index.state(), index.changed_since_graph()), (State::Graph, 0));
}

#[test]
fn a_graph_learns_nothing_meanwhile_and_what_it_does_not_know_is_found() {
    let index = graphed(None, 32, &settings());
    let vectors = clustered(5 * THRESHOLD, 32, 6);
    put(&index, &vectors, 0..2 * THRESHOLD);
    let known = 2 * THRESHOLD - index.changed_since_graph();
    let postponed = index.postpone_building();
    put(&index, &vectors, 2 * THRESHOLD..known + THRESHOLD - 1);
    assert_eq!(index.changed_since_graph(), THRESHOLD - 1);
    for id in [0, known, known + THRESHOLD - 2] {
        let hits = index.nearest(&vectors[id], 1, By::Document, Allowed::All).unwrap();
        assert_eq!(hits[0].id, id as i64);
    }
    put(&index, &vectors, known + THRESHOLD - 1..known + THRESHOLD);
    let left = index.changed_since_graph();
    assert!(left < THRESHOLD / 2, "so many do not wait: {left}");
    put(&index, &vectors, known + THRESHOLD..known + 2 * THRESHOLD - left - 1);
    assert_eq!(index.changed_since_graph(), THRESHOLD - 1);
    drop(postponed);
    until_done(&index);
    let left = index.changed_since_graph();
    assert!(left < THRESHOLD - 1, "as soon as nobody has it wait: {left}");
}
