//! What a PATH is, told by its content.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use esplice_image::Content;

use crate::{
    args::SourceArgs,
    exit::{Exit, Failure},
};

/// What the user gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// The directory of a cargo project.
    Project(PathBuf),
    Elf {
        path: PathBuf,
        bytes: Arc<Vec<u8>>,
    },
    Image {
        path: PathBuf,
        bytes: Vec<u8>,
    },
}

impl Source {
    /// Reads what the arguments name.
    pub fn from_args(args: &SourceArgs) -> Result<Source, Failure> {
        if let Some(path) = &args.elf {
            return match Source::read(path)? {
                elf @ Source::Elf { .. } => Ok(elf),
                Source::Image { .. } => {
                    Err(Failure::input(format!("{} is not an ELF, but an image", path.display())))
                }
                Source::Project(_) => {
                    Err(Failure::input(format!("{} is a directory, no ELF", path.display())))
                }
            };
        }
        if let Some(path) = &args.main {
            return match Source::read(path)? {
                project @ Source::Project(_) => Ok(project),
                _ => Err(Failure::input(format!("{} is no source", path.display()))
                    .hint("--main names the directory of a cargo project")),
            };
        }
        Source::read(args.path.as_deref().unwrap_or(Path::new(".")))
    }

    /// Reads what is at `path` and tells it by its content.
    pub fn read(path: &Path) -> Result<Source, Failure> {
        let shown = path.display();
        if path.is_dir() {
            if path.join("Cargo.toml").is_file() {
                return Ok(Source::Project(path.to_owned()));
            }
            if is_go(path) {
                return Err(go(path));
            }
            return Err(Failure::input(format!("{shown} has no Cargo.toml"))
                .hint("give the directory of a cargo project, an ELF or an image"));
        }
        if path.file_name().is_some_and(|name| name == "Cargo.toml") && path.is_file() {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            return Ok(Source::Project(directory.unwrap_or(Path::new(".")).to_owned()));
        }
        if path.extension().is_some_and(|extension| extension == "go") {
            return Err(go(path));
        }
        let bytes = read(path)?;
        let path = path.to_owned();
        match Content::of(&bytes) {
            Content::Elf => Ok(Source::Elf { path, bytes: Arc::new(bytes) }),
            Content::Image => Ok(Source::Image { path, bytes }),
            content => {
                let message = format!("{shown} is neither an ELF nor an image, but {content}");
                Err(Failure::input(message))
            }
        }
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Source::Project(_) => None,
            Source::Elf { path, .. } | Source::Image { path, .. } => Some(path),
        }
    }

    /// The directory whose `esplice.toml` is asked.
    pub fn directory(args: &SourceArgs) -> PathBuf {
        let path = args.main.as_deref().or(args.path.as_deref());
        match path {
            Some(path) if path.is_dir() => path.to_owned(),
            // What is compiled already may lie anywhere; the user stands in the project.
            _ => PathBuf::from("."),
        }
    }
}

/// The whole file at `path`.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::input(format!("cannot read {}: {e}", path.display())))
}

fn is_go(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|entries| {
        entries.flatten().any(|e| e.path().extension().is_some_and(|extension| extension == "go"))
    })
}

fn go(path: &Path) -> Failure {
    Failure::new(Exit::Usage, format!("{} is Go, which is not built yet", path.display()))
        .hint("build it with TinyGo and give the ELF with --elf")
}
