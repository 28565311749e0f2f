// SPDX-License-Identifier: MIT
//! A dataset's folder: a file for each message, in a folder for each host, and a manifest that says what is in them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::message::Messages;
use super::network::{Network, Scale};
use super::states::Resources;
use super::{Form, Request, Shape};

/// What a manifest begins with; another number if the same arguments ever give other bytes.
const FORMAT: &str = "alkaid dataset 1";

/// Why there is no dataset.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatasetError {
    /// The arguments contradict each other.
    #[error("{0}")]
    Arguments(String),
    /// Something is there already.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What a dataset has.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Totals {
    /// Messages, each in a file of its own.
    pub(crate) messages: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// The resources in them, as many as there are statuses to expect.
    pub(crate) resources: Resources,
}

impl Totals {
    fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
        self.resources += more.resources;
    }
}

/// See [`super::write`].
pub(super) fn write(request: &Request, folder: &Path) -> Result<Totals, DatasetError> {
    check(request).map_err(DatasetError::Arguments)?;
    let hosts = request
        .host
        .map_or(0..request.scale.hosts, |host| host..host + 1);
    fs::create_dir_all(folder).map_err(failed(folder))?;
    if fs::read_dir(folder)
        .map_err(failed(folder))?
        .next()
        .is_some()
    {
        return Err(DatasetError::NotEmpty(folder.to_owned()));
    }
    let path = folder.join("manifest.json");
    let file = File::create(&path).map_err(failed(&path))?;
    let network = Network::new(request.scale);
    let mut manifest = Manifest::new(BufWriter::new(file), request).map_err(failed(&path))?;
    let mut all = Totals::default();
    for host in hosts {
        let (rows, totals) = write_host(request, &network, host, folder)?;
        let address = network.address(host).to_string();
        let row = json!({ "host": host, "address": address, "totals": totals, "files": rows });
        manifest.host(&row).map_err(failed(&path))?;
        all.add(totals);
    }
    manifest.end(all).map_err(failed(&path))?;
    Ok(all)
}

/// What is wrong with the request.
fn check(request: &Request) -> Result<(), String> {
    let Scale {
        vpcs,
        ports,
        hosts,
        underlay,
        ..
    } = request.scale;
    let room = (1_u64 << (32 - underlay.prefix_len())).saturating_sub(2);
    if ports < vpcs {
        return Err(format!(
            "{ports} ports are too few for {vpcs} VPCs: each has one"
        ));
    }
    if u64::from(hosts) > room {
        return Err(format!(
            "{underlay} has room for {room} hosts, not for {hosts}"
        ));
    }
    match request.host {
        Some(host) if host >= hosts => Err(format!(
            "there is no host {host}: they are 0 to {}",
            hosts - 1
        )),
        _ => Ok(()),
    }
}

/// Names what cannot be written.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> DatasetError {
    let path = path.to_owned();
    move |error| DatasetError::Write { path, error }
}

/// Writes the files of one host. Returns a row of the manifest for each, and what is in all of them.
fn write_host(
    request: &Request,
    network: &Network,
    host: u32,
    folder: &Path,
) -> Result<(Vec<Value>, Totals), DatasetError> {
    let name = format!("host-{host:06}");
    let form = match request.form {
        Form::V1 => "v1",
        Form::V2 => "v2",
    };
    let (mut rows, mut totals) = (Vec::new(), Totals::default());
    let own = folder.join(&name);
    fs::create_dir(&own).map_err(failed(&own))?;
    let sink = |bytes: &[u8], resources: Resources| {
        totals.add(Totals {
            messages: 1,
            bytes: bytes.len() as u64,
            resources,
        });
        let file = format!("{:06}.{form}.pb", totals.messages);
        let path = own.join(&file);
        rows.push(json!({
            "file": format!("{name}/{file}"),
            "bytes": bytes.len(),
            "sha256": hex(&Sha256::digest(bytes)),
            "resources": resources,
        }));
        fs::write(&path, bytes).map_err(failed(&path))
    };
    Messages::new(network, request, host, sink).write()?;
    Ok((rows, totals))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The manifest, written host by host.
struct Manifest<W> {
    out: W,
    first: bool,
}

impl<W: Write> Manifest<W> {
    fn new(mut out: W, request: &Request) -> io::Result<Self> {
        let scale = request.scale;
        let arguments = json!({
            "seed": scale.seed,
            "vpcs": scale.vpcs,
            "hosts": scale.hosts,
            "ports": scale.ports,
            "subnets": scale.subnets,
            "underlay": scale.underlay.to_string(),
            "shape": match request.shape { Shape::Dpm => "dpm", Shape::TestController => "test-controller" },
            "rpc": match request.form { Form::V1 => "v1", Form::V2 => "v2" },
            "host": request.host,
            "per_message": request.per_message,
            "dhcp": request.dhcp,
            "security_groups": request.security_groups,
        });
        write!(
            out,
            "{{\"format\": \"{FORMAT}\",\n\"arguments\": {arguments},\n\"hosts\": ["
        )?;
        Ok(Self { out, first: true })
    }

    /// A line for each host.
    fn host(&mut self, row: &Value) -> io::Result<()> {
        let separator = if std::mem::take(&mut self.first) {
            ""
        } else {
            ","
        };
        write!(self.out, "{separator}\n{row}")
    }

    fn end(mut self, totals: Totals) -> io::Result<()> {
        writeln!(self.out, "\n],\n\"totals\": {}}}", json!(totals))?;
        self.out.flush()
    }
}
