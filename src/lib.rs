//! The storage engine of claude-mem's worker.
//!
//! One native module owns everything heavy: the SQLite file that the plugin's hooks share, the message
//! queues and the session registry. JavaScript keeps only what it is handling right now, and the only thing
//! that ever crosses back is a settled promise.
//!
//! Layers, each importing only what stands below it: [`js`] (the N-API surface), [`deletion`], [`portable`],
//! [`integrity`] and [`compact`] (work on a whole memory: deleting for good, export and import, check and repair, giving
//! space back), [`memory`] (opens, wires
//! and closes the parts; [`client`] those of a client), [`backup`] (the files as a whole), [`search`] (words and meaning in
//! one ranking), [`queue`] and [`sessions`], [`index`] (documents, vectors and text indexes), [`embedder`] (text in, vectors
//! out), [`store`] (one file a table), [`db`] (connections, schema, writer and reader threads), and at the bottom
//! [`settings`], [`parts`], [`error`], [`reply`], [`json_text`], [`job`], [`clock`], [`eagerness`],
//! [`allocator`] and [`fault`].

pub mod allocator;
pub mod backup;
pub mod client;
pub mod clock;
pub mod compact;
pub mod db;
pub mod deletion;
pub mod eagerness;
pub mod embedder;
pub mod error;
pub mod fault;
pub mod health;
pub mod index;
pub mod integrity;
pub mod job;
pub mod js;
pub mod json_text;
pub mod memory;
pub mod parts;
pub mod portable;
pub mod queue;
pub mod reply;
pub mod search;
pub mod sessions;
pub mod settings;
pub mod store;
