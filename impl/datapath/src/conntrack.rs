// SPDX-License-Identifier: Apache-2.0
//! Connections that ended are taken out of the tables, in small steps, as often as it pays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use maps::{
    BpfMap, Bytes, ConntrackEntry, ConntrackKey4, ConntrackKey6, Cursor, MapError, SnatEntry, SnatKey4,
    SnatKey6, names,
};
use nix::time::{ClockId, clock_gettime};

use crate::DatapathError;
use crate::loader::MapSet;

/// How often at most, and how seldom, the tables are gone through. 1.4 did it each minute.
const SHORTEST: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Steps, of up to 512 rows each, at a time: some milliseconds.
const STEPS: usize = 16;
/// Above this part of rows that had ended, the next time comes sooner; below the other one, later.
const MUCH: f64 = 0.25;
const LITTLE: f64 = 0.05;
/// A table that is fuller than this is gone through as often as may be.
const FULL: f64 = 0.75;

/// A table that is gone through.
trait Swept: Send + Sync {
    fn name(&self) -> &'static str;
    fn capacity(&self) -> u32;
    /// Reads the next rows and deletes those that are over. Returns how many were read and how many deleted.
    fn step(&self, cursor: &mut Cursor, over: &Over<'_>) -> Result<(u64, u64), MapError>;
}

/// What is over.
struct Over<'a> {
    now_s: u32,
    dead: &'a BTreeMap<u16, u64>,
}

trait Entry: Bytes {
    fn is_over(&self, over: &Over<'_>) -> bool;
}

impl Entry for ConntrackEntry {
    fn is_over(&self, over: &Over<'_>) -> bool {
        let of_dead = |id: u16| id != 0 && over.dead.contains_key(&id);
        self.is_expired(over.now_s) || of_dead(self.src_lxc_id) || of_dead(self.dst_lxc_id)
    }
}

impl Entry for SnatEntry {
    fn is_over(&self, over: &Over<'_>) -> bool {
        self.lifetime < over.now_s
    }
}

struct Table<K, V> {
    name: &'static str,
    map: BpfMap<K, V>,
}

impl<K: Bytes, V: Entry> Swept for Table<K, V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capacity(&self) -> u32 {
        self.map.capacity()
    }

    fn step(&self, cursor: &mut Cursor, over: &Over<'_>) -> Result<(u64, u64), MapError> {
        let rows = self.map.step(cursor)?;
        let ended: Vec<K> =
            rows.iter().filter(|(_, entry)| entry.is_over(over)).map(|(key, _)| *key).collect();
        let mut refused = self.map.remove_all(&ended);
        match refused.pop() {
            Some((_, error)) => Err(error),
            None => Ok((rows.len() as u64, ended.len() as u64)),
        }
    }
}

/// Totals since the start, for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectorTotals {
    /// Times that all tables were gone through.
    pub passes: u64,
    /// Rows read.
    pub seen: u64,
    /// Rows deleted.
    pub removed: u64,
    /// Times that the kernel refused to read or delete.
    pub errors: u64,
}

/// Where the pass that is under way stands.
struct Pass {
    table: usize,
    cursor: Cursor,
    seen: u64,
    removed: u64,
    left: u64,
}

/// Goes through the tables of connections.
pub struct Collector {
    tables: Vec<Box<dyn Swept>>,
    /// Rows of each table when it was last gone through.
    entries: BTreeMap<&'static str, u64>,
    pass: Option<Pass>,
    due: Option<Instant>,
    interval: Duration,
    /// Endpoints that are no more, with the number of passes when that became known.
    dead: BTreeMap<u16, u64>,
    totals: CollectorTotals,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector")
            .field("interval", &self.interval)
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

impl Collector {
    /// Of these maps.
    ///
    /// # Errors
    /// [`DatapathError`] if one is missing or of another layout.
    pub fn new(maps: &MapSet) -> Result<Self, DatapathError> {
        fn table<K: Bytes + Send + 'static, V: Entry + Send + 'static>(
            maps: &MapSet,
            name: &'static str,
        ) -> Result<Box<dyn Swept>, DatapathError> {
            Ok(Box::new(Table { name, map: maps.typed::<K, V>(name)? }))
        }
        let tables = vec![
            table::<ConntrackKey4, ConntrackEntry>(maps, names::CT4_GLOBAL)?,
            table::<ConntrackKey6, ConntrackEntry>(maps, names::CT6_GLOBAL)?,
            table::<ConntrackKey4, ConntrackEntry>(maps, names::CT_ANY4_GLOBAL)?,
            table::<ConntrackKey6, ConntrackEntry>(maps, names::CT_ANY6_GLOBAL)?,
            table::<SnatKey4, SnatEntry>(maps, names::SNAT_V4)?,
            table::<SnatKey6, SnatEntry>(maps, names::SNAT_V6)?,
        ];
        Ok(Self {
            tables,
            entries: BTreeMap::new(),
            pass: None,
            due: None,
            interval: FIRST,
            dead: BTreeMap::new(),
            totals: CollectorTotals::default(),
        })
    }

    /// Works for some milliseconds if it is time. Returns when to call again.
    pub fn step(&mut self, now: Instant) -> Duration {
        let due = *self.due.get_or_insert(now + self.interval);
        if self.pass.is_none() {
            if now < due {
                return due - now;
            }
            self.begin();
        }
        self.work(now, STEPS)
    }

    /// The connections of these endpoints are over, whenever they would end. Short tables are cleaned at once, long ones
    /// as time allows: verdicts of the epoch before are not used any more in any case.
    pub fn flush(&mut self, endpoints: impl IntoIterator<Item = u16>, now: Instant) {
        self.dead.extend(
            endpoints.into_iter().map(|id| (id, self.totals.passes + u64::from(self.pass.is_some()))),
        );
        if self.pass.is_none() {
            self.begin();
        }
        self.work(now, STEPS);
    }

    /// The number is in use again: nothing of it is over.
    pub fn revive(&mut self, endpoint: u16) {
        self.dead.remove(&endpoint);
    }

    fn begin(&mut self) {
        self.pass = Some(Pass { table: 0, cursor: Cursor::new(), seen: 0, removed: 0, left: 0 });
    }

    fn work(&mut self, now: Instant, steps: usize) -> Duration {
        for _ in 0..steps {
            let Some(pass) = &mut self.pass else { break };
            let Some(table) = self.tables.get(pass.table) else {
                self.end(now);
                break;
            };
            let over = Over { now_s: monotonic_s(), dead: &self.dead };
            match table.step(&mut pass.cursor, &over) {
                Ok((seen, removed)) => {
                    pass.seen += seen;
                    pass.removed += removed;
                    pass.left += seen.saturating_sub(removed);
                }
                Err(_) => {
                    self.totals.errors += 1;
                    pass.cursor = Cursor::new();
                    pass.table += 1;
                    pass.left = 0;
                    continue;
                }
            }
            if pass.cursor.is_finished() {
                self.entries.insert(table.name(), pass.left);
                pass.left = 0;
                pass.cursor = Cursor::new();
                pass.table += 1;
            }
        }
        match (&self.pass, self.due) {
            // Others have their turn, then it goes on.
            (Some(_), _) => Duration::from_millis(5),
            (None, Some(due)) => due.saturating_duration_since(now),
            (None, None) => self.interval,
        }
    }

    fn end(&mut self, now: Instant) {
        let Some(pass) = self.pass.take() else { return };
        self.totals.passes += 1;
        self.totals.seen += pass.seen;
        self.totals.removed += pass.removed;
        let passes = self.totals.passes;
        self.dead.retain(|_, known| passes <= *known);
        let fullest = self
            .tables
            .iter()
            .filter_map(|table| {
                Some(*self.entries.get(table.name())? as f64 / f64::from(table.capacity().max(1)))
            })
            .fold(0.0, f64::max);
        self.interval = next_interval(self.interval, pass.seen, pass.removed, fullest);
        // Endpoints that went meanwhile wait for the next pass, which does not wait.
        self.due = Some(if self.dead.is_empty() { now + self.interval } else { now });
    }

    /// Rows of a table when it was last gone through.
    pub fn entries(&self, name: &str) -> Option<u64> {
        self.entries.get(name).copied()
    }

    /// What was done so far.
    pub const fn totals(&self) -> CollectorTotals {
        self.totals
    }
}

/// Sooner if much had ended or a table fills up, later if little had.
fn next_interval(interval: Duration, seen: u64, removed: u64, fullest: f64) -> Duration {
    let ended = removed as f64 / seen.max(1) as f64;
    let next = if fullest > FULL {
        SHORTEST
    } else if ended > MUCH {
        interval / 2
    } else if ended < LITTLE {
        interval.mul_f64(1.5)
    } else {
        interval
    };
    next.clamp(SHORTEST, LONGEST)
}

/// The clock of lifetimes, seconds.
pub fn monotonic_s() -> u32 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec());
    // Wraps after 136 years of uptime.
    now as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_follows_what_had_ended_and_stays_within_its_limits() {
        assert_eq!(next_interval(FIRST, 1000, 500, 0.1), FIRST / 2);
        assert_eq!(next_interval(FIRST, 1000, 100, 0.1), FIRST);
        assert_eq!(next_interval(FIRST, 1000, 0, 0.1), FIRST.mul_f64(1.5));
        assert_eq!(next_interval(FIRST, 0, 0, 0.0), FIRST.mul_f64(1.5));
        assert_eq!(next_interval(FIRST, 1000, 0, 0.9), SHORTEST);
        assert_eq!(next_interval(SHORTEST, 1000, 900, 0.1), SHORTEST);
        assert_eq!(next_interval(LONGEST, 1000, 0, 0.1), LONGEST);
    }
}
