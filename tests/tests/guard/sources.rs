//! Nothing in the node opens a socket around the guard. The lint `disallowed_methods` of `clippy.toml` sees calls of the
//! functions that open sockets; this looks for what it does not see.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What leads to a socket or around the lint, and the files that may hold it.
const GUARDED: [(&str, &[&str]); 23] = [
    // The listener's TLS is on sockets that were accepted.
    ("TcpStream", &["host/src/tls.rs", "node/src/guard/mod.rs", "node/src/guard/socket.rs"]),
    ("TcpSocket", &[]),
    ("UdpSocket", &["node/src/guard/policy.rs"]),
    ("UnixStream", &[]),
    ("lookup_host", &["node/src/guard/resolver.rs"]),
    ("ToSocketAddrs", &[]),
    ("to_socket_addrs", &[]),
    ("getaddrinfo(", &[]),
    // Telemetry's leads to the backend that the operator names, and nowhere else.
    ("HttpConnector", &["telemetry/src/http.rs"]),
    ("HttpsConnector", &["node/src/http/connector.rs", "telemetry/src/http.rs"]),
    // HTTP over a stream that is given: it opens none.
    ("client::conn", &["node/src/http/connection.rs"]),
    ("client::legacy::Client", &[]),
    ("client::legacy::{", &["telemetry/src/http.rs"]),
    ("Guard::new", &["node/src/http/mod.rs", "node/src/guard/mod.rs"]),
    ("reqwest", &[]),
    ("socket2", &[]),
    ("rustix::net", &[]),
    ("Command::new", &[]),
    ("connect_lazy", &[]),
    // To the backend that the operator names, and nowhere else.
    ("with_tonic()", &["telemetry/src/export.rs"]),
    ("connect_with_connector", &[]),
    ("dial.connect()", &["node/src/control.rs", "node/src/uplink.rs", "node/src/commands/mod.rs"]),
    ("disallowed_methods", &["node/src/guard/mod.rs", "node/src/guard/policy.rs", "node/src/guard/resolver.rs"]),
];

/// The only channel to somewhere else than a destination: the control plane's, of the node's own configuration.
const ENDPOINTS: [(&str, &[&str]); 4] = [
    ("credentials.connect(", &["node/src/dial.rs"]),
    ("sluice_client::connect", &[]),
    ("Endpoint::", &[]),
    ("Channel::from_shared", &[]),
];

/// Libraries that open sockets of their own; the node's HTTP library opens none without a connector.
const LIBRARIES: [&str; 16] = [
    "async-std",
    "attohttpc",
    "awc",
    "curl",
    "h2",
    "hickory-resolver",
    "isahc",
    "minreq",
    "mio",
    "nix",
    "reqwest",
    "smol",
    "socket2",
    "surf",
    "trust-dns-resolver",
    "ureq",
];

const CRATES: [&str; 6] = ["access", "node", "pipeline", "host", "telemetry", "freemarker"];

#[test]
fn what_leads_to_a_socket_is_in_the_guard_alone() {
    let files = sources();
    assert!(files.len() > 50, "{}", files.len());
    for (word, allowed) in GUARDED.into_iter().chain(ENDPOINTS) {
        let mut holding: Vec<_> = files.iter().filter(|(_, text)| text.contains(word)).map(|(name, _)| name).collect();
        holding.sort();
        let mut allowed = allowed.to_vec();
        allowed.sort_unstable();
        assert_eq!(holding, allowed, "{word} stands in other files than those that may hold it");
    }
}

#[test]
fn the_lint_names_every_function_that_opens_a_socket_or_resolves_a_name() {
    let text = fs::read_to_string(root().join("clippy.toml")).unwrap();
    for function in [
        "std::net::TcpStream::connect\"",
        "std::net::TcpStream::connect_timeout\"",
        "std::net::UdpSocket::bind\"",
        "std::net::ToSocketAddrs::to_socket_addrs\"",
        "tokio::net::TcpStream::connect\"",
        "tokio::net::TcpSocket::connect\"",
        "tokio::net::UdpSocket::bind\"",
        "tokio::net::lookup_host\"",
    ] {
        assert!(text.contains(function), "{function}");
    }
    // The node and what it is made of have no list of their own that would count instead.
    for name in ["data-plane/clippy.toml", "data-plane/node/clippy.toml", "data-plane/host/clippy.toml"] {
        assert!(!root().join(name).exists(), "{name} hides the list of the workspace");
    }
}

#[test]
fn the_data_plane_depends_on_no_library_that_opens_sockets_of_its_own() {
    for name in CRATES {
        let manifest = fs::read_to_string(root().join("data-plane").join(name).join("Cargo.toml")).unwrap();
        for library in LIBRARIES {
            let depends = manifest
                .lines()
                .any(|line| line.strip_prefix(library).is_some_and(|rest| rest.starts_with(['.', ' ', '='])));
            assert!(!depends, "{name} depends on {library}");
        }
    }
}

/// Every source file of the data plane, by its path within it.
fn sources() -> Vec<(String, String)> {
    let folder = root().join("data-plane");
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|name| folder.join(name).join("src")).collect();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
