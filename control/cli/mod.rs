// SPDX-License-Identifier: MIT
//! The command line: `alkaid run` and its clients.
//!
//! [`Cli`] says what there is. [`Client::run`] does all of it but `run` and `replay`, which need the packet path.

pub(crate) mod agent;
mod capture;
mod client;
mod console;
mod dataset;
mod doctor;
mod dry_run;
mod exec;
mod explain;
pub(crate) mod goal;
mod goal_state;
mod manual;
mod push;
mod top;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::{ClientTls, Settings, TlsFiles};
use agent::AgentFlags;

/// All is well.
pub(crate) const EXIT_OK: u8 = 0;
/// The switch refused, or a resource was not programmed.
pub(crate) const EXIT_FAILED: u8 = 1;
/// It could not even be tried: wrong usage, a file that is wrong, nobody answers.
pub(crate) const EXIT_USAGE: u8 = 2;

/// A DPDK virtual switch for cloud hosts, programmed by an Alcor controller.
#[derive(Parser, Debug)]
#[command(
    name = "alkaid",
    version,
    max_term_width = 100,
    propagate_version = true,
    subcommand_required = true
)]
#[command(after_help = "\
Exit status: 0 all is well; 1 the switch refused or a resource was not programmed; 2 nothing is known of that \
(usage, a wrong file, nobody answers or not in time, a call that is refused as a whole). A push that was not answered in time may \
have been applied.")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Subcommands,
}

/// What the program does.
#[derive(Subcommand, Debug)]
pub(crate) enum Subcommands {
    /// Run the switch
    ///
    /// Reads FILE (testpmd-style commands, one per line; examples are in configs/), starts DPDK, the ports and the
    /// workers, and serves the controller until SIGINT, SIGTERM or `alkaid exec quit`. If a line of FILE is wrong, every wrong line is
    /// reported and nothing is started.
    ///
    /// With a flag of the Alcor Control Agent it also serves subscriptions (0.0.0.0:50002) and logs the agent's
    /// `[METRICS]` lines, unless FILE says otherwise. Under the name AlcorControlAgent, the program takes these flags alone.
    #[command(disable_help_flag = true)]
    Run(RunArgs),
    /// Forward recorded packets under recorded goal states, without a controller
    ///
    /// Starts the switch of a configuration whose ports are pcap files, applies the goal states in the order given,
    /// forwards every packet of the files, prints a summary and exits.
    Replay(ReplayArgs),
    /// The clients of a running switch, and checks.
    #[command(flatten)]
    Client(Client),
}

/// Arguments of `alkaid run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What the Alcor Control Agent is told on its command line.
    #[command(flatten)]
    pub(crate) agent: AgentFlags,
    /// Print help
    #[arg(long, action = ArgAction::HelpLong)]
    help: Option<bool>,
}

/// Arguments of `alkaid replay`.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The configuration file, with ports such as `net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap`
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Goal states in protobuf's JSON (GoalState or GoalStateV2), applied in this order
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub(crate) goal_state: Vec<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the switch's local socket is.
#[derive(Args, Debug, Clone)]
pub(crate) struct SocketArgs {
    /// The switch's local socket [default: yours, else root's: /run/alkaid.sock, alkaid.sock in $XDG_RUNTIME_DIR, or /tmp/alkaid-UID.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

/// What needs no packet path.
#[derive(Subcommand, Debug)]
pub(crate) enum Client {
    /// Check a configuration file, without starting anything
    ///
    /// Reports every wrong line and every contradiction between lines, as `alkaid run` would.
    Check(CheckArgs),
    /// Examine this machine: is it fit for a configuration, what is wrong, and what mends it
    ///
    /// Looks at the kernel, huge pages, cores, and what the configured ports need: drivers, IOMMU, NUMA nodes, interfaces,
    /// folders. Changes nothing. Exits with 1 if something keeps the switch from working.
    Doctor(DoctorArgs),
    /// Give a running switch one command
    ///
    /// The commands are those of the configuration file; `alkaid exec help` lists them.
    #[command(after_help = "\
Examples:
  alkaid exec \"show port stats all\"
  alkaid exec show port stats all --json
  alkaid exec \"port bind 1 0a9f3c5e-7a5b-4b0e-9a36-0d0c6f0f1a01\"
  alkaid exec \"load /etc/alkaid/guests.conf\"
  alkaid exec quit                           # ends the switch")]
    Exec(ExecArgs),
    /// Talk to a running switch: line editing, history, completion, help
    ///
    /// Without a terminal it reads commands from standard input, one per line.
    Console(SocketArgs),
    /// Show something of a running switch, as `alkaid exec "show ..."` does
    #[command(after_help = "\
Examples:
  alkaid show ports
  alkaid show port stats all
  alkaid show neighbors --json
  alkaid show goal-state --json              # as the controller says it, with hashes

A table has at most 10,000 rows; the first column of a last one says how many there are more. `show goal-state --json` has all.")]
    Show(ShowArgs),
    /// Watch a running switch: workers, ports' rates, drops
    ///
    /// A screen of figures that move: how busy each worker is and what a packet costs it, what passes each port, what is lost and why.
    /// `?` there explains the keys. The last figures stay while the switch does not answer; once it does again, also after a restart,
    /// they go on. The packet path has nothing to do with it: it counts anyhow.
    #[command(after_help = "\
Examples:
  alkaid top
  alkaid top --interval 0.5
  alkaid top --once                          # what happens within a second, for scripts")]
    Top(top::TopArgs),
    /// Tell what a running switch would do with a packet, and why
    ///
    /// The packet goes through the workers' own code and tables, and nowhere else: nothing leaves, nothing is counted. Each
    /// decision is printed with the controller's resources that it comes from, and then the packets that would leave.
    #[command(after_help = "\
A packet in words is [eth /] arp or nd, or [eth /] ip [/ icmp, udp or tcp] [/ len=BYTES], or [eth /] ip / vxlan / and a packet \
again. Fields: eth src dst; arp src dst; nd src dst; ip src dst ttl tos df proto; udp and tcp sport dport; vxlan vni sport. The \
version of IP is that of the addresses; nd, neighbor discovery, asks for routers if it has no dst. What is left out is what the \
guest at the port would send: its own addresses, and the MAC of its neighbor or gateway.

Examples:
  alkaid explain --port 3 --packet \"ip dst=10.0.1.7 / udp dport=53\"
  alkaid explain --port 3 --packet \"ip dst=2001:db8::7 / icmp\"
  alkaid explain --port 3 --packet \"arp dst=10.0.0.1\"
  alkaid explain --port 0 --pcap outer.pcap --json")]
    Explain(ExplainArgs),
    /// Write frames of a running switch to a file, and why it dropped those that it dropped
    ///
    /// A pcapng file: an interface for each port, named port0 and so on, and of each frame whether it was received or sent there. A
    /// dropped one has the reason in its comment, and is as it was then: in most cases as it arrived, but what arrived in VXLAN has
    /// lost its outer header by the time that its destination is looked for, and what found no room in a port's ring is as it would
    /// have left. Received frames of a port with VLANs of its own (vlanV@P) are those VLANs' ports', with their tags. Ends with
    /// Ctrl-C.
    ///
    /// The switch forwards on whatever happens here. Frames that come faster than they are written are not captured; how many
    /// is said in the end, and in the file's interface statistics. What tshark and Wireshark filter is filtered there.
    #[command(after_help = "\
Examples:
  alkaid capture -w all.pcapng                          # received and sent, at all ports
  alkaid capture --drops -w drops.pcapng                # what is dropped, and why
  alkaid capture --drops=no_route,tx_full --rx --port 1 --snaplen 128 -c 1000 -w some.pcapng
  alkaid capture --drops -w - | tshark -r - -T fields -e frame.interface_name -e frame.comment -e ip.dst
  alkaid capture --port 0 -w - | wireshark -k -i -")]
    Capture(capture::CaptureArgs),
    /// Send goal states to a switch, as a controller would
    ///
    /// FILE is a GoalState or a GoalStateV2 in protobuf's JSON, or in its binary form (*.v1.pb, *.v2.pb), or a folder of
    /// such files, which are sent in the order of their names. Prints a status per resource; exits with 0 only if all are
    /// SUCCESS.
    ///
    /// With --dry-run nothing is sent: what the push would change is worked out from what the switch wants. Exits with 0 if
    /// nothing is refused or FAILURE and nothing new contradicts itself, whatever waits for other resources; else with 1.
    Push(PushArgs),
    /// Write a set of goal states of any size, the same for the same arguments
    ///
    /// The messages that each host of a made-up cloud gets, as files in protobuf's binary form, and a manifest. For
    /// benchmarks and tests of this switch and of other agents; `alkaid push DIR/host-000000` sends those of a host.
    Dataset(dataset::DatasetArgs),
    /// Print a shell's completions
    ///
    /// For bash: `source <(alkaid completions bash)`. The Debian package installs them.
    Completions(CompletionsArgs),
    /// Write the manual's pages into a folder
    #[command(hide = true)]
    Man(ManArgs),
}

/// Arguments of `alkaid completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Arguments of `alkaid man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The folder, which is made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// Arguments of `alkaid check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Arguments of `alkaid doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// The configuration file [default: /etc/alkaid/alkaid.conf, if there is one]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `alkaid exec`.
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// The command, in one argument or in several
    #[arg(value_name = "COMMAND", required = true)]
    pub(crate) command: Vec<String>,
    /// Print rows as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the switch is.
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

/// Arguments of `alkaid show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// What: ports, drops, health, neighbors, pending, workers, config, and more; `alkaid exec help show` lists all
    #[arg(value_name = "WHAT", required = true)]
    pub(crate) what: Vec<String>,
    /// Print rows as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the switch is.
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

/// Arguments of `alkaid explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The port that the packet arrives on
    #[arg(long, value_name = "N")]
    pub(crate) port: u16,
    /// The packet, in words
    #[arg(long, value_name = "PACKET", required_unless_present = "pcap")]
    pub(crate) packet: Option<String>,
    /// A recording in pcap's format, each packet of which is explained (of `alkaid capture`: after `editcap -F pcap`)
    #[arg(long, value_name = "FILE", conflicts_with = "packet")]
    pub(crate) pcap: Option<PathBuf>,
    /// Print an object of JSON per packet
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the switch is.
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

/// Arguments of `alkaid push`.
#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// Goal states, or folders of them; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print what would change, what would wait and what contradicts itself, and change nothing
    #[arg(long, conflicts_with_all = ["to", "cert", "quiet", "timeout"])]
    pub(crate) dry_run: bool,
    /// The switch's local socket [default: as `alkaid show` finds it]
    #[arg(long, value_name = "PATH", requires = "dry_run")]
    pub(crate) socket: Option<PathBuf>,
    /// The switch's southbound address
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:50001")]
    pub(crate) to: String,
    /// The call: v1 is PushNetworkResourceStates with a GoalState, v2 is PushGoalStatesStream with a GoalStateV2
    /// [default: what FILE is, by its name or by whether its states are lists (v1) or maps (v2)]
    #[arg(long, value_enum)]
    pub(crate) rpc: Option<Rpc>,
    /// TLS, for a switch with `set southbound tls`.
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// Print only statuses that are not SUCCESS
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print the statuses as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
}

/// A certificate to show, and whose to trust.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct TlsArgs {
    /// Call over TLS, with this certificate (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"])]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The authorities that the switch's certificate may be of
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) ca: Option<PathBuf>,
    /// The name in the switch's certificate [default: its address]
    #[arg(long, value_name = "NAME", requires = "cert")]
    pub(crate) name: Option<String>,
}

impl TlsArgs {
    /// What they say; `None`: no TLS.
    pub(crate) fn tls(&self) -> Option<ClientTls> {
        let (cert, key, ca) = (self.cert.clone()?, self.key.clone()?, self.ca.clone()?);
        Some(ClientTls {
            files: TlsFiles { cert, key, ca },
            name: self.name.clone(),
        })
    }
}

/// The two forms of a goal state, and the calls that take them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Rpc {
    /// GoalState, PushNetworkResourceStates.
    V1,
    /// GoalStateV2, PushGoalStatesStream.
    V2,
}

impl Client {
    /// Does it, with what it has to say on stdout and stderr. To be called outside of any runtime.
    pub(crate) fn run(self) -> ExitCode {
        let streams = &mut Streams::standard();
        let code = match self {
            Self::Check(args) => check(&args, streams),
            Self::Doctor(args) => doctor::run(&args, streams),
            Self::Exec(args) => exec::run(&args.command, args.json, &args.socket, streams),
            Self::Show(args) => {
                let words = std::iter::once("show".to_owned()).chain(args.what);
                exec::run(&words.collect::<Vec<_>>(), args.json, &args.socket, streams)
            }
            Self::Top(args) => top::run(&args, streams),
            Self::Explain(args) => explain::run(&args, streams),
            Self::Capture(args) => capture::run(&args, streams),
            Self::Console(socket) => console::run(&socket, Streams::standard()),
            Self::Push(args) if args.dry_run => dry_run::run(&args, streams),
            Self::Push(args) => push::run(&args, streams),
            Self::Dataset(args) => dataset::run(&args, streams),
            Self::Completions(args) => manual::completions(args.shell, streams),
            Self::Man(args) => manual::pages(&args.folder, streams),
        };
        if let Some(error) = streams.failed.take() {
            streams.err(&format!("not all of it could be written: {error}\n"));
            return ExitCode::from(EXIT_FAILED);
        }
        ExitCode::from(code)
    }
}

fn check(args: &CheckArgs, streams: &mut Streams) -> u8 {
    match crate::config::read(&args.file, Settings::default()) {
        Ok(settings) => {
            let (ports, workers) = (settings.ports.len(), settings.workers);
            let file = args.file.display();
            streams.out(&format!(
                "{file}: no error; {ports} ports, {workers} workers\n"
            ));
            EXIT_OK
        }
        Err(errors) => {
            streams.err(&format!("{:?}\n", miette::Report::new(errors)));
            EXIT_USAGE
        }
    }
}

/// Where a client says what it has to say.
struct Streams {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// The first reason for which not all of an answer was written.
    failed: Option<std::io::Error>,
}

impl Streams {
    /// The process's own.
    fn standard() -> Self {
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            failed: None,
        }
    }

    /// Writes an answer. A reader that has gone (`alkaid show neighbors | head`) is no error.
    fn out(&mut self, text: &str) {
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        let failed = written
            .err()
            .filter(|it| it.kind() != ErrorKind::BrokenPipe);
        self.failed = self.failed.take().or(failed);
    }

    /// Writes what is wrong.
    fn err(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes());
    }
}

/// A runtime for one client. It has no thread of its own.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests;
