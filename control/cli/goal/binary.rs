// SPDX-License-Identifier: MIT
//! Goal states as protobuf messages, whose form no byte of them names.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};

use crate::core::Goal;
use crate::proto::schema::{GoalState, GoalStateV2};

/// Field 1 of a message, a string: what an entry of a map begins with, and no state of a list does (its field 1 is its
/// operation, a number).
const KEY: u8 = 1 << 3 | WireType::LengthDelimited as u8;

/// The goal state that `bytes` are.
///
/// # Errors
/// They are none.
pub(super) fn decode(bytes: &[u8]) -> Result<Goal, DecodeError> {
    match is_v1(bytes)? {
        true => GoalState::decode(bytes).map(Goal::V1),
        false => GoalStateV2::decode(bytes).map(Goal::V2),
    }
}

/// Whether the first state that says so is one of a list, as in a GoalState. All but the first field are states.
fn is_v1(mut rest: &[u8]) -> Result<bool, DecodeError> {
    while !rest.is_empty() {
        let (field, wire) = decode_key(&mut rest)?;
        if field == 1 || wire != WireType::LengthDelimited {
            skip_field(wire, field, &mut rest, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
        let Some((state, after)) = rest.split_at_checked(length) else {
            break; // cut short, as decoding it says in words
        };
        if let Some(&first) = state.first() {
            return Ok(first != KEY);
        }
        rest = after;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::schema::goal_state_v2::VpcStatesEntry;
    use crate::proto::schema::{OperationType, VpcConfiguration, VpcState};

    fn state(operation: OperationType) -> VpcState {
        VpcState {
            operation_type: operation as i32,
            configuration: Some(VpcConfiguration {
                id: "v".into(),
                ..VpcConfiguration::default()
            }),
        }
    }

    #[test]
    fn the_form_is_told_by_the_first_state() {
        for operation in [OperationType::Info, OperationType::Create] {
            let v1 = GoalState {
                format_version: 101,
                vpc_states: vec![VpcState::default(), state(operation)],
                ..GoalState::default()
            };
            let decoded = decode(&v1.encode_to_vec());
            assert!(matches!(decoded, Ok(Goal::V1(goal)) if goal == v1));
            let v2 = GoalStateV2 {
                format_version: 102,
                vpc_states: vec![VpcStatesEntry {
                    key: "k".into(),
                    value: Some(state(operation)),
                }],
                ..GoalStateV2::default()
            };
            let decoded = decode(&v2.encode_to_vec());
            assert!(matches!(decoded, Ok(Goal::V2(goal)) if goal == v2));
        }
        assert!(matches!(decode(&[]), Ok(Goal::V2(_))));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let whole = GoalState {
            vpc_states: vec![state(OperationType::Create)],
            ..GoalState::default()
        };
        let whole = whole.encode_to_vec();
        for cut in 1..whole.len() {
            assert!(decode(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(decode(b"{}").is_err());
        assert!(
            decode(&[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01
            ])
            .is_err()
        );
    }
}
