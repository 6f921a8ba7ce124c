//! The files: opening them, their schema, and the threads that own their connections.

pub mod activity;
pub mod connection;
pub mod layout;
pub mod owner;
pub mod reader;
pub mod rows;
pub mod schema;
pub mod writer;

pub use reader::Readers;
pub use rows::{Cell, Rows};
pub use writer::{Durability, Write, Writer};
