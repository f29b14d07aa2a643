//! The built command line against a real `sluice dev`: syncs as code, a test event, dead letters, the ledger, the spool.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;

use self::support::{Dev, endpoint, manifest};

#[test]
fn syncs_live_in_a_folder_of_files() {
    let dev = Dev::start();
    let url = endpoint();
    dev.file("syncs/a.yaml", &manifest("a", &url, "{\"a\": 1}"));
    dev.file("syncs/more/b.yaml", &manifest("b", &url, "{\"b\": 1}"));
    dev.file("syncs/README.md", "not a manifest");
    let folder = dev.path("syncs");

    let dry = dev.ok(&["sync", "apply", "-f", &folder, "--dry-run"]);
    assert!(dry.contains("syncs/a  would be created") && dry.contains("a dry run"), "{dry}");
    assert!(dev.ok(&["sync", "list"]).contains("no syncs"));
    let applied = dev.ok(&["sync", "apply", "-f", &folder]);
    assert!(applied.contains("syncs/b  created  served by 1 node: nodes/local"), "{applied}");
    let rollout = dev.ok(&["sync", "rollout", "a"]);
    assert!(rollout.contains("nodes/local") && rollout.contains("serving"), "{rollout}");
    assert!(dev.ok(&["metrics", "a", "--summary"]).contains("\"timePeriod\": \"ONE_HOUR\""));
    let again = dev.ok(&["sync", "apply", "-f", &folder]);
    assert_eq!(again.matches("  unchanged").count(), 2, "{again}");

    dev.file("syncs/a.yaml", &manifest("a", &format!("{url}/new"), "{\"a\": 2}").replace("hush-hush", "hush"));
    std::fs::remove_file(dev.folder.path().join("syncs/more/b.yaml")).unwrap();
    let changed = dev.run(&["sync", "apply", "-f", &folder, "--prune", "--prune-filter", "labels.team = crm"]);
    // The template's lines, and that the secret is another one.
    for part in [
        "syncs/a  updated",
        "destination.headers[0].secret: *** → ***",
        "- {\"a\": 1}",
        "+ {\"a\": 2}",
        "syncs/b  deleted",
    ] {
        assert!(changed.stdout.contains(part), "{part}: {}{}", changed.stdout, changed.stderr);
    }

    // One that is wrong holds up the other, and is named.
    dev.file("syncs/c.yaml", &manifest("c", "ftp://crm.example.com", "{}"));
    dev.file("syncs/d.yaml", &manifest("d", &url, "{}"));
    let refused = dev.run(&["sync", "apply", "-f", &folder]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("syncs/c: destination.url: "), "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing was applied"), "{}", refused.stderr);
    assert!(!dev.ok(&["sync", "list"]).contains("/d"));

    // What is exported can be applied, and changes nothing.
    let export = dev.path("export");
    dev.ok(&["sync", "export", "--dir", &export]);
    let text = std::fs::read_to_string(Path::new(&export).join("a.yaml")).unwrap();
    assert!(text.contains("/new") && !text.contains("hush") && !text.contains("etag"), "{text}");
    assert!(dev.ok(&["sync", "apply", "-f", &export]).contains("syncs/a  unchanged"));
    assert_eq!(dev.run(&["sync", "export", "--dir", &export]).code, 4, "no file is written over unasked");
    let all = dev.file("all.yaml", &dev.ok(&["sync", "export"]));
    assert!(dev.ok(&["sync", "apply", "-f", &all]).contains("syncs/a  unchanged"));
    let json = dev.file("all.json", &dev.ok(&["sync", "export", "-o", "json"]));
    assert!(dev.ok(&["sync", "apply", "-f", &json]).contains("syncs/a  unchanged"));

    let listed = dev.ok(&["sync", "list", "--filter", "labels.team = chat"]);
    assert!(listed.contains("no syncs that the filter takes"), "{listed}");
    assert_eq!(dev.run(&["sync", "list", "--filter", "team = chat"]).code, 3);
}

#[test]
fn one_event_is_sent_for_a_test() {
    let dev = Dev::start();
    let url = endpoint();
    let event = dev.file("event.json", "{\"event_type\": \"Purchase\", \"device_id\": \"d\"}");
    let good = dev.file("good.yaml", &manifest("good", &format!("{url}/yes"), "{\"a\": 1}"));
    let told = dev.ok(&["sync", "test", "-f", &good, "--event", &event]);
    assert!(told.contains("takes the event") && told.contains("answered 200"), "{told}");

    dev.ok(&["sync", "apply", "-f", &dev.file("bad.yaml", &manifest("bad", &format!("{url}/no"), "{\"a\": 1}"))]);
    let failed = dev.run(&["sync", "test", "bad", "--event", &event]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(failed.stdout.contains("answered 404") && failed.stdout.contains("  ok"), "{}", failed.stdout);

    let broken = dev.file("broken.yaml", &manifest("x", &url, "${input.nothing}"));
    let broken = dev.run(&["sync", "test", "-f", &broken, "--event", &event]);
    assert_eq!(broken.code, 3, "{}", broken.stderr);
    assert!(broken.stderr.contains("nothing was sent") && broken.stderr.contains("input.nothing"), "{}", broken.stderr);
    assert_eq!(dev.ok(&["attempts", "list", "-o", "json"]).trim(), "[]", "tests are no deliveries");
}

#[test]
fn dead_letters_are_found_mended_and_sent_again() {
    let mut dev = Dev::start();
    let url = endpoint();
    let sync = |template: &str| manifest("orders", &url, template);
    dev.ok(&["sync", "apply", "-f", &dev.file("sync.yaml", &sync("{\"a\": ${input.nothing}}"))]);
    let events: String =
        (0..5).map(|n| format!("{{\"event_type\": \"Purchase\", \"device_id\": \"d{n}\"}}\n")).collect();
    dev.ok(&["events", "send", &dev.file("events.ndjson", &events)]);
    // The events are accepted; that they end follows within moments.
    let mut count = String::new();
    for _ in 0..600 {
        count = dev.ok(&["dead-letters", "count", "-o", "json"]);
        if count.contains("\"count\": \"5\"") || count.contains("\"count\": 5") {
            break;
        }
    }
    assert!(count.contains('5'), "{count}");
    let list = dev.ok(&["dead-letters", "list", "--sync", "orders"]);
    assert_eq!(list.matches("Purchase").count(), 5, "{list}");
    let export = dev.path("dead.ndjson");
    dev.ok(&["dead-letters", "export", &export]);
    assert_eq!(std::fs::read_to_string(&export).unwrap().lines().count(), 5);

    dev.ok(&["sync", "apply", "-f", &dev.file("sync.yaml", &sync("{\"a\": 1}"))]);
    dev.ok(&["dead-letters", "redeliver", "--sync", "orders", "--yes"]);
    let drained = dev.ok(&["nodes", "drain", &node_name(&dev), "--until-empty"]);
    assert!(drained.contains("safe to delete"), "{drained}");
    let ledger = dev.ok(&["ledger"]);
    assert!(ledger.contains("orders"), "{ledger}");
    let refused = dev.run(&["events", "send", &dev.path("events.ndjson")]);
    assert_ne!(refused.code, 0, "a node that drains takes no events");

    dev.process.kill().unwrap();
    dev.process.wait().unwrap();
    let verified = dev.ok(&["spool", "verify", "--data-dir", &dev.path("data/node")]);
    assert!(!verified.is_empty());
}

fn node_name(dev: &Dev) -> String {
    let listed: serde_json::Value = serde_json::from_str(&dev.ok(&["nodes", "list", "-o", "json"])).unwrap();
    listed[0]["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[test]
fn the_key_of_secrets_is_rotated_while_nothing_runs() {
    let mut dev = Dev::start();
    dev.ok(&["sync", "apply", "-f", &dev.file("sync.yaml", &manifest("a", &endpoint(), "{}"))]);
    let data = dev.path("data/control-plane");
    let (new, newer) = (dev.file("new.key", &"0a".repeat(32)), dev.file("newer.key", &"0b".repeat(32)));
    let rotate = |dev: &Dev, old: &[&str], new: &str| {
        dev.run(&[&["secrets", "rotate-key", "--data-dir", &data, "--new-secrets-key-file", new], old].concat())
    };
    assert_eq!(rotate(&dev, &[], &new).code, 6, "it runs");
    dev.process.kill().unwrap();
    dev.process.wait().unwrap();

    let done = rotate(&dev, &[], &new);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(!Path::new(&data).join("secrets.key").exists(), "the folder's own key is gone");
    let wrong = rotate(&dev, &["--secrets-key-file", &newer], &new);
    assert_eq!(wrong.code, 4, "{}", wrong.stderr);
    let bad = dev.file("bad.key", "0a");
    assert_eq!(rotate(&dev, &["--secrets-key-file", &bad], &new).code, 6);
    assert_eq!(rotate(&dev, &["--secrets-key-file", &new], &newer).code, 0);
    let nowhere =
        dev.run(&["secrets", "rotate-key", "--data-dir", &dev.path("nowhere"), "--new-secrets-key-file", &new]);
    assert_eq!(nowhere.code, 6, "{}", nowhere.stderr);
}

#[test]
fn traps_in_a_template_are_told_before_it_is_in_earnest() {
    let dev = Dev::start();
    let template = "{\"name\": \"${input.user_properties.name}\", \"plan\": \"${(input.plan!'none')?json_string}\"}";
    let file = dev.file("a.yaml", &manifest("a", &endpoint(), template));
    let applied = dev.run(&["sync", "apply", "-f", &file]);
    assert_eq!(applied.code, 0, "a trap is no mistake: {}{}", applied.stdout, applied.stderr);
    assert!(applied.stderr.contains("warning: projects/default/syncs/a: events.template.source"), "{}", applied.stderr);
    assert!(applied.stderr.contains("json_string"), "a remedy is told: {}", applied.stderr);
    let report = dev.ok(&[
        "sync",
        "apply",
        "-f",
        &dev.file("a.yaml", &manifest("a", "http://127.0.0.1:1", template)),
        "-o",
        "json",
    ]);
    assert!(report.contains("\"warnings\""), "{report}");

    let event = dev.file("event.json", r#"{"event_type": "a", "user_properties": {}}"#);
    let shown = dev.run(&["sync", "preview", "a", "--event", &event]);
    assert!(shown.stdout.contains("input.user_properties.name (line 1, column"), "{}", shown.stdout);
    assert!(shown.stdout.contains("rendering fails where it is reached"), "{}", shown.stdout);
    assert!(shown.stdout.contains("input.plan") && shown.stdout.contains("says what to do"), "{}", shown.stdout);
    assert!(shown.stderr.contains("warning: "), "{}", shown.stderr);
}
