//! claude-mem's tables at 6.0.2, as data, and the SQL that makes them.

/// A column of one of claude-mem's tables.
#[derive(Debug)]
pub struct Column {
    /// In lower case.
    pub name: &'static str,
    /// Type and constraints.
    pub declared: &'static str,
    /// The step of the ledger that brings it; a table's first step for those that it starts with.
    pub since: i64,
}

/// One of claude-mem's tables.
#[derive(Debug)]
pub struct Table {
    /// In lower case.
    pub name: &'static str,
    /// The step of the ledger that brings it.
    pub since: i64,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// The foreign key, where it has one.
    pub foreign_key: Option<&'static str>,
    /// Names, and what stands in the parentheses.
    pub indexes: &'static [(&'static str, &'static str)],
    /// The columns of its full-text table, where it has one.
    pub searchable: &'static [&'static str],
}

const fn column(name: &'static str, declared: &'static str) -> Column {
    added(4, name, declared)
}

const fn added(since: i64, name: &'static str, declared: &'static str) -> Column {
    Column { name, declared, since }
}

const KEY: &str = "INTEGER PRIMARY KEY AUTOINCREMENT";
const OF_SDK_SESSION: Option<&str> =
    Some("FOREIGN KEY(sdk_session_id) REFERENCES sdk_sessions(sdk_session_id) ON DELETE CASCADE");

/// The ledger of steps.
pub static SCHEMA_VERSIONS: Table = Table {
    name: "schema_versions",
    since: 4,
    columns: &[
        column("id", "INTEGER PRIMARY KEY"),
        column("version", "INTEGER UNIQUE NOT NULL"),
        column("applied_at", "TEXT NOT NULL"),
    ],
    foreign_key: None,
    indexes: &[],
    searchable: &[],
};

/// One row a session of the editor.
pub static SDK_SESSIONS: Table = Table {
    name: "sdk_sessions",
    since: 4,
    columns: &[
        column("id", KEY),
        column("claude_session_id", "TEXT UNIQUE NOT NULL"),
        column("sdk_session_id", "TEXT UNIQUE"),
        column("project", "TEXT NOT NULL"),
        column("user_prompt", "TEXT"),
        column("started_at", "TEXT NOT NULL"),
        column("started_at_epoch", "INTEGER NOT NULL"),
        column("completed_at", "TEXT"),
        column("completed_at_epoch", "INTEGER"),
        column("status", "TEXT CHECK(status IN ('active', 'completed', 'failed')) NOT NULL DEFAULT 'active'"),
        added(5, "worker_port", "INTEGER"),
        added(6, "prompt_counter", "INTEGER DEFAULT 0"),
    ],
    foreign_key: None,
    indexes: &[
        ("idx_sdk_sessions_claude_id", "claude_session_id"),
        ("idx_sdk_sessions_sdk_id", "sdk_session_id"),
        ("idx_sdk_sessions_project", "project"),
        ("idx_sdk_sessions_status", "status"),
        ("idx_sdk_sessions_started", "started_at_epoch DESC"),
    ],
    searchable: &[],
};

/// One row a session summary.
pub static SESSION_SUMMARIES: Table = Table {
    name: "session_summaries",
    since: 4,
    columns: &[
        column("id", KEY),
        column("sdk_session_id", "TEXT NOT NULL"),
        column("project", "TEXT NOT NULL"),
        column("request", "TEXT"),
        column("investigated", "TEXT"),
        column("learned", "TEXT"),
        column("completed", "TEXT"),
        column("next_steps", "TEXT"),
        column("files_read", "TEXT"),
        column("files_edited", "TEXT"),
        column("notes", "TEXT"),
        added(6, "prompt_number", "INTEGER"),
        column("created_at", "TEXT NOT NULL"),
        column("created_at_epoch", "INTEGER NOT NULL"),
    ],
    foreign_key: OF_SDK_SESSION,
    indexes: &[
        ("idx_session_summaries_sdk_session", "sdk_session_id"),
        ("idx_session_summaries_project", "project"),
        ("idx_session_summaries_created", "created_at_epoch DESC"),
    ],
    searchable: &["request", "investigated", "learned", "completed", "next_steps", "notes"],
};

/// One row an observation.
pub static OBSERVATIONS: Table = Table {
    name: "observations",
    since: 4,
    columns: &[
        column("id", KEY),
        column("sdk_session_id", "TEXT NOT NULL"),
        column("project", "TEXT NOT NULL"),
        column("text", "TEXT"),
        column(
            "type",
            "TEXT NOT NULL CHECK(type IN ('decision', 'bugfix', 'feature', 'refactor', 'discovery', 'change'))",
        ),
        added(8, "title", "TEXT"),
        added(8, "subtitle", "TEXT"),
        added(8, "facts", "TEXT"),
        added(8, "narrative", "TEXT"),
        added(8, "concepts", "TEXT"),
        added(8, "files_read", "TEXT"),
        added(8, "files_modified", "TEXT"),
        added(6, "prompt_number", "INTEGER"),
        column("created_at", "TEXT NOT NULL"),
        column("created_at_epoch", "INTEGER NOT NULL"),
    ],
    foreign_key: OF_SDK_SESSION,
    indexes: &[
        ("idx_observations_sdk_session", "sdk_session_id"),
        ("idx_observations_project", "project"),
        ("idx_observations_type", "type"),
        ("idx_observations_created", "created_at_epoch DESC"),
    ],
    searchable: &["title", "subtitle", "narrative", "text", "facts", "concepts"],
};

/// One row a prompt of the user.
pub static USER_PROMPTS: Table = Table {
    name: "user_prompts",
    since: 10,
    columns: &[
        added(10, "id", KEY),
        added(10, "claude_session_id", "TEXT NOT NULL"),
        added(10, "prompt_number", "INTEGER NOT NULL"),
        added(10, "prompt_text", "TEXT NOT NULL"),
        added(10, "created_at", "TEXT NOT NULL"),
        added(10, "created_at_epoch", "INTEGER NOT NULL"),
    ],
    foreign_key: Some("FOREIGN KEY(claude_session_id) REFERENCES sdk_sessions(claude_session_id) ON DELETE CASCADE"),
    indexes: &[
        ("idx_user_prompts_claude_session", "claude_session_id"),
        ("idx_user_prompts_created", "created_at_epoch DESC"),
        ("idx_user_prompts_prompt_number", "prompt_number"),
    ],
    searchable: &["prompt_text"],
};

/// All of them, parents first.
pub static TABLES: [&Table; 5] = [&SCHEMA_VERSIONS, &SDK_SESSIONS, &SESSION_SUMMARIES, &OBSERVATIONS, &USER_PROMPTS];

impl Table {
    /// The statement that creates the table under `name`, with columns of `further` after its own.
    pub fn create_as(&self, name: &str, further: &[String]) -> String {
        let columns = self.columns.iter().map(|column| format!("{} {}", column.name, column.declared));
        let parts: Vec<_> = columns.chain(further.iter().cloned()).chain(self.foreign_key.map(str::to_owned)).collect();
        format!("CREATE TABLE {name} ({})", parts.join(", "))
    }

    /// The statement that creates one of the table's indexes.
    pub fn create_index(&self, (index, on): (&str, &str)) -> String {
        format!("CREATE INDEX {index} ON {}({on})", self.name)
    }

    /// The name of its full-text table.
    pub fn full_text(&self) -> String {
        format!("{}_fts", self.name)
    }

    /// The statement that creates the full-text table over the rows of this one.
    pub fn create_full_text(&self) -> String {
        format!(
            "CREATE VIRTUAL TABLE {} USING fts5({}, content='{}', content_rowid='id')",
            self.full_text(),
            self.searchable.join(", "),
            self.name
        )
    }

    /// Names of the triggers that keep the full-text table, with the statements that create them.
    pub fn triggers(&self) -> [(String, String); 3] {
        let (table, index, columns) = (self.name, self.full_text(), self.searchable.join(", "));
        let of =
            |row: &str| self.searchable.iter().map(|column| format!("{row}.{column}")).collect::<Vec<_>>().join(", ");
        let enter = format!("INSERT INTO {index}(rowid, {columns}) VALUES (new.id, {});", of("new"));
        // An external-content table learns what to forget from the old values.
        let leave = format!("INSERT INTO {index}({index}, rowid, {columns}) VALUES ('delete', old.id, {});", of("old"));
        [("ai", "INSERT", enter.clone()), ("ad", "DELETE", leave.clone()), ("au", "UPDATE", format!("{leave} {enter}"))]
            .map(|(suffix, event, body)| {
                let name = format!("{table}_{suffix}");
                let sql = format!("CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {body} END");
                (name, sql)
            })
    }
}
