//! The one owner of a data directory: an OS file lock that ends with its holder, however it died.
