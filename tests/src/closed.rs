//! Both planes in this process as they run in earnest: TLS on every listener, API keys for every caller.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use sluice_client::{Connection, Credentials};
use sluice_control_plane::ControlPlane;
use sluice_host::{
    clock::{Clock, ManualClock},
    tls::TlsFiles,
};
use sluice_node::Node;
use sluice_proto::{
    access::v1::{
        CreateKeyRequest, CreateProjectRequest, Key, KeyLimits, RevokeKeyRequest, Role,
        access_service_client::AccessServiceClient,
    },
    sync::v1::{CreateSyncRequest, Sync},
};
use tempfile::TempDir;

use crate::{
    cluster::{START_MS, eventually, rules},
    endpoint::PATIENCE,
};

/// Signs the certificates of a test.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, whose own certificate is `ca.pem` in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { folder: folder.to_owned(), issuer }
    }

    /// The file with its own certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Files with a certificate of a server on this machine, and its key.
    #[must_use]
    pub fn server(&self) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        self.sign("server", params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Files with a certificate of the node of that id, and its key.
    #[must_use]
    pub fn node(&self, id: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let uri = format!("spiffe://example.org/sluice/nodes/{id}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        self.sign(id, params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, name: &str, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> (PathBuf, PathBuf) {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

/// A control plane and a node, both closed.
pub struct Closed {
    folder: TempDir,
    /// Signs certificates that both planes trust.
    pub authority: Authority,
    clock: Clock,
    /// Moves the time.
    pub time: ManualClock,
    control_plane: Option<ControlPlane>,
    control_address: SocketAddr,
    node: Option<Node>,
    node_credentials: Credentials,
}

impl Closed {
    /// Starts the control plane, and the node `n1` with an API key.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let (clock, time) = Clock::manual(START_MS);
        let mut closed = Self {
            authority,
            clock,
            time,
            control_plane: None,
            control_address: "127.0.0.1:0".parse().unwrap(),
            node: None,
            node_credentials: Credentials::default(),
            folder,
        };
        closed.start_control_plane().await;
        let (_, text) = closed.key(Role::Node, "").await;
        closed.start_node(closed.with_key(&text)).await;
        closed
    }

    fn tls(&self, client_ca: Option<PathBuf>) -> TlsFiles {
        let (cert, key) = self.authority.server();
        TlsFiles { cert, key, client_ca, client_cert_optional: true }
    }

    /// Starts the control plane, at the address that it had before.
    pub async fn start_control_plane(&mut self) {
        let data_dir = self.folder.path().join("control-plane");
        let config = sluice_control_plane::Config {
            listen: self.control_address,
            access: sluice_access::AccessMode::Keys,
            tls: Some(self.tls(Some(self.authority.ca_file()))),
            ..sluice_control_plane::Config::on_loopback(data_dir, rules(), self.clock.clone())
        };
        let control_plane = sluice_control_plane::start(config).await.unwrap();
        self.control_address = control_plane.address();
        self.control_plane = Some(control_plane);
    }

    /// Stops the control plane; its store stays.
    pub async fn stop_control_plane(&mut self) {
        self.control_plane.take().unwrap().stop().await;
    }

    /// Starts the node `n1`, which shows `credentials` to the control plane, and waits until it serves a catalog.
    pub async fn start_node(&mut self, credentials: Credentials) {
        self.node_credentials = credentials.clone();
        let data_dir = self.folder.path().join("node");
        let config = sluice_node::Config {
            access: sluice_access::AccessMode::Keys,
            tls: Some(self.tls(None)),
            control_plane: self.control_url(),
            credentials,
            ..sluice_node::Config::on_loopback("n1", self.control_address, data_dir, rules(), self.clock.clone())
        };
        let node = sluice_node::start(config).await.unwrap();
        let mut catalog = node.catalog();
        let served = tokio::time::timeout(PATIENCE, catalog.wait_for(|catalog| !catalog.epoch().is_empty())).await;
        served.expect("the node got no catalog").unwrap();
        self.node = Some(node);
    }

    /// Stops the node; its spool stays.
    pub async fn stop_node(&mut self) {
        self.node.take().unwrap().stop().await;
    }

    /// Stops both.
    pub async fn stop(mut self) {
        self.stop_node().await;
        self.stop_control_plane().await;
    }

    /// Stops the node and starts it again.
    pub async fn restart_node(&mut self) {
        self.stop_node().await;
        self.start_node(self.node_credentials.clone()).await;
    }

    /// Where the control plane is.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("https://localhost:{}", self.control_address.port())
    }

    /// Where the node takes events.
    #[must_use]
    pub fn node_url(&self) -> String {
        format!("https://localhost:{}", self.node.as_ref().unwrap().address().port())
    }

    /// Shows no key.
    #[must_use]
    pub fn anonymous(&self) -> Credentials {
        Credentials::default().ca_file(self.authority.ca_file())
    }

    /// Shows this key.
    #[must_use]
    pub fn with_key(&self, text: &str) -> Credentials {
        self.anonymous().api_key(text)
    }

    /// Shows the admin key that the control plane has made in its folder.
    #[must_use]
    pub fn admin(&self) -> Credentials {
        self.anonymous().api_key_file(self.folder.path().join("control-plane/admin.key"))
    }

    /// A connection to the control plane, for the admin.
    pub async fn control(&self) -> Connection {
        self.admin().connect(&self.control_url()).await.unwrap()
    }

    /// Manages keys, for the admin.
    pub async fn access(&self) -> AccessServiceClient<Connection> {
        sluice_client::access_client(self.control().await)
    }

    /// Makes a project.
    pub async fn project(&self, id: &str) {
        let request = CreateProjectRequest { project_id: id.to_owned(), validate_only: false };
        sluice_client::project_client(self.control().await).create_project(request).await.unwrap();
    }

    /// Makes a key of a project's id, or of every one; gives its name and its text.
    pub async fn key(&self, role: Role, project: &str) -> (String, String) {
        self.key_like("", Key { role: role.into(), project: project_name(project), ..Key::default() }).await
    }

    /// Makes a key for the events of a project, with limits.
    pub async fn limited_key(&self, project: &str, limits: KeyLimits) -> (String, String) {
        let (role, project) = (Role::Ingest.into(), project_name(project));
        self.key_like("", Key { role, project, limits: Some(limits), ..Key::default() }).await
    }

    /// Makes this key.
    pub async fn key_like(&self, id: &str, key: Key) -> (String, String) {
        let request = CreateKeyRequest { key_id: id.to_owned(), key: Some(key), validate_only: false };
        let created = self.access().await.create_key(request).await.unwrap().into_inner();
        (created.key.unwrap().name, created.text)
    }

    /// Revokes a key.
    pub async fn revoke(&self, name: &str) {
        let request = RevokeKeyRequest { name: name.to_owned(), validate_only: false };
        self.access().await.revoke_key(request).await.unwrap();
    }

    /// Creates a sync in a project and waits until the node serves it.
    pub async fn create(&self, project: &str, id: &str, sync: Sync) {
        let request = CreateSyncRequest {
            parent: project_name(project),
            sync_id: id.to_owned(),
            sync: Some(sync),
            ..CreateSyncRequest::default()
        };
        let created = sluice_client::sync_client(self.control().await).create_sync(request).await.unwrap();
        let revision = created.into_inner().revision;
        eventually("the node serves the sync", async || {
            (self.node.as_ref().unwrap().catalog().borrow().revision() >= revision).then_some(())
        })
        .await;
    }
}

fn project_name(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!("projects/{id}") }
}
