//! The storage engine of claude-mem's worker.
//!
//! One native module owns everything heavy: the SQLite file that the plugin's hooks share, the message
//! queues and the session registry. JavaScript keeps only what it is handling right now, and the only thing
//! that ever crosses back is a settled promise.
//!
//! Layers, each importing only what stands below it: [`js`] (the N-API surface), [`deletion`], [`portable`] and
//! [`integrity`] (work on a whole memory: deleting for good, export and import, check and repair), [`memory`] (opens, wires
//! and closes the parts; [`client`] those of a client), [`backup`] (the files as a whole), [`queue`] and [`sessions`], [`index`] (so far what reads
//! the vectors of a Chroma directory), [`store`] (one file a table), [`db`] (connections, schema, writer and reader
//! threads), and at the bottom [`settings`], [`parts`], [`error`], [`reply`], [`job`], [`clock`] and [`fault`].

pub mod backup;
pub mod client;
pub mod clock;
pub mod db;
pub mod deletion;
pub mod error;
pub mod fault;
pub mod health;
pub mod index;
pub mod integrity;
pub mod job;
pub mod js;
pub mod memory;
pub mod parts;
pub mod portable;
pub mod queue;
pub mod reply;
pub mod sessions;
pub mod settings;
pub mod store;
