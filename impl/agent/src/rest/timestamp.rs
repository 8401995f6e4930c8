// SPDX-License-Identifier: Apache-2.0
//! Times as RFC 3339 writes them, in UTC.

const DAY_S: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: u64 = 719_468;
/// Days in 400 years.
const ERA: u64 = 146_097;

/// A time given in milliseconds since 1970.
pub fn rfc3339(ms: u64) -> String {
    let (s, ms) = (ms / 1000, ms % 1000);
    let (days, s) = (s / DAY_S, s % DAY_S);
    // Years begin in March, so that the leap day is the last one.
    let day = days + TO_1970;
    let (era, of_era) = (day / ERA, day % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_date_prints_them() {
        // `date -u -d @N --rfc-3339=seconds`
        for (s, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(s * 1000), text);
        }
        assert_eq!(rfc3339(1_549_670_400_123), "2019-02-09T00:00:00.123Z");
    }
}
