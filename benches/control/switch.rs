// SPDX-License-Identifier: MIT
//! The switch under test: the built program, with traffic through its worker.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tonic::transport::Endpoint;

use crate::machine;
use crate::{CALM, CONTROL_CORE, HOSTS, WINDOW, WORKER_CORE, setting};

#[allow(clippy::all, dead_code, unreachable_pub, reason = "generated code")]
mod api {
    tonic::include_proto!("alkaid.v1");
}
use api::ExecuteRequest;
use api::control_client::ControlClient;

/// Where hosts have their addresses; the first is this one.
pub(crate) const UNDERLAY: &str = "192.0.2.0/24";

/// Flows of the recording: as many neighbors, which are there from the start.
const FLOWS: u32 = 1_000;

const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Most neighbors that it may have: the dataset's, and the recording's.
const CAPACITY: u32 = 1 << 20;

/// Mbufs: the recording's, and those of queues and caches.
const MBUFS: usize = 65_535;

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);

/// The program: $ALKAID, else the release that was built here.
fn program() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/alkaid");
    std::env::var_os("ALKAID").map_or_else(built, PathBuf::from)
}

/// Runs the program to its end, which must be a success. Returns what it printed.
pub(crate) fn run(arguments: impl IntoIterator<Item = String>) -> String {
    let done = Command::new(program()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    String::from_utf8(done.stdout).unwrap()
}

/// A running switch.
pub(crate) struct Switch {
    process: Child,
    socket: PathBuf,
    /// Where it serves goal states.
    pub(crate) southbound: SocketAddr,
}

/// What its worker had done at some time.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    packets: f64,
    seconds: f64,
    /// When the time that it had its core was looked up, and that time.
    at: Instant,
    on_core: Duration,
}

impl Sample {
    /// Packets per second that it had its core, which other programs may use too.
    pub(crate) fn rate_since(&self, before: &Self) -> f64 {
        let rate = (self.packets - before.packets) / (self.seconds - before.seconds);
        let passed = self.at - before.at;
        rate * passed.as_secs_f64() / (self.on_core - before.on_core).as_secs_f64()
    }
}

impl Switch {
    /// Starts it and its traffic. `folder` is for its files.
    pub(crate) fn start(folder: &Path) -> Self {
        let recording = folder.join("guest.pcap");
        std::fs::write(&recording, recorded()).unwrap();
        let socket = folder.join("alkaid.sock");
        let configuration = folder.join("switch.conf");
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let southbound = free.local_addr().unwrap();
        drop(free);
        std::fs::write(&configuration, lines(&recording, &socket, southbound)).unwrap();
        let process = Command::new(program())
            .arg("run")
            .arg(&configuration)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut switch = Self {
            process,
            socket,
            southbound,
        };
        let deadline = Instant::now() + START;
        while !switch.socket.exists() {
            let ended = switch.process.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "no start: {ended:?}"
            );
            std::thread::sleep(WINDOW);
        }
        let goal = folder.join("goal.json");
        std::fs::write(&goal, goal_state().to_string()).unwrap();
        let to = southbound.to_string();
        run(["push", "--quiet", "--to", &to, goal.to_str().unwrap()].map(str::to_owned));
        let socket = switch.socket.to_str().unwrap();
        run(["exec", "--socket", socket, "start"].map(str::to_owned));
        switch
    }

    /// CPU time of all its threads but the worker.
    pub(crate) fn cpu(&self) -> Duration {
        machine::cpu(self.process.id(), |core| core != WORKER_CORE)
    }

    /// Its memory, without huge pages.
    pub(crate) fn resident_mb(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    }

    /// Samples of its worker while nothing else happens.
    pub(crate) async fn calm(&self) -> Vec<Sample> {
        let watch = self.watch();
        tokio::time::sleep(CALM).await;
        watch.end().await
    }

    /// Takes samples of its worker until told to end.
    pub(crate) fn watch(&self) -> Watch {
        let (stop, mut stopped) = oneshot::channel();
        let (socket, process) = (self.socket.clone(), self.process.id());
        let samples = tokio::spawn(async move {
            let mut operator = Operator::connect(socket).await;
            let mut samples = Vec::new();
            while stopped.try_recv().is_err() {
                samples.push(operator.sample(process).await);
                tokio::time::sleep(WINDOW).await;
            }
            samples
        });
        Watch { stop, samples }
    }

    /// Frames that came and did not leave, from the start on; lets the worker rest to count them.
    pub(crate) async fn lost(&self) -> u64 {
        let mut operator = Operator::connect(self.socket.clone()).await;
        operator.execute("stop").await;
        tokio::time::sleep(WINDOW).await;
        let ports = operator.execute("show port stats all").await;
        operator.execute("start").await;
        let sum = |key: &str| -> u64 {
            let rows = ports.as_array().unwrap().iter();
            rows.map(|row| row[key].as_u64().unwrap()).sum()
        };
        assert!(sum("rx_packets") > 0, "{ports}");
        sum("rx_packets") - sum("tx_packets") + sum("rx_missed") + sum("rx_nombuf")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Samples that are being taken.
pub(crate) struct Watch {
    stop: oneshot::Sender<()>,
    samples: tokio::task::JoinHandle<Vec<Sample>>,
}

impl Watch {
    pub(crate) async fn end(self) -> Vec<Sample> {
        let _ = self.stop.send(());
        self.samples.await.unwrap()
    }
}

/// An operator's connection: asking costs the switch far less than a client of its own for each question.
struct Operator(ControlClient<tonic::transport::Channel>);

impl Operator {
    async fn connect(socket: PathBuf) -> Self {
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await;
        Self(ControlClient::new(channel.unwrap()))
    }

    /// The rows that a command answers with.
    async fn execute(&mut self, command: &str) -> Value {
        let command = command.to_owned();
        let reply = self.0.execute(ExecuteRequest { command }).await;
        let reply = reply.unwrap().into_inner();
        assert!(reply.ok, "{}", reply.text);
        serde_json::from_str(&reply.json).unwrap_or(Value::Null)
    }

    async fn sample(&mut self, process: u32) -> Sample {
        let (at, on_core) = (
            Instant::now(),
            machine::cpu(process, |core| core == WORKER_CORE),
        );
        let rows = self.execute("show workers").await;
        let number = |key: &str| rows[0][key].as_f64().unwrap();
        Sample {
            packets: number("rx_packets"),
            seconds: number("tsc") / number("tsc_hz"),
            at,
            on_core,
        }
    }
}

fn lines(recording: &Path, socket: &Path, southbound: SocketAddr) -> String {
    let mut lines = format!(
        "eal -l {CONTROL_CORE} --in-memory --no-pci --no-telemetry --file-prefix alkaid-control-{} --log-level=warning
set nbcore 1
set corelist {WORKER_CORE}
set mbufs {MBUFS}
set neighbors capacity {CAPACITY}
set neighbors reserve {}
port attach net_null0,no-rx=1
port attach net_pcap1,rx_pcap={},infinite_rx=1
set vtep 192.0.2.1/24 port 0
port bind 1 guest
set southbound listen {southbound}
set control socket {}
set log warn
",
        std::process::id(),
        setting("RESERVE", CAPACITY),
        recording.display(),
        socket.display(),
    );
    for host in 2..=HOSTS {
        let _ = writeln!(
            lines,
            "set underlay neighbor 192.0.2.{host} 02:00:c0:00:02:{host:02x}"
        );
    }
    lines
}

/// The guest, and the neighbors that it sends to.
fn goal_state() -> Value {
    let neighbor = |n: u32| {
        let (mac, ip) = (peer_mac(n), peer_ip(n));
        let [a, b, c, d, e, f] = mac;
        json!({"operation_type": "CREATE", "configuration": {
            "id": format!("peer-{n}"), "vpc_id": "vpc", "host_ip_address": "192.0.2.2",
            "mac_address": format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
            "fixed_ips": [{"subnet_id": "subnet", "ip_address": ip.map(|byte| byte.to_string()).join(".")}]}})
    };
    json!({
        "vpc_states": [{"configuration": {"id": "vpc", "cidr": "10.0.0.0/8"}}],
        "subnet_states": [{"configuration": {"id": "subnet", "vpc_id": "vpc", "cidr": "10.0.0.0/8", "tunnel_id": "7"}}],
        "port_states": [{"operation_type": "CREATE", "configuration": {
            "id": "guest", "vpc_id": "vpc", "mac_address": "02:00:00:00:00:01", "admin_state_up": true,
            "update_type": "FULL", "fixed_ips": [{"subnet_id": "subnet", "ip_address": "10.0.0.1"}]}}],
        "neighbor_states": (0..FLOWS).map(neighbor).collect::<Vec<_>>(),
    })
}

fn peer_mac(n: u32) -> [u8; 6] {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 1, a, b, c, d]
}

fn peer_ip(n: u32) -> [u8; 4] {
    (0x0a40_0000 + n).to_be_bytes()
}

/// A recording of the smallest frame of each flow, in libpcap's format.
fn recorded() -> Vec<u8> {
    let mut file = Vec::new();
    // Version 2.4, Ethernet (1), frames of up to 64 KiB.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0xffff, 1] {
        file.extend(word.to_le_bytes());
    }
    for n in 0..FLOWS {
        let builder = PacketBuilder::ethernet2(GUEST_MAC, peer_mac(n))
            .ipv4([10, 0, 0, 1], peer_ip(n), 64)
            .udp(4000, 53);
        let mut frame = Vec::new();
        builder.write(&mut frame, &[0; 18]).unwrap();
        let length = frame.len() as u32;
        for word in [0, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}
