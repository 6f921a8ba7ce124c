//! Arguments that several methods of the store take, and what they look like in TypeScript.

use std::time::Duration;

use napi_derive::napi;

use crate::{
    error::Result,
    js::arguments::{Argument, Fields, MAX_SAFE_INTEGER},
    store::{
        date_range::{self, Bound},
        filters::{self, Filters},
        order::OrderBy,
    },
};

/// Options of a write.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct WriteOptions {
    /// How long to wait for a write lock that another process holds, ms; then `ERR_BUSY`. Default: `deadlineMs`
    /// of `openMemory` (5,000).
    pub deadline_ms: Option<f64>,
}

/// Options of a write that stores a row.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RowOptions {
    /// The row's time, epoch ms. Default: now.
    pub created_at_epoch: Option<f64>,
    /// How long to wait for a write lock that another process holds, ms; then `ERR_BUSY`. Default: `deadlineMs`
    /// of `openMemory` (5,000).
    pub deadline_ms: Option<f64>,
}

/// Options of `get…ByIds`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ByIdsOptions {
    /// Oldest first for `date_asc`, newest first for anything else. Default: `date_desc`.
    #[napi(ts_type = "'date_desc' | 'date_asc' | 'relevance'")]
    pub order_by: Option<String>,
    /// Rows at most; 0 is all. Default: 0.
    pub limit: Option<f64>,
}

/// A range of time, both ends included.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct DateRange {
    /// Not before: epoch ms or ISO-8601 text. A date alone is UTC midnight. 0 and '' are no bound; text that is
    /// no date lets no row through.
    #[napi(ts_type = "string | number")]
    pub start: Option<String>,
    /// Not after: as `start`.
    #[napi(ts_type = "string | number")]
    pub end: Option<String>,
}

/// Options of searches and of `findBy…`. A filter that a kind of row does not have is ignored for it.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct SearchOptions {
    /// Rows at most; negative is all. Default: 50, for prompts 20.
    pub limit: Option<f64>,
    /// Rows to leave out first. Default: 0.
    pub offset: Option<f64>,
    /// Best match first (`findBy…`: newest first), newest first, or oldest first. Default: `relevance`.
    #[napi(ts_type = "'relevance' | 'date_desc' | 'date_asc'")]
    pub order_by: Option<String>,
    /// Only rows of this project; '' is any.
    pub project: Option<String>,
    /// Only observations of one of these types; an empty list lets none through.
    #[napi(js_name = "type", ts_type = "string | string[]")]
    pub kind: Option<String>,
    /// Only observations with one of these concepts.
    #[napi(ts_type = "string | string[]")]
    pub concepts: Option<String>,
    /// Only observations and summaries with a path that contains one of these, as in SQL's LIKE: `%` and `_`
    /// stand for anything, ASCII letters match in either case.
    #[napi(ts_type = "string | string[]")]
    pub files: Option<String>,
    /// Only rows of this time.
    pub date_range: Option<DateRange>,
}

/// Options of `getContext`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ContextOptions {
    /// Observations at most. Default: 50.
    pub observations: Option<f64>,
    /// Summaries at most. Default: 11.
    pub summaries: Option<f64>,
}

/// Checks [`WriteOptions`].
pub(super) fn deadline(options: &Argument<'_>) -> Result<Option<Duration>> {
    deadline_in(&options.options(&["deadlineMs"])?)
}

/// Checks [`RowOptions`]: the row's time and the deadline.
pub(super) fn row(options: &Argument<'_>) -> Result<(Option<i64>, Option<Duration>)> {
    let fields = options.options(&["createdAtEpoch", "deadlineMs"])?;
    Ok((fields.read("createdAtEpoch", epoch)?, deadline_in(&fields)?))
}

pub(in crate::js) fn deadline_in(fields: &Fields<'_>) -> Result<Option<Duration>> {
    /// A day: whoever waits longer for a lock waits for ever.
    const LONGEST: i64 = 24 * 60 * 60 * 1_000;
    let ms = fields.read("deadlineMs", |value| value.integer(0..=LONGEST, "ms"))?;
    Ok(ms.map(|ms| Duration::from_millis(ms.unsigned_abs())))
}

/// A time in epoch ms that an ISO text of four or six digits a year can hold.
pub(super) fn epoch(value: &Argument<'_>) -> Result<i64> {
    /// What JavaScript's `Date` holds.
    const LAST: i64 = 8_640_000_000_000_000;
    value.integer(-LAST..=LAST, "ms")
}

/// A number that may name a row; a fraction names none.
pub(super) fn row_id(id: &Argument<'_>) -> Result<Option<i64>> {
    let number = id.number()?;
    if number.fract() == 0.0 { id.integer(-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER, "").map(Some) } else { Ok(None) }
}

/// Any integer.
pub(super) fn whole(value: &Argument<'_>) -> Result<i64> {
    value.integer(-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER, "")
}

/// A count from 0, or `default` where it is absent.
pub(super) fn count_or(value: Argument<'_>, default: i64) -> Result<i64> {
    value.given().map_or(Ok(default), |value| count(&value))
}

/// A count from 0.
pub(super) fn count(value: &Argument<'_>) -> Result<i64> {
    value.integer(0..=MAX_SAFE_INTEGER, "")
}

/// A text, or `None` where it is `null` or absent.
pub(super) fn nullable_text(value: Argument<'_>) -> Result<Option<String>> {
    value.given().map(|value| value.text()).transpose()
}

/// Checks [`ByIdsOptions`] and the ids.
pub(super) fn by_ids(ids: &Argument<'_>, options: &Argument<'_>) -> Result<(Vec<i64>, OrderBy, i64)> {
    let ids = ids.array()?.iter().map(whole).collect::<Result<_>>()?;
    let fields = options.options(&["orderBy", "limit"])?;
    let order = fields.read("orderBy", order_by)?.unwrap_or(OrderBy::DateDesc);
    Ok((ids, order, fields.read("limit", count)?.unwrap_or(0)))
}

/// Checks [`SearchOptions`].
pub(super) fn search(options: &Argument<'_>) -> Result<filters::SearchOptions> {
    let known = ["limit", "offset", "orderBy", "project", "type", "concepts", "files", "dateRange"];
    let fields = options.options(&known)?;
    Ok(filters::SearchOptions {
        limit: fields.read("limit", whole)?,
        offset: fields.read("offset", whole)?.unwrap_or(0),
        order_by: fields.read("orderBy", order_by)?.unwrap_or_default(),
        filters: filters_in(&fields)?,
    })
}

/// The filters among the options of a search.
pub(in crate::js) fn filters_in(fields: &Fields<'_>) -> Result<Filters> {
    Ok(Filters {
        project: fields.read("project", Argument::text)?,
        kinds: fields.read("type", one_or_many)?.flatten(),
        concepts: fields.read("concepts", one_or_many)?.flatten(),
        files: fields.read("files", one_or_many)?.flatten(),
        date_range: fields.read("dateRange", date_range)?.unwrap_or_default(),
    })
}

fn order_by(value: &Argument<'_>) -> Result<OrderBy> {
    Ok(OrderBy::parse(&value.text()?))
}

/// One text or several; a single empty one is none.
pub(in crate::js) fn one_or_many(value: &Argument<'_>) -> Result<Option<Vec<String>>> {
    match value.text() {
        Ok(text) => Ok(filters::one(text)),
        Err(_) => value.one_or_many_texts().map(Some),
    }
}

fn date_range(value: &Argument<'_>) -> Result<date_range::DateRange> {
    let fields = value.options(&["start", "end"])?;
    Ok(date_range::DateRange { start: fields.read("start", bound)?, end: fields.read("end", bound)? })
}

fn bound(value: &Argument<'_>) -> Result<Bound> {
    value
        .text()
        .map(Bound::Text)
        .or_else(|_| value.number().map(Bound::Epoch))
        .map_err(|_| value.expected("epoch milliseconds or an ISO-8601 date"))
}
