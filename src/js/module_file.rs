//! Where this module was loaded from.

use std::path::PathBuf;

use napi::Env;

use crate::embedder;

/// The folder of models beside the module; none where the runtime does not tell where that lies.
pub fn packaged_models(env: &Env) -> Option<PathBuf> {
    embedder::packaged_models(&env.get_module_file_name().ok()?)
}
