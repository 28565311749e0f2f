// SPDX-License-Identifier: MIT
//! Keeps replies small: Alcor's clients accept 4 MiB, and hang for minutes when a reply is larger.

use prost::Message;

use crate::proto::schema::{GoalStateOperationReply, OperationStatus};

/// Most bytes of one reply message. Below the 4 MiB that gRPC clients accept unless told otherwise, with
/// room to spare.
pub(crate) const MAX_REPLY: usize = 3 << 20;

/// The reply in as many messages as it needs, at least one; together they hold every status, in order.
pub(crate) fn split(reply: GoalStateOperationReply) -> Vec<GoalStateOperationReply> {
    if reply.encoded_len() <= MAX_REPLY {
        return vec![reply];
    }
    let head = GoalStateOperationReply {
        operation_statuses: Vec::new(),
        ..reply
    };
    let mut parts = vec![head.clone()];
    let mut size = 0;
    for status in reply.operation_statuses {
        let bytes = encoded(&status);
        if size + bytes > MAX_REPLY {
            parts.push(head.clone());
            size = 0;
        }
        size += bytes;
        if let Some(part) = parts.last_mut() {
            part.operation_statuses.push(status);
        }
    }
    parts
}

/// The reply as one message: where it is too large, everything that is no success, and successes as long as
/// there is room. Returns how many statuses were left out.
pub(crate) fn shorten(mut reply: GoalStateOperationReply) -> (GoalStateOperationReply, usize) {
    let all = reply.operation_statuses.len();
    if reply.encoded_len() <= MAX_REPLY {
        return (reply, 0);
    }
    reply
        .operation_statuses
        .sort_by_key(|status| status.operation_status == OperationStatus::Success as i32);
    let mut size = 0;
    let fits = reply.operation_statuses.iter().take_while(|status| {
        size += encoded(*status);
        size <= MAX_REPLY
    });
    let kept = fits.count();
    reply.operation_statuses.truncate(kept);
    (reply, all - kept)
}

/// Bytes of one status inside a reply: its own, its tag and its length.
fn encoded(status: &impl Message) -> usize {
    let len = status.encoded_len();
    1 + prost::length_delimiter_len(len) + len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;

    fn reply(statuses: usize) -> GoalStateOperationReply {
        let status = |n: usize| GoalStateOperationStatus {
            resource_id: format!("{n:036}"),
            operation_status: if n % 1000 == 999 { 3 } else { 0 },
            state_elapse_time: 123_456,
            ..Default::default()
        };
        GoalStateOperationReply {
            operation_statuses: (0..statuses).map(status).collect(),
            message_total_operation_time: 7,
            ..Default::default()
        }
    }

    #[test]
    fn a_large_reply_is_split_below_the_limit_and_nothing_is_lost() {
        let whole = reply(200_000);
        let parts = split(whole.clone());
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| part.encoded_len() < MAX_REPLY + 64));
        assert!(
            parts
                .iter()
                .all(|part| part.message_total_operation_time == 7)
        );
        let joined: Vec<_> = parts
            .into_iter()
            .flat_map(|part| part.operation_statuses)
            .collect();
        assert_eq!(joined, whole.operation_statuses);
    }

    #[test]
    fn an_empty_reply_is_still_one_message() {
        assert_eq!(split(reply(0)).len(), 1);
    }

    #[test]
    fn a_shortened_reply_keeps_what_is_no_success() {
        let (short, left_out) = shorten(reply(200_000));
        assert!(short.encoded_len() <= MAX_REPLY + 64);
        assert_eq!(short.operation_statuses.len() + left_out, 200_000);
        assert_eq!(
            short
                .operation_statuses
                .iter()
                .filter(|s| s.operation_status == 3)
                .count(),
            200
        );
        assert_eq!(shorten(reply(10)), (reply(10), 0));
    }
}
