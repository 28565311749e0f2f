// SPDX-License-Identifier: MIT
//! The call Capture: copies of frames until the client goes away. Workers wake nobody, so their rings are looked at again and
//! again; a client that takes its time is not waited for by anybody else.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use vswitch::counters::DropReason;
use vswitch::counters::capture::{Event, MAX_SNAPLEN, Seen, Wanted};
use vswitch::tables::{PortId, PortSet};

use super::api::captured_frame::Event as Told;
use super::api::{CaptureReply, CaptureRequest, CapturedFrame, CapturedPort, MissedFrames};
use super::{ExecError, Executor};
use crate::capture::{PortName, Session};

/// Time between two looks at rings that were empty: a ring takes a gigabit a second for 30 milliseconds.
const PAUSE: Duration = Duration::from_millis(2);

/// Bytes of frames of each worker in one answer.
const BATCH: usize = 1 << 20;

/// Frames of this request until nobody takes them any more, or the switch `ends`.
///
/// # Errors
/// It asks for what there is not, or another client captures.
pub(super) fn frames(
    executor: &Arc<impl Executor>,
    request: &CaptureRequest,
    mut ends: watch::Receiver<bool>,
) -> Result<mpsc::Receiver<Result<CaptureReply, Status>>, Status> {
    let names = executor.port_names();
    let wanted = wanted(request, &names).map_err(Status::invalid_argument)?;
    let session = executor.capture(&wanted);
    let session =
        session.map_err(|error: ExecError| Status::failed_precondition(error.to_string()))?;
    let (queue, replies) = mpsc::channel(1);
    let executor = Arc::clone(executor);
    tokio::spawn(async move {
        tokio::select! {
            () = tell(&*executor, &session, &wanted, names, &queue) => {}
            _ = ends.wait_for(|ends| *ends) => {}
        }
        // Before the client hears of the end, which the switch waits for.
        drop((session, executor));
        drop(queue);
    });
    Ok(replies)
}

/// Tells all ports first.
async fn tell(
    executor: &impl Executor,
    session: &Session,
    wanted: &Wanted,
    mut names: Vec<PortName>,
    queue: &mpsc::Sender<Result<CaptureReply, Status>>,
) {
    names.retain(|name| wanted.ports.contains(name.port));
    let known = names.iter().map(|name| (name.port, name.attached_ns));
    let mut known: HashMap<_, _> = known.collect();
    let mut missed = Vec::new();
    let mut ports = names.into_iter().map(named).collect::<Vec<_>>();
    // Without a client there is nobody to take frames for.
    while let Ok(place) = queue.reserve().await {
        let seen = session.take(BATCH);
        for &Seen { port, .. } in &seen {
            if known.get(&port) != Some(&executor.attached_ns(port)) {
                let name = name(executor, port);
                known.insert(port, name.attached_ns);
                ports.push(named(name));
            }
        }
        let now: Vec<_> = session.missed().collect();
        if ports.is_empty() && seen.is_empty() && now == missed {
            drop(place);
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => continue,
                () = queue.closed() => return,
            }
        }
        missed = now;
        let counts = missed.iter().map(|(port, frames)| MissedFrames {
            port: port.get().into(),
            frames: *frames,
        });
        place.send(Ok(CaptureReply {
            ports: std::mem::take(&mut ports),
            frames: seen.into_iter().map(frame).collect(),
            missed: counts.collect(),
        }));
    }
}

/// What a request asks for, or what is wrong with it.
fn wanted(request: &CaptureRequest, names: &[PortName]) -> Result<Wanted, String> {
    let mut ports = PortSet::default();
    for &number in &request.ports {
        let port = u16::try_from(number).ok().and_then(PortId::new);
        let port = port.filter(|port| names.iter().any(|name| name.port == *port));
        let port = port.ok_or_else(|| format!("there is no port {number}"))?;
        ports.insert(port);
    }
    let mut dropped = 0;
    for name in &request.reasons {
        let mut reasons = DropReason::ALL.iter();
        let reason = reasons.find(|reason| reason.name() == name);
        let reason = reason.ok_or_else(|| format!("packets are dropped for no reason `{name}`"))?;
        dropped |= 1 << *reason as u8;
    }
    if !(1..=MAX_SNAPLEN).contains(&request.snaplen) {
        return Err(format!("a snaplen is 1 to {MAX_SNAPLEN} bytes"));
    }
    Ok(Wanted {
        ports: if ports.is_empty() {
            PortSet::ALL
        } else {
            ports
        },
        received: request.received,
        sent: request.sent,
        dropped: match request.dropped {
            false => 0,
            true if dropped == 0 => Wanted::ALL.dropped,
            true => dropped,
        },
        snaplen: request.snaplen,
    })
}

/// Of a port that was attached after the beginning, if it is still there.
fn name(executor: &impl Executor, port: PortId) -> PortName {
    let attached_ns = executor.attached_ns(port);
    let mut names = executor.port_names().into_iter();
    names.find(|name| name.port == port).unwrap_or(PortName {
        port,
        device: String::new(),
        binding: String::new(),
        attached_ns,
    })
}

fn named(name: PortName) -> CapturedPort {
    CapturedPort {
        port: name.port.get().into(),
        device: name.device,
        binding: name.binding,
        attached_ns: name.attached_ns,
    }
}

fn frame(seen: Seen) -> CapturedFrame {
    let (event, reason) = match seen.event {
        Event::Received => (Told::Received, ""),
        Event::Sent => (Told::Sent, ""),
        Event::Dropped(reason) => (Told::Dropped, reason.name()),
    };
    CapturedFrame {
        port: seen.port.get().into(),
        event: event.into(),
        reason: reason.to_owned(),
        time_ns: seen.time_ns,
        len: seen.len,
        data: seen.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CaptureRequest {
        CaptureRequest {
            received: true,
            snaplen: 100,
            ..CaptureRequest::default()
        }
    }

    fn names() -> Vec<PortName> {
        let named = |port| PortName {
            port: PortId::new(port).unwrap(),
            device: format!("net_null{port}"),
            binding: String::new(),
            attached_ns: 0,
        };
        [0, 5].map(named).to_vec()
    }

    #[test]
    fn what_is_not_said_is_all_ports_and_reasons_and_what_is_not_asked_for_is_not_wanted() {
        let all = wanted(&request(), &names()).unwrap();
        assert_eq!((all.ports, all.dropped, all.sent), (PortSet::ALL, 0, false));
        let dropped = CaptureRequest {
            dropped: true,
            ..request()
        };
        assert_eq!(wanted(&dropped, &names()).unwrap().dropped, u64::MAX);
        let some = CaptureRequest {
            ports: vec![5, 0],
            reasons: vec!["no_route".into()],
            ..dropped
        };
        let some = wanted(&some, &names()).unwrap();
        assert_eq!(some.ports, names().iter().map(|name| name.port).collect());
        assert_eq!(some.dropped, 1 << DropReason::NoRoute as u8);
    }

    #[test]
    fn what_there_is_not_is_refused_by_name() {
        let refused = |request| wanted(&request, &names()).unwrap_err();
        for port in [1, 32, 70_000] {
            let ports = vec![0, port];
            let asked = CaptureRequest { ports, ..request() };
            assert_eq!(refused(asked), format!("there is no port {port}"));
        }
        let reasons = vec!["no_reason".to_owned()];
        let asked = CaptureRequest {
            reasons,
            ..request()
        };
        assert!(refused(asked).contains("`no_reason`"));
        for snaplen in [0, MAX_SNAPLEN + 1] {
            let asked = CaptureRequest {
                snaplen,
                ..request()
            };
            assert_eq!(refused(asked), "a snaplen is 1 to 262144 bytes");
        }
    }
}
