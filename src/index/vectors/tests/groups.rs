//! Groups with many documents near each other.

use std::collections::{BTreeMap, HashSet};

use super::{
    super::{
        Allowed, By, Entry,
        testing::{clustered, normalise},
    },
    expected, graphed, settings, settle,
};

#[test]
fn a_graph_finds_as_many_groups_as_are_wanted_however_many_near_documents_each_has() {
    const GROUPS: usize = 200;
    const OF_EACH: usize = 10;
    let index = graphed(None, 48, &settings());
    let mut model = BTreeMap::new();
    for (group, centre) in clustered(GROUPS, 48, 11).into_iter().enumerate() {
        for document in 0..OF_EACH {
            let mut vector = centre.clone();
            vector[document] += 0.02;
            normalise(&mut vector);
            let (id, group) = ((group * OF_EACH + document) as i64, group as i64);
            index.put(&[Entry { id, group, vector: &vector }]).unwrap();
            model.insert(id, (group, vector));
        }
    }
    settle(&index);
    assert!(index.has_graph());
    // What is asked for at first is a fifth of what so many groups have nearby.
    let (mut found, mut wanted) = (0, 0);
    for query in clustered(40, 48, 12) {
        for k in [1, 2, 5, 9] {
            let hits = index.nearest(&query, k, By::Group, Allowed::All).unwrap();
            let groups: HashSet<i64> = hits.iter().map(|hit| hit.group).collect();
            assert_eq!(groups.len(), k, "each once: {hits:?}");
            let expected = expected(&model, &query, k, By::Group, |_, _| true);
            found += expected.iter().filter(|(id, _)| groups.contains(&model[id].0)).count();
            wanted += k;
        }
    }
    assert!(found * 10 >= wanted * 9, "{found} of {wanted}");
    // Of a group its nearest document is told, whichever that is.
    let (_, query) = &model[&1_003];
    let best = index.best_of(query, &[100, 7, 100_000]).unwrap();
    assert_eq!(best[0].map(|hit| hit.id), Some(1_003));
    assert_eq!(
        best[1].map(|hit| hit.id),
        expected(&model, query, 1, By::Group, |_, group| group == 7).first().map(|(id, _)| *id)
    );
    assert_eq!(best[2], None);
}
