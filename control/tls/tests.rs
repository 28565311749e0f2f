// SPDX-License-Identifier: MIT
//! Callers of a real server, with certificates made here.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::refusals::{LINES, Refusals};
use super::{ServerKeys, TlsError, endpoint};
use crate::config::{ClientTls, ServerTls, TlsFiles};
use crate::proto::schema::NodeSubscribeInfo;
use crate::proto::schema::subscribe_info_provisioner_client::SubscribeInfoProvisionerClient;
use crate::server;
use crate::southbound::subscribe::{self, Subscriptions};

/// An authority and a folder with certificates of it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = issuer.as_ref().pem();
        fs::write(folder.path().join("ca.pem"), ca).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the files `NAME.pem` and `NAME.key` of a certificate with this common name and these other names.
    fn issue(&self, name: &str, common: &str, others: &[&str]) -> TlsFiles {
        let others: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(others).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = TlsFiles {
            cert: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
            ca: self.file("ca.pem"),
        };
        fs::write(&files.cert, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

/// A switch's server, until it is dropped.
struct Server {
    address: SocketAddr,
    keys: Arc<ServerKeys>,
    subscriptions: Arc<Subscriptions>,
    _task: JoinSet<()>,
}

impl Server {
    async fn start(files: TlsFiles, allow: &[&str]) -> Self {
        let allow = allow.iter().map(|name| (*name).to_owned()).collect();
        let keys = ServerKeys::load(ServerTls { files, allow }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let subscriptions = Arc::<Subscriptions>::default();
        let (routes, shown) = (
            subscribe::routes(Arc::clone(&subscriptions)),
            Arc::clone(&keys),
        );
        let mut task = JoinSet::new();
        task.spawn(async move {
            let never = std::future::pending();
            server::serve(routes, listener, Some(shown), never)
                .await
                .unwrap();
        });
        Self {
            address,
            keys,
            subscriptions,
            _task: task,
        }
    }

    /// Calls it on a new connection; whether it answered.
    async fn answers(&self, files: Option<&TlsFiles>, name: Option<&str>) -> bool {
        let name = name.map(str::to_owned);
        let tls = files.map(|files| ClientTls {
            files: files.clone(),
            name,
        });
        let endpoint = endpoint(&self.address.to_string(), tls.as_ref()).unwrap();
        let mut client = SubscribeInfoProvisionerClient::new(endpoint.connect_lazy());
        let info = NodeSubscribeInfo {
            topic: "topic".into(),
            ..NodeSubscribeInfo::default()
        };
        let call = client.push_node_subscribe_info(info);
        let answer = tokio::time::timeout(Duration::from_secs(20), call).await;
        answer.expect("neither answer nor error in time").is_ok()
    }
}

#[tokio::test]
async fn whoever_has_a_certificate_of_the_authority_may_call() {
    let authority = Authority::new();
    let server = Server::start(authority.issue("switch", "switch", &["switch.alcor"]), &[]).await;
    let caller = authority.issue("caller", "anyone", &[]);
    assert!(server.answers(Some(&caller), Some("switch.alcor")).await);
    let from = server.subscriptions.rows()[0]["from"].clone();
    assert!(from.as_str().unwrap().starts_with("127.0.0.1:"), "{from}");
}

#[tokio::test]
async fn plain_callers_and_those_of_other_authorities_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::start(authority.issue("switch", "switch", &["switch.alcor"]), &[]).await;
    let name = Some("switch.alcor");
    assert!(!server.answers(None, None).await);
    // It trusts the switch; the switch does not trust it.
    let mut stranger = other.issue("caller", "caller", &[]);
    stranger.ca = authority.file("ca.pem");
    assert!(!server.answers(Some(&stranger), name).await);
    // The switch would trust it; it does not trust the switch.
    let mut distrustful = authority.issue("caller", "caller", &[]);
    distrustful.ca = other.file("ca.pem");
    assert!(!server.answers(Some(&distrustful), name).await);
    // The switch has another name.
    let caller = authority.issue("caller", "caller", &[]);
    assert!(!server.answers(Some(&caller), Some("ncm")).await);
    assert!(!server.answers(Some(&caller), None).await);
    assert!(server.subscriptions.rows().as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_may_be_known_by_its_address() {
    let authority = Authority::new();
    let server = Server::start(authority.issue("switch", "switch", &["127.0.0.1"]), &[]).await;
    let caller = authority.issue("caller", "caller", &[]);
    assert!(server.answers(Some(&caller), None).await);
}

#[tokio::test]
async fn with_a_list_of_names_only_those_may_call() {
    let authority = Authority::new();
    let switch = authority.issue("switch", "switch", &["switch.alcor"]);
    let server = Server::start(switch, &["ncm.alcor", "The Manager"]).await;
    let name = Some("switch.alcor");
    for (common, others, may) in [
        ("x", &["a.alcor", "NCM.alcor"][..], true),
        ("The Manager", &[], true),
        ("x", &["a.alcor"], false),
        ("x", &["sub.ncm.alcor"], false),
        ("ncm.alcor.evil", &[], false),
    ] {
        let caller = authority.issue("caller", common, others);

        assert_eq!(
            server.answers(Some(&caller), name).await,
            may,
            "{common} {others:?}"
        );
    }
}

#[tokio::test]
async fn new_files_are_used_for_new_connections_and_bad_ones_not_at_all() {
    let (authority, next) = (Authority::new(), Authority::new());
    let files = authority.issue("switch", "switch", &["switch.alcor"]);
    let server = Server::start(files.clone(), &[]).await;
    let name = Some("switch.alcor");
    let before = authority.issue("caller", "caller", &[]);
    let after = next.issue("caller", "caller", &[]);
    let good = fs::read(&files.cert).unwrap();
    for bad in ["", "no certificate"] {
        fs::write(&files.cert, bad).unwrap();
        server.keys.reload();
        assert!(server.answers(Some(&before), name).await);
    }
    // A certificate without its key.
    fs::copy(&before.cert, &files.cert).unwrap();
    server.keys.reload();
    assert!(server.answers(Some(&before), name).await);
    fs::write(&files.cert, good).unwrap();
    let renewed = next.issue("switch", "switch", &["switch.alcor"]);
    for (from, to) in [
        (renewed.cert, &files.cert),
        (renewed.key, &files.key),
        (renewed.ca, &files.ca),
    ] {
        fs::copy(from, to).unwrap();
    }
    // Not read yet.
    assert!(!server.answers(Some(&after), name).await);
    server.keys.reload();
    assert!(server.answers(Some(&after), name).await);
    let mut stale = before;
    stale.ca = next.file("ca.pem");
    assert!(!server.answers(Some(&stale), name).await);
}

#[tokio::test]
async fn a_caller_that_says_nothing_keeps_nobody_waiting() {
    let authority = Authority::new();
    let server = Server::start(authority.issue("switch", "switch", &["switch.alcor"]), &[]).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(
            tokio::net::TcpStream::connect(server.address)
                .await
                .unwrap(),
        );
    }
    let caller = authority.issue("caller", "caller", &[]);
    assert!(server.answers(Some(&caller), Some("switch.alcor")).await);
}

#[test]
fn what_is_wrong_is_named_with_its_file() {
    let authority = Authority::new();
    let files = authority.issue("switch", "switch", &[]);
    let other = authority.issue("other", "other", &[]);
    let error = |files: TlsFiles| {
        let tls = ServerTls {
            files,
            allow: Vec::new(),
        };
        let error: TlsError = ServerKeys::load(tls).err().unwrap();
        error.to_string()
    };
    let missing = TlsFiles {
        key: authority.file("none"),
        ..files.clone()
    };
    assert!(error(missing).starts_with("cannot read "), "no file");
    let swapped = TlsFiles {
        cert: files.key.clone(),
        ..files.clone()
    };
    assert!(error(swapped).contains("switch.key has no certificate"));
    let keyless = TlsFiles {
        key: files.cert.clone(),
        ..files.clone()
    };
    assert!(error(keyless).contains("switch.pem has no private key"));
    let pair = TlsFiles {
        key: other.key,
        ..files.clone()
    };
    assert!(error(pair).contains("do not go together"));
    fs::write(authority.file("ca.pem"), "x").unwrap();
    assert!(error(files.clone()).contains("ca.pem has no certificate"));
    fs::write(&files.key, "x".repeat((1 << 20) + 1)).unwrap();
    assert!(error(files).contains("larger than"));
}

#[test]
fn refusals_are_logged_so_often_and_no_more() {
    let (refusals, begun) = (Refusals::default(), Instant::now());
    let logged = (0..LINES + 7).filter(|_| refusals.count(begun).0).count();
    assert_eq!(logged as u64, LINES);
    let later = begun + Duration::from_secs(3600);
    assert_eq!(refusals.count(later), (true, 7));
    assert_eq!(refusals.count(later), (true, 0));
}
