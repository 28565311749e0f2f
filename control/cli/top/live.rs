// SPDX-License-Identifier: MIT
//! Watching a switch on the screen, until a key or a signal ends it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use ratatui::crossterm::event::Event;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::TopError;
use super::draw::{Notice, draw};
use super::figures::{Figures, Samples};
use super::screen::{Screen, events};
use super::view::{Then, View};
use crate::cli::client::{ClientError, Switch};
use crate::northbound::api::SampleReply;

/// Longest time between two looks while there are no figures of now.
const SOON: Duration = Duration::from_secs(1);

/// What is known of the switch.
struct Watched {
    samples: Samples,
    figures: Option<Figures>,
    /// Then it answered.
    answered: Instant,
    /// Why it does not answer any more.
    silence: Option<String>,
}

impl Watched {
    fn new(first: SampleReply) -> Self {
        let mut samples = Samples::default();
        samples.add(first);
        Self {
            samples,
            figures: None,
            answered: Instant::now(),
            silence: None,
        }
    }

    /// Takes an answer to what was asked; whether there are figures of now. Those that are shown stay until there are others,
    /// and while they are paused.
    fn take(&mut self, answer: Result<SampleReply, String>, paused: bool) -> bool {
        let sample = match answer {
            Ok(sample) => sample,
            Err(why) => {
                self.silence = Some(why);
                return false;
            }
        };
        (self.answered, self.silence) = (Instant::now(), None);
        let figures = self.samples.add(sample);
        let are_new = figures.is_some();
        if are_new && !paused {
            self.figures = figures;
        }
        are_new
    }

    fn notice(&self, view: &View) -> Notice {
        match &self.silence {
            Some(why) => Notice::Alarm(format!(
                "no answer for {} s, asked again and again: {why}",
                self.answered.elapsed().as_secs()
            )),
            None if view.paused => Notice::Note("paused: p goes on"),
            None if self.figures.is_none() => {
                Notice::Note("rates need a second look at the switch")
            }
            None => Notice::None,
        }
    }
}

/// Shows what the switch does. `first`: what it said just now.
///
/// # Errors
/// The terminal fails, and is as it was.
pub(super) async fn watch(
    switch: &Switch,
    interval: Duration,
    first: SampleReply,
) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut screen = Screen::take()?;
    let mut events = events()?;
    let (mut watched, mut view) = (Watched::new(first), View::default());
    let mut asked_at = Instant::now() + interval.min(SOON);
    let mut answer = pin!(ask(switch, asked_at));
    loop {
        let notice = watched.notice(&view);
        screen.draw(|frame| draw(frame, &mut view, watched.figures.as_ref(), &notice))?;
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) if view.press(key) == Then::End => return Ok(()),
                Some(Ok(_)) => {} // drawn anew, also for another size
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            answered = &mut answer => {
                let are_new = watched.take(answered, view.paused);
                let pause = if are_new { interval } else { interval.min(SOON) };
                asked_at = Instant::now().max(asked_at + pause);
                answer.set(ask(switch, asked_at));
            }
        }
    }
}

/// Asks the switch at a time. If it does not answer, why.
async fn ask(switch: &Switch, at: Instant) -> Result<SampleReply, String> {
    sleep_until(at).await;
    super::ask(switch).await.map_err(|error| match error {
        TopError::Client(ClientError::Lost(_)) => "it went away".to_owned(),
        error => error.to_string(),
    })
}
