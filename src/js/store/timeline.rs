//! What happened around an observation or a moment.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{Store, options};
use crate::{
    error::Result,
    js::{answer::object_answer, arguments::Argument, call::Promised},
    store::timeline::{self, Anchor, Timeline, Window},
};

object_answer!(Timeline { observations: "observations", sessions: "sessions", prompts: "prompts" });

#[napi]
impl Store {
    /// The rows of the time from the observation `depthBefore` places before the anchor to the one `depthAfter`
    /// places after it, by id; each kind oldest first. `anchorEpoch` (ms) stands in for a side without any. With
    /// `anchorId` null as `getTimelineAroundTimestamp`. Both depths are 10 where they are absent.
    #[napi(
        ts_args_type = "anchorId: number | null, anchorEpoch: number, depthBefore?: number, depthAfter?: number, project?: string | null",
        ts_return_type = "Promise<Timeline>",
        catch_unwind
    )]
    pub fn get_timeline_around_observation<'e>(
        &self,
        env: &'e Env,
        anchor_id: Unknown<'e>,
        anchor_epoch: Unknown<'e>,
        depth_before: Unknown<'e>,
        depth_after: Unknown<'e>,
        project: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getTimelineAroundObservation", || {
            let id = Argument::new("anchorId", &anchor_id).given().as_ref().map(options::whole).transpose()?;
            let epoch = options::whole(&Argument::new("anchorEpoch", &anchor_epoch))?;
            let anchor = id.map_or(Anchor::Timestamp(epoch), |id| Anchor::Observation { id, epoch });
            let window = window(&depth_before, &depth_after, &project)?;
            Ok(move |db: &_| timeline::around(db, anchor, &window))
        })
    }

    /// The rows of the time from the `depthBefore`-th observation at or before a moment (epoch ms) to the one
    /// `depthAfter` places after the first at or after it; each kind oldest first. Both depths are 10 where they are
    /// absent.
    #[napi(
        ts_args_type = "anchorEpoch: number, depthBefore?: number, depthAfter?: number, project?: string | null",
        ts_return_type = "Promise<Timeline>",
        catch_unwind
    )]
    pub fn get_timeline_around_timestamp<'e>(
        &self,
        env: &'e Env,
        anchor_epoch: Unknown<'e>,
        depth_before: Unknown<'e>,
        depth_after: Unknown<'e>,
        project: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getTimelineAroundTimestamp", || {
            let anchor = Anchor::Timestamp(options::whole(&Argument::new("anchorEpoch", &anchor_epoch))?);
            let window = window(&depth_before, &depth_after, &project)?;
            Ok(move |db: &_| timeline::around(db, anchor, &window))
        })
    }
}

fn window(before: &Unknown<'_>, after: &Unknown<'_>, project: &Unknown<'_>) -> Result<Window> {
    let default = Window::default();
    Ok(Window {
        before: options::count_or(Argument::new("depthBefore", before), default.before)?,
        after: options::count_or(Argument::new("depthAfter", after), default.after)?,
        project: options::nullable_text(Argument::new("project", project))?,
    })
}
