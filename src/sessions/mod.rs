//! The active-session registry with its TTL and cap: plain data, no threads. The queue holds it under its
//! lock, refreshes it on enqueue, claim and commit, and ends the consumer of a session that goes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{clock, store::opening::SessionRow};

/// What is known of an active session without asking a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// `sdk_sessions.claude_session_id`.
    pub claude_session_id: Box<str>,
    /// `sdk_sessions.sdk_session_id`, as it was when the session became active.
    pub sdk_session_id: Option<Box<str>>,
    /// `sdk_sessions.project`, likewise.
    pub project: Box<str>,
    /// The newest prompt number that was seen.
    pub last_prompt_number: Option<i64>,
    /// When the session became active, epoch ms.
    pub start_epoch: i64,
    /// Last enqueue, claim or commit, epoch ms.
    pub last_active_epoch: i64,
    /// Deleted with mode `drain`: it goes once its queue is empty.
    pub draining: bool,
}

/// A session as `initialize` answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSnapshot {
    /// What the registry keeps.
    pub info: SessionInfo,
    /// The prompt that was given, else the newest stored one.
    pub user_prompt: Option<String>,
}

struct Active {
    info: SessionInfo,
    last_active: Instant,
}

/// The sessions that are active now.
pub struct Registry {
    active: HashMap<i64, Active>,
    ttl: Duration,
    cap: usize,
}

impl Registry {
    /// A registry of at most `cap` sessions, each for `ttl` after its last activity.
    #[must_use]
    pub fn new(ttl: Duration, cap: usize) -> Self {
        Self { active: HashMap::new(), ttl, cap: cap.max(1) }
    }

    /// Makes a session active or refreshes it. Answers the one idle longest where the cap sends it away.
    pub fn activate(&mut self, id: i64, row: &SessionRow, prompt_number: Option<i64>) -> Option<i64> {
        let (now, epoch) = (Instant::now(), clock::now_epoch());
        if let Some(active) = self.active.get_mut(&id) {
            active.last_active = now;
            active.info.last_active_epoch = epoch;
            active.info.claude_session_id.clone_from(&row.claude_session_id);
            active.info.sdk_session_id.clone_from(&row.sdk_session_id);
            active.info.project.clone_from(&row.project);
            active.info.last_prompt_number = prompt_number.or(active.info.last_prompt_number);
            return None;
        }
        let evicted = (self.active.len() >= self.cap)
            .then(|| self.active.iter().min_by_key(|(_, active)| active.last_active).map(|(id, _)| *id))
            .flatten();
        if let Some(evicted) = evicted {
            self.active.remove(&evicted);
        }
        let info = SessionInfo {
            session_db_id: id,
            claude_session_id: row.claude_session_id.clone(),
            sdk_session_id: row.sdk_session_id.clone(),
            project: row.project.clone(),
            last_prompt_number: prompt_number,
            start_epoch: epoch,
            last_active_epoch: epoch,
            draining: false,
        };
        self.active.insert(id, Active { info, last_active: now });
        evicted
    }

    /// Refreshes a session that is active.
    pub fn touch(&mut self, id: i64) {
        if let Some(active) = self.active.get_mut(&id) {
            active.last_active = Instant::now();
            active.info.last_active_epoch = clock::now_epoch();
        }
    }

    /// When a session expires unless something happens.
    #[must_use]
    pub fn expires(&self, id: i64) -> Option<Instant> {
        self.active.get(&id).map(|active| active.last_active + self.ttl)
    }

    /// Marks a session as going once its queue is empty.
    pub fn set_draining(&mut self, id: i64, draining: bool) {
        if let Some(active) = self.active.get_mut(&id) {
            active.info.draining = draining;
        }
    }

    /// Forgets a session; whether it was active.
    pub fn remove(&mut self, id: i64) -> bool {
        self.active.remove(&id).is_some()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.active.clear();
    }

    /// One active session.
    #[must_use]
    pub fn get(&self, id: i64) -> Option<&SessionInfo> {
        self.active.get(&id).map(|active| &active.info)
    }

    /// All active sessions, the longest active first.
    #[must_use]
    pub fn list(&self) -> Vec<SessionInfo> {
        let mut list: Vec<SessionInfo> = self.active.values().map(|active| active.info.clone()).collect();
        list.sort_by_key(|info| (info.start_epoch, info.session_db_id));
        list
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.active.len()
    }

    /// Whether none is active.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> SessionRow {
        SessionRow { claude_session_id: name.into(), sdk_session_id: None, project: "p".into() }
    }

    #[test]
    fn at_the_cap_the_one_idle_longest_goes() {
        let mut registry = Registry::new(Duration::from_secs(60), 2);
        assert_eq!(registry.activate(1, &row("a"), Some(1)), None);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(registry.activate(2, &row("b"), None), None);
        std::thread::sleep(Duration::from_millis(2));
        registry.touch(1);
        assert_eq!(registry.activate(3, &row("c"), None), Some(2));
        assert_eq!(registry.list().iter().map(|info| info.session_db_id).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_second_activation_keeps_the_start_and_the_prompt_number() {
        let mut registry = Registry::new(Duration::from_secs(60), 2);
        registry.activate(1, &row("a"), Some(4));
        let start = registry.get(1).unwrap().start_epoch;
        registry.activate(1, &row("a"), None);
        let info = registry.get(1).unwrap();
        assert_eq!((info.start_epoch, info.last_prompt_number), (start, Some(4)));
        assert!(registry.expires(1).unwrap() > Instant::now());
        assert!(registry.remove(1) && !registry.remove(1) && registry.expires(1).is_none());
    }
}
