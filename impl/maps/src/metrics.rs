// SPDX-License-Identifier: Apache-2.0
//! `cilium_metrics`: packets by reason and direction, one row for each CPU.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How many rows the array has: four for each reason.
pub const METRICS_ROWS: u32 = 1024;

/// Where a counted packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// Not said.
    Unknown = 0,
    /// To an endpoint.
    Ingress = 1,
    /// From an endpoint.
    Egress = 2,
    /// Of a service.
    Service = 3,
}

impl Direction {
    /// The word of 1.4's metrics and of `cilium bpf metrics list`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Ingress => "INGRESS",
            Self::Egress => "EGRESS",
            Self::Service => "SERVICE",
        }
    }
}

/// `struct metrics_value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MetricsValue {
    /// Packets.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The row of a reason and direction.
pub const fn metrics_index(reason: u8, direction: Direction) -> u32 {
    reason as u32 * 4 + direction as u32
}

impl MetricsValue {
    /// The reason and direction of a row; `None` beyond the array's end.
    pub fn of_index(index: u32) -> Option<(u8, Direction)> {
        let direction = match index % 4 {
            0 => Direction::Unknown,
            1 => Direction::Ingress,
            2 => Direction::Egress,
            _ => Direction::Service,
        };
        Some((u8::try_from(index / 4).ok()?, direction))
    }

    /// The sum over all CPUs.
    pub fn sum(values: &[Self]) -> Self {
        let mut total = Self::default();
        for value in values {
            total.count = total.count.wrapping_add(value.count);
            total.bytes = total.bytes.wrapping_add(value.bytes);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_and_direction_has_a_row_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in 0..=u8::MAX {
            for direction in [Direction::Unknown, Direction::Ingress, Direction::Egress, Direction::Service] {
                let index = metrics_index(reason, direction);
                assert_eq!(MetricsValue::of_index(index), Some((reason, direction)));
                assert!(index < METRICS_ROWS && seen.insert(index));
            }
        }
        assert_eq!(MetricsValue::of_index(METRICS_ROWS), None);
    }
}
