//! Catalogs: snapshots, deltas, refusals and matching.

use std::sync::Arc;

use proptest::prelude::*;
use sluice_pipeline::{
    catalog::{
        Catalog, CatalogHash, DeltaRefused, Entry, Position, SnapshotAssembler, SnapshotBroken, catalog_hash, syncs,
    },
    event::Event,
    sync::Rules,
    violation::reason,
};
use sluice_proto::{
    node::v1::{RefusedSync, Resource, SnapshotChunk},
    sync::v1::{Filter, PropertyOperator, PropertyRoot, Sync},
};

use crate::support::{SyncExt, compiled, conditions, property, secret, sync, types};

fn rules() -> Rules {
    Rules::default()
}

fn catalog(syncs: impl IntoIterator<Item = Sync>) -> Catalog {
    Catalog::empty().replace("e1", 1, syncs.into_iter().collect(), &rules())
}

/// The next revision of a catalog.
fn upserted(catalog: &Catalog, syncs: impl IntoIterator<Item = Sync>) -> Catalog {
    let from = catalog.revision();
    catalog.apply("e1", from, from + 1, syncs.into_iter().collect(), &[], &rules()).unwrap()
}

/// Needs a feature of the future.
fn unreadable(sync: Sync) -> Sync {
    sync.with(|sync| {
        sync.required_features = vec!["time.travel".into()];
        sync.display_name = "of the future".into();
        sync.revision += 1;
    })
}

#[track_caller]
fn matching(catalog: &Catalog, project: &str, event: &str) -> Vec<String> {
    let mut out = Vec::new();
    catalog.matching(project, &Event::parse(event.as_bytes()).unwrap(), &mut out);
    let mut names: Vec<_> = out.into_iter().map(|sync| sync.name.sync.clone()).collect();
    names.sort_unstable();
    names
}

#[test]
fn an_empty_catalog_has_the_hash_of_nothing() {
    let catalog = Catalog::empty();
    assert_eq!((catalog.epoch(), catalog.revision()), ("", 0));
    assert_eq!(catalog.hash().to_string(), format!("sum256:{}", "0".repeat(64)));
    assert_eq!(catalog.uids().len(), 0);
}

#[test]
fn the_hash_is_the_sum_of_uids_and_etags_in_any_order() {
    // printf 'a\0e1\0' | sha256sum, printf 'b\0e2\0' | sha256sum; added as four big-endian numbers of 64 bits each
    let expected = "sum256:581d67d0f4a521435df02b9ca76a6564e3be31d6f2ca148b7c15e56bc6567d39";
    assert_eq!(catalog_hash([("a", "e1"), ("b", "e2")].into_iter()), expected);
    assert_eq!(catalog_hash([("b", "e2"), ("a", "e1")].into_iter()), expected);
    assert_ne!(catalog_hash([("a", "e2"), ("b", "e1")].into_iter()), expected);
    assert_ne!(catalog_hash([("a", "e1"), ("a", "e1"), ("b", "e2")].into_iter()), expected, "twice is not once");
    let (a, b) = (sync("a"), sync("b"));
    let catalog = catalog([b.clone(), a.clone()]);
    let pairs = [(a.uid.as_str(), a.etag.as_str()), (b.uid.as_str(), b.etag.as_str())];
    assert_eq!(catalog.hash(), CatalogHash::of(pairs.into_iter()));
}

proptest! {
    #[test]
    fn a_catalog_that_changed_step_by_step_is_one_that_was_built_at_once(
        steps in prop::collection::vec((0_usize..6, 0_usize..4), 0..24),
    ) {
        let event = r#"{"event_type": "x", "device_id": "d"}"#;
        let mut catalog = catalog([]);
        for (number, (which, what)) in steps.into_iter().enumerate() {
            let project = ["default", "other"][which % 2];
            let changed = sync(&format!("s{which}")).with(|sync| {
                sync.name = format!("projects/{project}/syncs/s{which}");
                sync.display_name = number.to_string();
                sync.enabled = what != 1;
            });
            let changed = if what == 2 { unreadable(changed) } else { changed };
            catalog = if what == 3 {
                let from = catalog.revision();
                catalog.apply("e1", from, from + 1, Vec::new(), &[changed.uid], &rules()).unwrap()
            } else {
                upserted(&catalog, [changed])
            };
        }
        let entries = catalog.entries().cloned().collect();
        let whole = Catalog::restore("e1", catalog.revision(), entries, &rules());
        prop_assert_eq!(catalog.hash(), whole.hash());
        prop_assert_eq!(catalog.refused(), whole.refused());
        for project in ["default", "other"] {
            prop_assert_eq!(matching(&catalog, project, event), matching(&whole, project, event));
        }
    }
}

#[test]
fn events_match_by_type_then_conditions_within_their_project() {
    let condition = property(PropertyRoot::Event, "platform", PropertyOperator::Is, &["iOS"]);
    let mut only_ios = types(&["purchase"]);
    only_ios.conditions.push(condition.clone());
    let catalog = catalog([
        sync("all"),
        sync("purchases").with_filter(types(&["purchase", "refund", "purchase"])),
        sync("ios-purchases").with_filter(only_ios),
        sync("ios").with_filter(conditions([condition])),
        sync("homes").with_filter(types(&["home"])),
        sync("disabled").with(|sync| sync.enabled = false),
        sync("foreign").with(|sync| sync.name = "projects/other/syncs/foreign".into()),
    ]);
    let purchase = r#"{"event_type": "purchase", "platform": "iOS"}"#;
    assert_eq!(matching(&catalog, "default", purchase), ["all", "ios", "ios-purchases", "purchases"]);
    assert_eq!(matching(&catalog, "default", r#"{"event_type": "purchase"}"#), ["all", "purchases"]);
    assert_eq!(matching(&catalog, "default", r#"{"event_type": "Home"}"#), ["all"]);
    assert_eq!(matching(&catalog, "other", purchase), ["foreign"]);
    assert_eq!(matching(&catalog, "nobody", purchase), [""; 0]);
    assert_eq!(catalog.syncs().count(), 7);
}

/// A sync by numbers: which types and patterns it takes, which conditions it has.
fn arbitrary_sync(number: usize, types: &[usize], patterns: &[usize], asks: &[usize]) -> Sync {
    let pick = |from: &[&str], at: &[usize]| at.iter().map(|&at| from[at % from.len()].to_owned()).collect();
    let conditions = asks.iter().map(|&ask| {
        let value = ["iOS", "web", "(none)"][ask % 3];
        property(PropertyRoot::Event, "platform", PropertyOperator::Is, &[value])
    });
    sync(&format!("s{number}")).with_filter(Filter {
        event_types: pick(&["a", "ab", "abc", "b"], types),
        event_type_patterns: pick(&["a*", "ab?", "*", "[ab]", "b**", "**c"], patterns),
        conditions: conditions.collect(),
    })
}

proptest! {
    #[test]
    fn a_catalog_matches_what_each_filter_matches_and_each_sync_once(
        syncs in prop::collection::vec(
            (prop::collection::vec(0_usize..4, 0..3), prop::collection::vec(0_usize..6, 0..4), prop::collection::vec(0_usize..3, 0..3)),
            1..12,
        ),
        event_type in prop::sample::select(vec!["a", "ab", "abc", "b", "c", "a/b"]),
        platform in prop::sample::select(vec!["iOS", "web", "tv"]),
    ) {
        let syncs: Vec<_> = syncs
            .iter()
            .enumerate()
            .map(|(number, (types, patterns, asks))| arbitrary_sync(number, types, patterns, asks))
            .collect();
        let json = format!(r#"{{"event_type": "{event_type}", "device_id": "d", "platform": "{platform}"}}"#);
        let event = Event::parse(json.as_bytes()).unwrap();
        let mut expected: Vec<_> = syncs
            .iter()
            .map(compiled)
            .filter(|sync| sync.filter.matches(&event))
            .map(|sync| sync.name.sync.clone())
            .collect();
        expected.sort_unstable();
        prop_assert_eq!(matching(&catalog(syncs), "default", &json), expected);
    }
}

#[test]
fn a_snapshot_replaces_everything() {
    let old = catalog([sync("a"), sync("b")]);
    let new = old.replace("e2", 5, vec![sync("b"), sync("c")], &rules());
    assert_eq!((new.epoch(), new.revision()), ("e2", 5));
    assert_eq!(new.uids().collect::<Vec<_>>(), ["uid-b", "uid-c"]);
    assert!(new.get("uid-a").is_none() && !new.contains("uid-a"));
    assert!(Arc::ptr_eq(old.get("uid-b").unwrap(), new.get("uid-b").unwrap()), "unchanged syncs are shared");
    assert_eq!(old.uids().len(), 2, "the old one is as it was");
}

#[test]
fn a_delta_changes_what_it_names() {
    let old = catalog([sync("a"), sync("b"), sync("c")]);
    let changed = sync("b").with_url("https://hooks.example.com/b");
    let new =
        old.apply("e1", 1, 4, vec![changed, sync("d")], &["uid-c".into(), "uid-unknown".into()], &rules()).unwrap();
    assert_eq!(new.revision(), 4);
    assert_eq!(new.uids().collect::<Vec<_>>(), ["uid-a", "uid-b", "uid-d"]);
    assert_eq!(new.get("uid-b").unwrap().destination.uri.path(), "/b");
    assert!(Arc::ptr_eq(old.get("uid-a").unwrap(), new.get("uid-a").unwrap()));
    assert_eq!(new.hash(), catalog(new.entries().map(|entry| entry.latest.clone())).hash());
    assert_eq!(matching(&new, "default", r#"{"event_type": "x"}"#), ["a", "b", "d"]);
}

#[test]
fn a_delta_must_begin_where_the_catalog_stands() {
    let catalog = catalog([sync("a")]);
    let apply = |epoch, from, to| catalog.apply(epoch, from, to, vec![], &[], &rules()).err();
    assert_eq!(apply("e2", 1, 2), Some(DeltaRefused::Epoch { held: "e1".into(), delta: "e2".into() }));
    assert_eq!(apply("e1", 0, 2), Some(DeltaRefused::FromRevision { held: 1, delta: 0 }));
    assert_eq!(apply("e1", 2, 3), Some(DeltaRefused::FromRevision { held: 1, delta: 2 }));
    assert_eq!(apply("e1", 1, 0), Some(DeltaRefused::Backwards { from: 1, to: 0 }));
    assert_eq!(apply("e1", 1, 1), None);
}

#[test]
fn a_refused_sync_keeps_its_last_good_version_serving() {
    let good = sync("a").with_url("https://hooks.example.com/good");
    let bad = unreadable(good.clone());
    let catalog = upserted(&catalog([good.clone()]), [bad.clone()]);
    assert_eq!(catalog.get("uid-a").unwrap().revision, 1);
    assert_eq!(matching(&catalog, "default", r#"{"event_type": "x"}"#), ["a"]);
    let [refused] = catalog.refused() else { panic!("{:?}", catalog.refused()) };
    assert_eq!((refused.uid.as_ref(), refused.revision), ("uid-a", 2));
    assert_eq!(refused.violations[0].reason, reason::UNKNOWN_FEATURE);
    assert_eq!(RefusedSync::from(refused).violations[0].field, "required_features[0]");
    assert_eq!(
        catalog.hash(),
        CatalogHash::of([("uid-a", bad.etag.as_str())].into_iter()),
        "the hash is of what was received"
    );

    // a second bad version, and a snapshot, change nothing about that
    let worse = unreadable(bad);
    for catalog in [upserted(&catalog, [worse.clone()]), catalog.replace("e1", 9, vec![worse.clone()], &rules())] {
        assert_eq!(catalog.get("uid-a").unwrap().revision, 1);
        assert_eq!(catalog.refused()[0].revision, 3);
        assert_eq!(catalog.entries().next().unwrap(), &Entry { latest: worse.clone(), good: Some(good.clone()) });
    }

    // and a good one ends it
    let mended = good.clone().with(|sync| sync.revision = 4);
    let catalog = upserted(&catalog, [mended.clone()]);
    assert!(catalog.refused().is_empty());
    assert_eq!(catalog.get("uid-a").unwrap().revision, 4);
    assert_eq!(catalog.entries().next().unwrap(), &Entry { latest: mended, good: None });
}

#[test]
fn a_sync_that_was_never_good_is_known_but_does_not_serve() {
    let catalog = catalog([unreadable(sync("a"))]);
    assert!(catalog.get("uid-a").is_none() && catalog.contains("uid-a"));
    assert_eq!(catalog.uids().collect::<Vec<_>>(), ["uid-a"]);
    assert_eq!(catalog.syncs().count(), 0);
    assert_eq!(matching(&catalog, "default", r#"{"event_type": "x"}"#), [""; 0]);
    assert_eq!(catalog.refused().len(), 1);
}

#[test]
fn disabling_works_even_on_a_version_that_is_not_understood() {
    let bad = unreadable(sync("a"));
    let disabled = bad.clone().with(|sync| (sync.enabled, sync.revision) = (false, 3));
    let catalog = upserted(&upserted(&catalog([sync("a")]), [bad.clone()]), [disabled]);
    assert!(!catalog.get("uid-a").unwrap().enabled);
    assert_eq!(matching(&catalog, "default", r#"{"event_type": "x"}"#), [""; 0]);
    let enabled = bad.with(|sync| sync.revision = 4);
    let catalog = upserted(&catalog, [enabled]);
    assert_eq!(matching(&catalog, "default", r#"{"event_type": "x"}"#), ["a"]);
}

#[test]
fn a_stored_catalog_is_restored_with_its_refusals() {
    let good = sync("a");
    let never_good = unreadable(sync("c"));
    let stored = upserted(&catalog([good.clone(), sync("b"), never_good]), [unreadable(good)]);
    let entries = stored.entries().cloned().collect();
    let restored = Catalog::restore(stored.epoch(), stored.revision(), entries, &rules());
    assert_eq!((restored.epoch(), restored.revision(), restored.hash()), ("e1", 2, stored.hash()));
    assert_eq!(restored.refused(), stored.refused());
    assert!(restored.entries().eq(stored.entries()));
    assert_eq!(restored.get("uid-a").unwrap().revision, 1);
    assert_eq!(matching(&restored, "default", r#"{"event_type": "x"}"#), ["a", "b"]);
}

#[test]
fn no_debug_output_shows_a_secret() {
    let with_secret =
        sync("a").with_destination(|destination| destination.headers = vec![secret("Authorization", "hush")]);
    let catalog = catalog([with_secret.clone()]);
    let entry = catalog.entries().next().unwrap();
    let chunk = chunk(0, [with_secret], true);
    let snapshot = SnapshotAssembler::new().add(chunk).unwrap();
    for text in [format!("{catalog:?}"), format!("{entry:?}"), format!("{snapshot:?}")] {
        assert!(!text.contains("hush"), "{text}");
    }
}

fn chunk(index: u32, syncs: impl IntoIterator<Item = Sync>, complete: bool) -> SnapshotChunk {
    SnapshotChunk {
        epoch: "e1".into(),
        revision: 3,
        index,
        resources: syncs.into_iter().map(|sync| Resource::of_sync(&sync)).collect(),
        complete,
        catalog_hash: if complete { "of the whole".into() } else { String::new() },
    }
}

#[test]
fn a_snapshot_comes_out_of_its_last_chunk_only() {
    let mut assembler = SnapshotAssembler::new();
    assert_eq!(assembler.add(chunk(0, [sync("a")], false)), Ok(None));
    assert_eq!(assembler.add(chunk(1, [sync("b")], false)), Ok(None));
    let snapshot = assembler.add(chunk(2, [sync("c")], true)).unwrap().unwrap();
    let Position { epoch, revision, hash } = &snapshot.position;
    assert_eq!((epoch.as_str(), *revision, hash.as_str()), ("e1", 3, "of the whole"));
    assert_eq!(syncs(&snapshot.resources), Ok((vec![sync("a"), sync("b"), sync("c")], 0)));
    // ready for another
    assert!(assembler.add(chunk(0, [], true)).unwrap().unwrap().resources.is_empty());
}

#[test]
fn chunks_that_do_not_fit_together_make_no_snapshot() {
    let begun = || {
        let mut assembler = SnapshotAssembler::new();
        assembler.add(chunk(0, [sync("a")], false)).unwrap();
        assembler
    };
    assert_eq!(begun().add(chunk(2, [], true)), Err(SnapshotBroken::Index { expected: 1, found: 2 }));
    assert_eq!(SnapshotAssembler::new().add(chunk(1, [], true)), Err(SnapshotBroken::Index { expected: 0, found: 1 }));
    let other_revision = SnapshotChunk { revision: 4, ..chunk(1, [], true) };
    assert_eq!(begun().add(other_revision), Err(SnapshotBroken::Mixed { epoch: "e1".into(), revision: 4 }));

    // what was collected before a fault is gone
    let mut assembler = begun();
    assert!(assembler.add(chunk(5, [], false)).is_err());
    assert!(assembler.add(chunk(1, [], true)).is_err());
    // and a chunk 0 begins anew
    let mut assembler = begun();
    let anew = assembler.add(chunk(0, [sync("b")], true)).unwrap().unwrap();
    assert_eq!(syncs(&anew.resources), Ok((vec![sync("b")], 0)));
}

#[test]
fn resources_of_unknown_kinds_are_counted() {
    let mut resources = vec![Resource::of_sync(&sync("a")), Resource::default()];
    assert_eq!(syncs(&resources), Ok((vec![sync("a")], 1)));
    resources.push(Resource::of_encoded_sync(b"\xff".to_vec().into()));
    assert!(syncs(&resources).is_err());
}
