// SPDX-License-Identifier: Apache-2.0
//! Why packets are dropped, in the words of Cilium 1.4.

/// Not dropped.
pub const FORWARDED: u8 = 0;
/// Not a packet: an event for which the ring had no room.
pub const EVENT_LOST: u8 = 1;
/// Passed as it is, since nobody can tell whether a service is meant: a later fragment before its first.
pub const FRAGMENT_PASSED: u8 = 2;

/// A client that a service with source ranges is not for. The number is that of a later Cilium.
pub const NOT_IN_SOURCE_RANGE: u8 = 177;

const FIRST: u8 = 130;
const NAMES: [&str; 39] = [
    "Invalid source mac",
    "Invalid destination mac",
    "Invalid source ip",
    "Policy denied (L3)",
    "Invalid packet",
    "CT: Truncated or invalid header",
    "CT: Missing TCP ACK flag",
    "CT: Unknown L4 protocol",
    "CT: Can't create entry from packet",
    "Unsupported L3 protocol",
    "Missed tail call",
    "Error writing to packet",
    "Unknown L4 protocol",
    "Unknown ICMPv4 code",
    "Unknown ICMPv4 type",
    "Unknown ICMPv6 code",
    "Unknown ICMPv6 type",
    "Error retrieving tunnel key",
    "Error retrieving tunnel options",
    "Invalid Geneve option",
    "Unknown L3 target address",
    "Not a local target address",
    "No matching local container found",
    "Error while correcting L3 checksum",
    "Error while correcting L4 checksum",
    "CT: Map insertion failed",
    "Invalid IPv6 extension header",
    "IP fragmentation not supported",
    "Service backend not found",
    "Policy denied (L4)",
    "No tunnel/encapsulation endpoint (datapath BUG!)",
    "Failed to insert into proxymap",
    "Policy denied (CIDR)",
    "Unknown connection tracking state",
    "Local host is unreachable",
    "No configuration available to perform policy decision",
    "No port for masquerading",
    "No route",
    "Too big for the MTU",
];

/// Whether a reason is one of a drop.
pub const fn is_drop(reason: u8) -> bool {
    reason >= FIRST
}

/// The words for a reason; a number that has none is printed as 1.4 does.
pub fn reason_name(reason: u8) -> String {
    match reason {
        FORWARDED => "Success".into(),
        EVENT_LOST => "Event lost".into(),
        FRAGMENT_PASSED => "Fragment passed before its first".into(),
        _ => match reason.checked_sub(FIRST).and_then(|index| NAMES.get(usize::from(index))) {
            Some(name) => (*name).into(),
            None if reason == NOT_IN_SOURCE_RANGE => "Not in the source ranges of the service".into(),
            None => reason.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_words_of_cilium_1_4() {
        for (reason, name) in [
            (0, "Success"),
            (FRAGMENT_PASSED, "Fragment passed before its first"),
            (130, "Invalid source mac"),
            (132, "Invalid source ip"),
            (133, "Policy denied (L3)"),
            (137, "CT: Unknown L4 protocol"),
            (139, "Unsupported L3 protocol"),
            (150, "Unknown L3 target address"),
            (155, "CT: Map insertion failed"),
            (157, "IP fragmentation not supported"),
            (159, "Policy denied (L4)"),
            (162, "Policy denied (CIDR)"),
            (165, "No configuration available to perform policy decision"),
            (168, "Too big for the MTU"),
            (177, "Not in the source ranges of the service"),
            (200, "200"),
            (77, "77"),
        ] {
            assert_eq!(reason_name(reason), name);
        }
        assert!(![FORWARDED, EVENT_LOST, FRAGMENT_PASSED].into_iter().any(is_drop) && is_drop(133));
    }
}
