//! The generated code is committed; this test proves it fresh. `UPDATE=1 cargo test -p sluice-proto` writes it anew.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use prost::Message as _;

const PROTOS: [&str; 12] = [
    "sluice/access/v1/access.proto",
    "sluice/access/v1/access_service.proto",
    "sluice/access/v1/project_service.proto",
    "sluice/alert/v1/alert_service.proto",
    "sluice/audit/v1/audit_service.proto",
    "sluice/sync/v1/sync.proto",
    "sluice/sync/v1/sync_service.proto",
    "sluice/event/v1/event_service.proto",
    "sluice/delivery/v1/delivery.proto",
    "sluice/delivery/v1/delivery_service.proto",
    "sluice/node/v1/node_service.proto",
    "sluice/node/v1/node_session_service.proto",
];

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/gen");
    let out = tempfile::tempdir().unwrap();
    generate(root, out.path());

    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&committed).unwrap();
        for (name, content) in files(out.path()) {
            fs::write(committed.join(name), content).unwrap();
        }
    }
    let fresh = files(out.path());
    let stored = files(&committed);
    assert_eq!(
        fresh.keys().collect::<Vec<_>>(),
        stored.keys().collect::<Vec<_>>(),
        "other files: run UPDATE=1 cargo test -p sluice-proto"
    );
    for (name, content) in &fresh {
        assert!(
            stored[name] == *content,
            "src/gen/{name} is not what the protos give: run UPDATE=1 cargo test -p sluice-proto"
        );
    }
}

/// Every proto file of the folder is in the list.
#[test]
fn every_proto_is_compiled() {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("sluice")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    let mut listed = PROTOS.map(str::to_owned);
    listed.sort();
    assert_eq!(found, listed);
}

fn generate(root: &Path, out: &Path) {
    let mut compiler = protox::Compiler::new([root]).unwrap();
    compiler.include_source_info(true).include_imports(true).open_files(PROTOS).unwrap();
    let with_comments = compiler.file_descriptor_set();

    tonic_prost_build::configure()
        .out_dir(out)
        .bytes(".")
        .btree_map(".")
        .extern_path(".sluice.node.v1.Resource", "crate::resource::Resource")
        .extern_path(".sluice.node.v1.ReportBatch", "crate::report_batch::ReportBatch")
        .skip_debug(["sluice.sync.v1.Secret", "sluice.access.v1.CreateKeyResponse"])
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .compile_fds(with_comments.clone())
        .unwrap();

    // For reflection and the JSON mapping; comments stay out of it.
    let mut plain = with_comments;
    for file in &mut plain.file {
        file.source_code_info = None;
    }
    fs::write(out.join("sluice.binpb"), plain.encode_to_vec()).unwrap();
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}
