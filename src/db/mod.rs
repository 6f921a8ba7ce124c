//! The files: opening them, their schema, and the threads that own their connections.

pub mod activity;
pub mod budget;
pub mod command;
pub mod connection;
pub mod durable;
pub mod format;
pub mod holding;
pub mod in_process;
pub mod job_line;
pub mod layout;
pub mod lookout;
pub mod owner;
pub mod reader;
pub mod rows;
pub mod schema;
pub mod source;
pub mod stepwise;
mod wal_file;
pub mod writer;

pub use budget::Budget;
pub use command::{Call, Durability, Follow, Write};
pub use connection::Database;
pub use format::Format;
pub use holding::Holding;
pub use reader::Readers;
pub use rows::{Cell, Columns, Rows};
pub use source::{Opened, Source};
pub use stepwise::Steps;
pub use writer::Writer;
