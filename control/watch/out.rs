// SPDX-License-Identifier: MIT
//! [`Out`]: a metric with all its values, written at once.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

/// Where metrics go.
pub(super) struct Out<'a>(pub(super) DescriptorEncoder<'a>);

/// Names and values.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

impl Out<'_> {
    /// A counter, with a value for each of these labels.
    pub(super) fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, Counter)?;
        rows.into_iter().try_for_each(|(labels, value)| {
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    /// A gauge likewise.
    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, Gauge)?;
        rows.into_iter().try_for_each(|(labels, value)| {
            let mut one = metric.encode_family(&labels)?;
            one.encode_gauge(&value)
        })
    }

    /// One without labels; none without a value.
    pub(super) fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: Option<V>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, Gauge)?;
        value
            .iter()
            .try_for_each(|value| metric.encode_gauge(value))
    }

    /// The same of a counter.
    pub(super) fn counter<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        value: Option<V>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, Counter)?;
        let write = |value| metric.encode_counter::<NoLabelSet, _, u64>(&value, None);
        value.into_iter().try_for_each(write)
    }
}
