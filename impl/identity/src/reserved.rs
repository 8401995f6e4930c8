// SPDX-License-Identifier: Apache-2.0
//! The names that have a fixed meaning.

/// Every label.
pub const ALL: &str = "all";
/// The node that the agent runs on.
pub const HOST: &str = "host";
/// What is outside the cluster.
pub const WORLD: &str = "world";
/// A pod in the cluster that this product does not manage.
pub const UNMANAGED: &str = "unmanaged";
/// The endpoint by which nodes probe each other.
pub const HEALTH: &str = "health";
/// An endpoint that has no labels yet.
pub const INIT: &str = "init";
/// Never given to anything.
pub const NONE: &str = "none";
