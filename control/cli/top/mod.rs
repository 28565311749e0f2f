// SPDX-License-Identifier: MIT
//! `top`: what a running switch does, live.
//!
//! ```text
//! switch -> samples -> figures::Figures -> table::Table -> draw::draw     on the screen, as view::View wants it
//!                                                       -> table::plain   once
//! ```
//!
//! From samples to what is drawn, all are functions of what they are given; [`live`] has the clock, [`screen`] the terminal.

mod draw;
mod figures;
mod live;
mod numbers;
mod screen;
mod table;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::client::{ClientError, Switch};
use super::{EXIT_OK, EXIT_USAGE, SocketArgs, Streams, runtime};
use crate::northbound::api::SampleReply;
use figures::Samples;

/// Arguments of `alkaid top`.
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Seconds between two looks, 0.1 to 60
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Print the figures of one interval in plain text, without k, M and G, and end
    #[arg(long)]
    once: bool,
    /// Where the switch is.
    #[command(flatten)]
    socket: SocketArgs,
}

fn interval(seconds: &str) -> Result<Duration, String> {
    let seconds = seconds.parse().ok();
    let seconds = seconds.filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "it is a number of seconds, 0.1 to 60".to_owned())
}

/// Why nothing is shown, or no longer.
#[derive(Debug, thiserror::Error)]
enum TopError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("`alkaid top` needs a terminal; `alkaid top --once` prints the figures anywhere")]
    NoTerminal,
    #[error("it is there and says nothing")]
    Silence,
    #[error("the terminal fails: {0}")]
    Terminal(#[from] io::Error),
}

/// Shows the switch until it is told to end, or once; the exit status.
pub(super) fn run(args: &TopArgs, streams: &mut Streams) -> u8 {
    let shown = runtime()
        .map_err(TopError::from)
        .and_then(|runtime| runtime.block_on(show(args, streams)));
    match shown {
        Ok(()) => EXIT_OK,
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}

async fn show(args: &TopArgs, streams: &mut Streams) -> Result<(), TopError> {
    let switch = Switch::new(&args.socket);
    if args.once {
        streams.out(&once(&switch, args.interval).await?);
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    // Before the screen is taken: that no switch runs is said in the shell.
    let first = ask(&switch).await?;
    Ok(live::watch(&switch, args.interval, first).await?)
}

/// How long a switch may take to answer before it is said not to.
const PATIENCE: Duration = Duration::from_secs(3);

async fn ask(switch: &Switch) -> Result<SampleReply, TopError> {
    let answer = timeout(PATIENCE, switch.sample()).await;
    Ok(answer.map_err(|_| TopError::Silence)??)
}

/// The figures of one interval.
async fn once(switch: &Switch, interval: Duration) -> Result<String, TopError> {
    let mut samples = Samples::default();
    loop {
        if let Some(figures) = samples.add(ask(switch).await?) {
            return Ok(table::plain(&figures));
        }
        tokio::time::sleep(interval).await;
    }
}
