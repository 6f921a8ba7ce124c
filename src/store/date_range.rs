//! A range of time, as options give it: epoch milliseconds or ISO-8601 text.

use rusqlite::{Connection, OptionalExtension};

use crate::error::Result;

/// One end of a range, as it was given.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// Epoch ms; 0 is no bound, as in 6.0.2.
    Epoch(f64),
    /// ISO-8601 text, or epoch ms in digits. A date alone is UTC midnight; a date with a time but without an
    /// offset is local time, as in JavaScript. Empty is no bound; text that is no date lets no row through.
    Text(String),
}

/// Both ends, inclusive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DateRange {
    /// Not before.
    pub start: Option<Bound>,
    /// Not after.
    pub end: Option<Bound>,
}

/// What a bound comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    /// No bound.
    Open,
    /// Epoch ms; `None` lets no row through.
    At(Option<f64>),
}

impl Bound {
    /// As an error shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Epoch(epoch) => epoch.to_string(),
            Self::Text(text) => format!("'{}'", text.chars().take(60).collect::<String>()),
        }
    }

    /// The time that a bound names.
    pub(super) fn limit(&self, db: &Connection) -> Result<Limit> {
        Ok(match self {
            Self::Epoch(0.0) => Limit::Open,
            Self::Epoch(epoch) => Limit::At(epoch.is_finite().then_some(*epoch)),
            Self::Text(text) if text.is_empty() => Limit::Open,
            Self::Text(text) => Limit::At(match parse(text.trim()) {
                Some(Time::Utc(epoch)) => Some(epoch),
                Some(Time::Local(epoch)) => local_to_utc(db, epoch)?,
                None => None,
            }),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Time {
    Utc(f64),
    Local(f64),
}

/// SQLite knows the time zone of this machine; the standard library does not.
fn local_to_utc(db: &Connection, epoch_ms: f64) -> Result<Option<f64>> {
    let seconds = (epoch_ms / 1_000.0).floor();
    let utc: Option<f64> = db
        .prepare_cached("SELECT CAST(unixepoch(?1, 'unixepoch', 'utc') AS REAL)")?
        .query_row([seconds], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(utc.map(|utc| utc * 1_000.0 + (epoch_ms - seconds * 1_000.0)))
}

fn parse(text: &str) -> Option<Time> {
    // Four digits are a year; no time since 1970 that matters has fewer than nine digits of milliseconds.
    if text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Time::Utc);
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let midnight = date_ms(date)?;
    let Some(time) = time else { return Some(Time::Utc(midnight)) };
    let (clock, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => (&time[..at], Some(&time[at..])),
        None => (time, None),
    };
    let local = midnight + clock_ms(clock)?;
    Some(match offset {
        None => Time::Local(local),
        Some("Z" | "z") => Time::Utc(local),
        Some(offset) => {
            let minutes = offset_minutes(&offset[1..])?;
            Time::Utc(local - minutes * 60_000.0 * if offset.starts_with('-') { -1.0 } else { 1.0 })
        }
    })
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
fn date_ms(text: &str) -> Option<f64> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |part| number(part, 2))?;
    let day = parts.next().map_or(Some(1), |part| number(part, 2))?;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // A civil date to days: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = year - i32::from(month <= 2);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(f64::from(days) * 86_400_000.0)
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`.
fn clock_ms(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let (second, fraction) = match parts.next() {
        None => (0, 0.0),
        Some(part) => match part.split_once('.') {
            None => (number(part, 2)?, 0.0),
            Some((second, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (number(second, 2)?, format!("0.{digits}").parse::<f64>().ok()?)
            }
            Some(_) => return None,
        },
    };
    // 24:00 is the end of the day.
    if parts.next().is_some() || hour > 24 || minute > 59 || second > 59 || (hour == 24 && minute + second > 0) {
        return None;
    }
    Some(f64::from(hour * 3_600 + minute * 60 + second) * 1_000.0 + (fraction * 1_000.0).floor())
}

/// `HH:MM` or `HHMM`.
fn offset_minutes(text: &str) -> Option<f64> {
    let (hours, minutes) = text.split_once(':').or_else(|| text.split_at_checked(2))?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours < 24 && minutes < 60).then(|| f64::from(hours * 60 + minutes))
}

/// Exactly `digits` digits.
fn number(text: &str, digits: usize) -> Option<i32> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_javascript_reads() {
        for (text, epoch) in [
            ("2025", 1_735_689_600_000.0),
            ("2025-09", 1_756_684_800_000.0),
            ("2025-09-05", 1_757_030_400_000.0),
            ("2000-02-29", 951_782_400_000.0),
            ("1969-12-31T23:59:59.999Z", -1.0),
            ("2025-10-01T00:00:00.000Z", 1_759_276_800_000.0),
            ("2025-10-01T02:30+02:30", 1_759_276_800_000.0),
            ("2025-09-30T22:00:00-0200", 1_759_276_800_000.0),
            ("1759276800000", 1_759_276_800_000.0),
        ] {
            assert_eq!(parse(text), Some(Time::Utc(epoch)), "{text}");
        }
        assert_eq!(parse("2025-10-01T00:00"), Some(Time::Local(1_759_276_800_000.0)));
        assert_eq!(parse("2025-10-01 00:00:00.5"), Some(Time::Local(1_759_276_800_500.0)));
        for text in
            ["not-a-date", "2025-13", "2025-1-1", "2025-10-01T", "2025-10-01T25:00Z", "日本語", "2025-10-01T00:00+é1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn local_time_goes_through_the_zone_of_this_machine() {
        let db = Connection::open_in_memory().unwrap();
        let there: f64 = db
            .query_row("SELECT CAST(unixepoch('2025-10-01 00:00:00', 'utc') AS REAL) * 1000 + 250", [], |row| {
                row.get(0)
            })
            .unwrap();
        let bound = Bound::Text("2025-10-01T00:00:00.250".into());
        assert_eq!(bound.limit(&db).unwrap(), Limit::At(Some(there)));
    }
}
