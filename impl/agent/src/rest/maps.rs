// SPDX-License-Identifier: Apache-2.0
//! `/map`.

use api::{BpfMap, BpfMapEntry, BpfMapList, DesiredAction};
use hyper::StatusCode;

use super::{Api, Refused, Reply};
use crate::realize::Target;

/// Entries of a map that one reply holds at most: as text they take some 50 MiB.
const ENTRIES: usize = 1 << 18;
/// Says how many entries a reply does not hold.
const LEFT_OUT: &str = api::paths::ENTRIES_LEFT_OUT;

impl<T: Target> Api<T> {
    /// `GET /map`: which maps there are.
    pub(super) async fn maps(&self) -> Result<Reply, Refused> {
        let maps = self.target(|target| target.maps()).await?;
        let maps = maps.into_iter().map(|map| BpfMap { path: map.path, cache: None }).collect();
        Reply::json(&BpfMapList { maps })
    }

    /// `GET /map/{name}`: what the kernel holds.
    pub(super) async fn map(&self, name: &str) -> Result<Reply, Refused> {
        let wanted = name.to_owned();
        let found = self.target(move |target| target.dump(&wanted, ENTRIES)).await?;
        let dump = found.ok_or_else(|| Refused::not_found(format!("there is no map {name}")))?;
        let dump =
            dump.map_err(|e| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{name}: {e}")))?;
        let entry = |(key, value)| BpfMapEntry {
            key,
            value,
            desired_action: Some(DesiredAction::Ok),
            last_error: String::new(),
        };
        let cache = dump.entries.into_iter().map(entry).collect();
        Ok(Reply::json(&BpfMap { path: dump.path, cache: Some(cache) })?.with(LEFT_OUT, dump.left_out))
    }
}
