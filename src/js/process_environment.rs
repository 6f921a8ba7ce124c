//! Variables of `process.env`. What a program sets there must count although the process's own environment does not
//! learn of it: on Bun, where a `.env` file ends up there too, and in a `worker_threads` thread, which has a copy.

use std::{ffi::OsString, path::PathBuf};

use napi::{
    Env,
    bindgen_prelude::{FromNapiValue, Unknown},
};

use super::{arguments::Argument, call::checked, values::Scope};
use crate::error::Result;

const READ: &str = "({ dataDir: process.env.CLAUDE_MEM_DATA_DIR, modelDir: process.env.CLAUDE_MEM_MODEL_DIR })";

/// The folders that the environment names.
pub struct Named {
    /// `CLAUDE_MEM_DATA_DIR`.
    pub data_dir: Option<PathBuf>,
    /// `CLAUDE_MEM_MODEL_DIR`.
    pub model_dir: Option<PathBuf>,
}

/// Asks the runtime.
pub fn named_folders(env: &Env) -> Result<Named> {
    // SAFETY: `env` is alive on this thread, and the call that we serve has a handle scope.
    let scope = unsafe { Scope::new(env.raw()) };
    let value = scope.run_script(READ)?;
    // SAFETY: the handle was made in the scope of this call.
    let value: Unknown<'_> = checked(unsafe { Unknown::from_napi_value(env.raw(), value) })?;
    let told = Argument::new("process.env", &value).object()?;
    let folder = |name: &str, variable: &str| -> Result<Option<PathBuf>> {
        let text = told.read(name, |value| value.text())?.filter(|text| !text.is_empty());
        Ok(text.map(|text| PathBuf::from(whole(std::env::var_os(variable), text))))
    };
    Ok(Named {
        data_dir: folder("dataDir", "CLAUDE_MEM_DATA_DIR")?,
        model_dir: folder("modelDir", "CLAUDE_MEM_MODEL_DIR")?,
    })
}

/// JavaScript shows a name that is no UTF-8 with replacement characters; the process knows it in full.
fn whole(own: Option<OsString>, text: String) -> OsString {
    own.filter(|own| own.to_string_lossy() == text).unwrap_or_else(|| text.into())
}
