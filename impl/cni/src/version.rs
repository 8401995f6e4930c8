// SPDX-License-Identifier: Apache-2.0
//! Versions of the protocol.

use std::fmt;

/// A released version of the specification that this plugin speaks. 1.4's own configuration says none, which means
/// 0.1.0 (specification 0.2.0, "Network Configuration").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// ADD and DEL.
    V0_1_0,
    /// VERSION.
    V0_2_0,
    /// Results with interfaces.
    V0_3_0,
    /// A typo of 0.3.0.
    V0_3_1,
    /// CHECK; DEL is given the result of ADD.
    V0_4_0,
    /// Addresses say no version any more.
    V1_0_0,
    /// GC and STATUS; results say MTUs.
    V1_1_0,
}

/// All of them, oldest first.
pub const VERSIONS: [Version; 7] = [
    Version::V0_1_0,
    Version::V0_2_0,
    Version::V0_3_0,
    Version::V0_3_1,
    Version::V0_4_0,
    Version::V1_0_0,
    Version::V1_1_0,
];

impl Version {
    /// The newest: what answers to unreadable configurations are written in.
    pub const LATEST: Self = Self::V1_1_0;

    /// As configurations write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of this name, if this plugin speaks it.
    pub fn parse(text: &str) -> Option<Self> {
        VERSIONS.into_iter().find(|version| version.as_str() == text)
    }

    /// All names, for errors.
    pub fn list() -> String {
        VERSIONS.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_and_come_back_from_their_names() {
        assert!(VERSIONS.is_sorted());
        for version in VERSIONS {
            assert_eq!(Version::parse(version.as_str()), Some(version));
        }
        for unknown in ["", "1.0", "1.2.0", "0.4", " 1.0.0", "v1.0.0"] {
            assert_eq!(Version::parse(unknown), None, "{unknown:?}");
        }
    }
}
