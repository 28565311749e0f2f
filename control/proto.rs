// SPDX-License-Identifier: MIT
//! Protobuf messages and gRPC stubs, generated at build time from the files under `proto/`.

use prost::DecodeError;
use prost::bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType, skip_field};

/// Alcor's goal-state schema (`proto/alcor/schema/`).
pub(crate) mod schema {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    tonic::include_proto!("alcor.schema");
}

/// The same services, whose requests with goal states come as [`Raw`].
pub(crate) mod served {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    tonic::include_proto!("served/alcor.schema");
}

/// A message that is not decoded: its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Raw(pub Bytes);

impl prost::Message for Raw {
    fn decode(mut bytes: impl Buf) -> Result<Self, DecodeError> {
        Ok(Self(bytes.copy_to_bytes(bytes.remaining())))
    }

    fn encode_raw(&self, into: &mut impl BufMut) {
        into.put_slice(&self.0);
    }

    /// For messages inside of others, which this is never.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        bytes: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, bytes, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
