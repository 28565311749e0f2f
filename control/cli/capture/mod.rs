// SPDX-License-Identifier: MIT
//! `capture`: frames of a running switch into a pcapng file.

mod recording;

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tonic::Streaming;
use vswitch::counters::DropReason;
use vswitch::counters::capture::MAX_SNAPLEN;

use super::client::{ClientError, Switch};
use super::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, SocketArgs, Streams, runtime};
use crate::northbound::api::{CaptureReply, CaptureRequest};

use recording::Recording;

/// How long what is left may take to be written after Ctrl-C: who reads a pipe may do so no more.
const LINGER: Duration = Duration::from_secs(3);

/// Arguments of `alkaid capture`.
#[derive(Args, Debug)]
pub(crate) struct CaptureArgs {
    /// The file, which is written over; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// Only at this port; may be given several times [default: all]
    #[arg(long, value_name = "N")]
    port: Vec<u16>,
    /// Frames that are received, as they arrive; these and sent ones if nothing else is said
    #[arg(long)]
    rx: bool,
    /// Frames that are sent, as they leave: with outer header and tags
    #[arg(long)]
    tx: bool,
    /// Frames that are dropped, for these reasons only if there are any (names as in `show drops`)
    #[arg(
        long,
        value_name = "REASON",
        num_args = 0..,
        require_equals = true,
        value_delimiter = ',',
        hide_possible_values = true,
        value_parser = reasons()
    )]
    drops: Option<Vec<String>>,
    /// End after so many frames
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Bytes of each frame
    #[arg(long, value_name = "BYTES", default_value_t = MAX_SNAPLEN, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SNAPLEN)))]
    snaplen: u32,
    /// Where the switch is.
    #[command(flatten)]
    socket: SocketArgs,
}

/// The names of all reasons.
fn reasons() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(DropReason::ALL.iter().map(|reason| reason.name()))
}

impl CaptureArgs {
    fn request(&self) -> CaptureRequest {
        let neither = !self.rx && !self.tx && self.drops.is_none();
        CaptureRequest {
            ports: self.port.iter().map(|port| u32::from(*port)).collect(),
            received: self.rx || neither,
            sent: self.tx || neither,
            dropped: self.drops.is_some(),
            reasons: self.drops.clone().unwrap_or_default(),
            snaplen: self.snaplen,
        }
    }
}

/// Why there is no capture, or no longer.
#[derive(Debug, thiserror::Error)]
enum CaptureError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("standard output is a terminal: frames go into a file (-w FILE) or a pipe")]
    Terminal,
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error("the switch ended; what it had sent until then is in the file")]
    Ended,
    #[error("`{}` was not written in time: its end is missing", path.display())]
    Stuck { path: PathBuf },
}

/// Captures until it is told to end; the exit status.
pub(super) fn run(args: &CaptureArgs, streams: &mut Streams) -> u8 {
    let ended = runtime()
        .map_err(CaptureError::Signals)
        .and_then(|runtime| {
            let ended = runtime.block_on(capture(args, streams));
            runtime.shutdown_background(); // a writer that is stuck is not waited for
            ended
        });
    let Err(error) = ended else {
        return EXIT_OK;
    };
    streams.err(&format!("alkaid: {error}\n"));
    match error {
        CaptureError::Client(ClientError::Refused(_))
        | CaptureError::Ended
        | CaptureError::Stuck { .. } => EXIT_FAILED,
        _ => EXIT_USAGE,
    }
}

async fn capture(args: &CaptureArgs, streams: &mut Streams) -> Result<(), CaptureError> {
    let path = &args.write;
    if is_stdout(path) && io::stdout().is_terminal() {
        return Err(CaptureError::Terminal);
    }
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CaptureError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CaptureError::Signals)?;
    // First, so that what is refused writes nothing over.
    let mut frames = Switch::new(&args.socket).capture(args.request()).await?;
    let writing = |error| CaptureError::Write {
        path: path.clone(),
        error,
    };
    // On a thread of its own: a pipe that nobody reads blocks who opens it and who writes, and signals are to be heard.
    let (queue, replies) = mpsc::channel(1);
    let (to, snaplen, count) = (path.clone(), args.snaplen, args.count);
    let mut writer = spawn_blocking(move || {
        let recording = Recording::new(open(&to)?, snaplen, count)?;
        Ok::<_, io::Error>(record(recording, replies))
    });
    let (told, ended) = tokio::select! {
        biased;
        _ = interrupt.recv() => (true, Ok(())),
        _ = terminate.recv() => (true, Ok(())),
        () = queue.closed() => (false, Ok(())),
        fed = feed(&mut frames, &queue) => (false, fed),
    };
    drop((frames, queue));
    let stuck = || CaptureError::Stuck { path: path.clone() };
    let (written, summary) = tokio::select! {
        biased;
        done = &mut writer => done.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(writing)?,
        _ = interrupt.recv() => return Err(stuck()),
        _ = terminate.recv() => return Err(stuck()),
        () = sleep(LINGER), if told => return Err(stuck()),
    };
    streams.err(&format!("{summary}\n"));
    ended.and(written.map_err(writing))
}

/// Gives what the switch says to who writes it, until that ends; an error where the switch ends first.
async fn feed(
    frames: &mut Streaming<CaptureReply>,
    queue: &mpsc::Sender<CaptureReply>,
) -> Result<(), CaptureError> {
    while let Ok(place) = queue.reserve().await {
        match frames.message().await {
            Ok(Some(reply)) => place.send(reply),
            Ok(None) | Err(_) => return Err(CaptureError::Ended),
        }
    }
    Ok(())
}

/// Writes what comes, until nothing does or that was all that was asked for; with that, the summary.
fn record(
    mut recording: Recording<impl Write>,
    mut replies: mpsc::Receiver<CaptureReply>,
) -> (io::Result<()>, String) {
    let mut write = || {
        while let Some(reply) = replies.blocking_recv() {
            if !recording.add(reply)? {
                break;
            }
        }
        recording.end()
    };
    let written = match write() {
        // Who reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    };
    (written, recording.summary())
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn open(path: &Path) -> io::Result<BufWriter<Box<dyn Write + Send>>> {
    let to: Box<dyn Write + Send> = match is_stdout(path) {
        true => Box::new(io::stdout()),
        false => Box::new(File::create(path)?),
    };
    Ok(BufWriter::with_capacity(1 << 20, to))
}
