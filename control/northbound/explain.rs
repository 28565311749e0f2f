// SPDX-License-Identifier: MIT
//! The call Explain.

use std::sync::Arc;

use vswitch::tables::PortId;

use super::api::explain_request::Packet as Asked;
use super::api::{Because, ExplainReply, ExplainRequest, ExplainStep, SentFrame};
use super::{ExecError, Executor};
use crate::explain::{Explanation, Named, Outcome, Packet, Step, summary};

/// The answer to one request.
pub(super) async fn reply(executor: &Arc<impl Executor>, request: ExplainRequest) -> ExplainReply {
    match explain(executor, request).await {
        Ok(explanation) => told(explanation),
        Err(error) => ExplainReply {
            error,
            ..ExplainReply::default()
        },
    }
}

async fn explain(
    executor: &Arc<impl Executor>,
    request: ExplainRequest,
) -> Result<Explanation, String> {
    let port = u16::try_from(request.port).ok().and_then(PortId::new);
    let port = port.ok_or_else(|| format!("there is no port {}", request.port))?;
    let packet = match request.packet {
        Some(Asked::Words(words)) => Packet::Words(words),
        Some(Asked::Frame(frame)) => Packet::Bytes(frame),
        None => return Err("there is no packet to explain".to_owned()),
    };
    let explained = executor.explain(port, packet).await;
    explained.map_err(|error: ExecError| error.to_string())
}

fn told(explanation: Explanation) -> ExplainReply {
    let (outcome, reason) = match explanation.outcome {
        Outcome::Forwarded => ("forwarded", ""),
        Outcome::Answered => ("answered", ""),
        Outcome::Copied => ("copied", ""),
        Outcome::Held(_) => ("held", ""),
        Outcome::Dropped(reason) => ("dropped", reason.name()),
    };
    let because = |named: Named| Because {
        kind: named.kind.as_str_name().to_owned(),
        id: named.id,
        revision: named.revision,
    };
    let step = |step: Step| ExplainStep {
        stage: step.stage.to_owned(),
        text: step.text,
        because: step.because.into_iter().map(because).collect(),
    };
    let sent = |(port, frame): (PortId, Vec<u8>)| SentFrame {
        port: port.get().into(),
        summary: summary(&frame, explanation.vxlan_port),
        frame,
    };
    ExplainReply {
        error: String::new(),
        steps: explanation.steps.into_iter().map(step).collect(),
        outcome: outcome.to_owned(),
        reason: reason.to_owned(),
        sent: explanation.sent.into_iter().map(sent).collect(),
    }
}
