//! Records against a plain ordered map.

use std::collections::BTreeMap;

use assay_storage::{Batch, Family, SCAN_ROWS_MAX, Store, StoreError, VALUE_BYTES_MAX};
use proptest::prelude::*;

use crate::support::open;

const FAMILIES: [Family; 3] = [Family::Meta, Family::Vote, Family::Payout];

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(usize, Vec<u8>, Option<Vec<u8>>)>),
    Reopen,
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    // Few letters, so that keys meet and prefixes match.
    prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 1..4)
}

fn any_step() -> impl Strategy<Value = Step> {
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..40));
    let ops = prop::collection::vec((0..FAMILIES.len(), any_key(), value), 0..12);
    prop_oneof![5 => ops.prop_map(Step::Commit), 1 => Just(Step::Reopen)]
}

type Model = BTreeMap<Family, BTreeMap<Vec<u8>, Vec<u8>>>;

fn scan_all(store: &Store, family: Family, prefix: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(family, prefix, limit, after.as_deref()).unwrap();
        assert!(page.rows.len() <= limit);
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn records_behave_like_an_ordered_map_across_reopening(
        steps in prop::collection::vec(any_step(), 1..12),
        prefix in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..3),
        limit in 1usize..5,
    ) {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Reopen => {
                    drop(store);
                    store = open(home.path());
                }
                Step::Commit(ops) => {
                    let mut batch = Batch::new();
                    for (family, key, value) in ops {
                        let family = FAMILIES[family];
                        let rows = model.entry(family).or_default();
                        match value {
                            Some(value) => {
                                batch.put(family, key.clone(), value.clone()).unwrap();
                                rows.insert(key, value);
                            }
                            None => {
                                batch.delete(family, key.clone()).unwrap();
                                rows.remove(&key);
                            }
                        }
                    }
                    store.commit(&batch).unwrap();
                }
            }
        }
        for family in FAMILIES {
            let rows = model.entry(family).or_default();
            prop_assert_eq!(store.count(family).unwrap(), rows.len() as u64);
            let expected: Vec<_> = rows
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            prop_assert_eq!(scan_all(&store, family, &prefix, limit), expected);
            for (key, value) in &*rows {
                prop_assert_eq!(store.get(family, key).unwrap(), Some(value.clone()));
            }
        }
    }
}

#[test]
fn a_view_keeps_showing_the_state_it_was_taken_at() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let mut batch = Batch::new();
    batch.put(Family::Announce, *b"a", *b"1").unwrap();
    store.commit(&batch).unwrap();
    let view = store.view().unwrap();
    let mut batch = Batch::new();
    batch.delete(Family::Announce, *b"a").unwrap();
    batch.put(Family::Announce, *b"b", *b"2").unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(view.get(Family::Announce, b"a").unwrap().unwrap(), b"1");
    assert_eq!(view.get(Family::Announce, b"b").unwrap(), None);
    assert_eq!(view.count(Family::Announce).unwrap(), 1);
    assert_eq!(store.get(Family::Announce, b"a").unwrap(), None);
}

#[test]
fn the_largest_value_is_kept_and_large_pages_end_early() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let value = vec![9; VALUE_BYTES_MAX];
    for key in 0..3u8 {
        let mut batch = Batch::new();
        batch.put(Family::Snapshot, [key], value.clone()).unwrap();
        store.commit(&batch).unwrap();
    }
    let page = store.scan(Family::Snapshot, b"", 10, None).unwrap();
    assert_eq!((page.rows.len(), page.next), (2, Some(vec![1])));
    assert_eq!(page.rows[1].1, value);
    let rest = store.scan(Family::Snapshot, b"", 10, Some(&[1])).unwrap();
    assert_eq!((rest.rows.len(), rest.next), (1, None));
}

#[test]
fn reads_outside_the_bounds_are_refused_and_the_handle_stays_usable() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    for limit in [0, SCAN_ROWS_MAX + 1] {
        let refused = store.scan(Family::Vote, b"", limit, None).unwrap_err();
        assert!(matches!(refused, StoreError::ScanLimit { .. }) && !refused.is_fatal());
    }
    for key in [&[][..], &[0; 129]] {
        let refused = store.get(Family::Vote, key).unwrap_err();
        assert!(matches!(refused, StoreError::KeyLength { .. }) && !refused.is_fatal());
    }
    assert_eq!(store.count(Family::Vote).unwrap(), 0);
}

#[test]
fn commits_from_several_threads_are_all_kept() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..10u8 {
                    let mut batch = Batch::new();
                    batch.put(Family::Vote, [thread, i], [i]).unwrap();
                    store.commit(&batch).unwrap();
                }
            });
        }
    });
    assert_eq!(store.count(Family::Vote).unwrap(), 40);
}
