//! How this module was packed and installed: which version it is, where it lies, and where models lie.

use std::{cell::RefCell, path::PathBuf};

use napi::Env;
use napi_derive::napi;

use crate::embedder;

/// The version of this package, such as `'0.1.0'`. The loader takes only a binary of its own version.
#[napi]
#[expect(non_upper_case_globals, reason = "napi takes the name in JavaScript from here, whatever js_name says")]
pub const version: &str = env!("CARGO_PKG_VERSION");

thread_local! {
    /// What the loader of this thread's environment has named. Each environment runs the loader anew, on the thread
    /// on which it later calls `openMemory`.
    static MODEL_PACKAGES: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// Folders in which models lie as `<name>/model.onnx`, for every later `openMemory` of this environment. For the
/// loader, which resolves packages as Node does, also where the binary runs from a copy elsewhere.
#[napi(js_name = "lookForModelsIn", skip_typescript, catch_unwind)]
pub fn look_for_models_in(folders: Vec<String>) {
    MODEL_PACKAGES.replace(folders.into_iter().map(PathBuf::from).collect());
}

/// Where models may be installed: beside the module (nowhere where the runtime does not tell where that lies), then
/// the folders that the loader has named.
pub fn models(env: &Env) -> Vec<PathBuf> {
    let beside = env.get_module_file_name().ok().and_then(|url| embedder::packaged_models(&url));
    beside.into_iter().chain(MODEL_PACKAGES.with_borrow(Vec::clone)).collect()
}
