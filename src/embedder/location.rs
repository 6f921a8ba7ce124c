//! Where a model file is looked for.

use std::{
    env,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::DEFAULT_MODEL;
use crate::settings;

/// What the file is called in every folder.
pub const FILE_NAME: &str = "model.onnx";
/// A folder to look in instead of the usual ones.
pub const FOLDER_VARIABLE: &str = "CLAUDE_MEM_MODEL_DIR";

/// The places where a model can lie, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    files: Vec<PathBuf>,
}

/// A file as it was when it was looked at.
pub type Stamp = Option<(u64, Option<SystemTime>)>;

impl Places {
    /// The folder that was named, by the option or else by `CLAUDE_MEM_MODEL_DIR`, and then only that one; else the
    /// data directory, the folder beside the module, installed packages of models, and for the default model Chroma's
    /// cache.
    pub fn of(settings: &settings::Model, data_dir: &Path) -> Self {
        let named = settings.directory.clone();
        let named = named.or_else(|| env::var_os(FOLDER_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
        let files = match named {
            Some(folder) => vec![folder.join(FILE_NAME)],
            None => {
                let kept = |models: PathBuf| models.join(&settings.name).join(FILE_NAME);
                let mut files = vec![kept(data_dir.join("models"))];
                files.extend(settings.packaged.iter().cloned().map(kept));
                if settings.name == DEFAULT_MODEL {
                    files.extend(chroma_cache());
                }
                files
            }
        };
        Self { files }
    }

    /// The files that are there, first choice first.
    pub fn present(&self) -> Vec<PathBuf> {
        self.files.iter().filter(|file| file.is_file()).cloned().collect()
    }

    /// All places, also those where nothing lies.
    pub fn all(&self) -> &[PathBuf] {
        &self.files
    }

    /// What lies in each place now: while it stays the same, loading would end as it did.
    pub fn stamps(&self) -> Vec<Stamp> {
        let stamp = |file: &PathBuf| {
            let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((metadata.len(), metadata.modified().ok()))
        };
        self.files.iter().map(stamp).collect()
    }
}

/// The folder of models beside a module that was loaded from the file of this URL.
#[must_use]
pub fn packaged_models(url: &str) -> Option<PathBuf> {
    let encoded = url.strip_prefix("file://")?.as_bytes();
    let mut path = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while at < encoded.len() {
        let hex = encoded.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| encoded[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                path.push(byte);
                at += 3;
            }
            None => {
                path.push(encoded[at]);
                at += 1;
            }
        }
    }
    let path = String::from_utf8(path).ok()?;
    // On Windows the path begins with a drive, `/C:/…`, or the URL has a host.
    let path = if cfg!(windows) { path.strip_prefix('/').unwrap_or(&path) } else { &path };
    Path::new(path).parent().filter(|folder| folder.is_absolute()).map(|folder| folder.join("models"))
}

fn chroma_cache() -> Option<PathBuf> {
    let home = env::home_dir().filter(|home| !home.as_os_str().is_empty())?;
    Some(home.join(".cache/chroma/onnx_models").join(DEFAULT_MODEL).join("onnx").join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_default_model_is_looked_for_in_chromas_cache_too() {
        let mut settings = Settings::new("").model;
        settings.packaged = vec!["package/models".into(), "model-package".into()];
        let places = Places::of(&settings, Path::new("data"));
        let Some(home) = env::home_dir() else { return };
        if env::var_os(FOLDER_VARIABLE).is_none() {
            assert_eq!(
                places.all(),
                [
                    Path::new("data/models/all-MiniLM-L6-v2/model.onnx").to_owned(),
                    Path::new("package/models/all-MiniLM-L6-v2/model.onnx").to_owned(),
                    Path::new("model-package/all-MiniLM-L6-v2/model.onnx").to_owned(),
                    home.join(".cache/chroma/onnx_models/all-MiniLM-L6-v2/onnx/model.onnx"),
                ]
            );
            settings.name = "another".to_owned();
            assert_eq!(Places::of(&settings, Path::new("data")).all().len(), 3);
        }
        settings.directory = Some("named".into());
        assert_eq!(Places::of(&settings, Path::new("data")).all(), [Path::new("named/model.onnx")]);
    }

    #[test]
    fn models_lie_beside_the_module() {
        if cfg!(unix) {
            let models = |url| packaged_models(url);
            assert_eq!(models("file:///a/b%20c/%C3%BC/x.node"), Some("/a/b c/ü/models".into()));
            assert_eq!(models("file:///x%zz%2/y"), Some("/x%zz%2/models".into()));
            for none in ["", "x.node", "https://host/x.node", "file://x.node", "file:///%ff/x.node"] {
                assert_eq!(models(none), None, "{none}");
            }
        }
    }

    #[test]
    fn a_directory_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new("").model;
        settings.directory = Some(folder.path().to_owned());
        let places = Places::of(&settings, Path::new(""));
        std::fs::create_dir(folder.path().join(FILE_NAME)).unwrap();
        assert_eq!((places.present(), places.stamps()), (vec![], vec![None]));
        std::fs::remove_dir(folder.path().join(FILE_NAME)).unwrap();
        std::fs::write(folder.path().join(FILE_NAME), "x").unwrap();
        assert_eq!(places.present().len(), 1);
        assert_eq!(places.stamps()[0].map(|(bytes, _)| bytes), Some(1));
    }
}
