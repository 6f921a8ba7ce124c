//! Wall-clock times as the tables store them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, UTC: every `*_epoch` column.
#[must_use]
pub fn now_epoch() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    now.saturating_add(crate::fault::wall_clock_offset())
}

/// Milliseconds from now to `epoch`; none where it has passed.
#[must_use]
pub fn until_epoch(epoch: i64) -> Duration {
    Duration::from_millis(u64::try_from(epoch.saturating_sub(now_epoch())).unwrap_or(0))
}

/// The wall-clock time `wait` from now.
#[must_use]
pub fn epoch_after(wait: Duration) -> i64 {
    now_epoch().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// ISO-8601 UTC text with milliseconds and `Z`, as JavaScript's `toISOString` writes it: every `*_at` column.
#[must_use]
pub fn iso8601(epoch_ms: i64) -> String {
    let days = epoch_ms.div_euclid(86_400_000);
    let ms = epoch_ms.rem_euclid(86_400_000);
    // Days to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second, milli) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    let date = match year {
        0..=9_999 => format!("{year:04}"),
        // Expanded years carry a sign and six digits.
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    format!("{date}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::iso8601;

    #[test]
    fn matches_javascript() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_757_177_815_686, "2025-09-06T16:56:55.686Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso8601(epoch), text);
        }
    }
}
