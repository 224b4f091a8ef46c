//! Determines the kind of a PATH by its content.

use std::path::{Path, PathBuf};

use esplice_image::Content;

use crate::{
    cli::args::SourceArgs,
    files::{
        elf_file::{Elf, Wanted},
        missing,
        read::read_hashed,
    },
    ui::exit::Failure,
};

/// The input that the user named.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A cargo project.
    Project {
        /// Directory of the project.
        directory: PathBuf,
        /// The main file of the selected binary or example.
        main: Option<PathBuf>,
    },
    /// The directory of a Go package, or a `.go` file.
    Go(PathBuf),
    Elf {
        path: PathBuf,
        elf: Elf,
    },
    Image {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    /// An Intel HEX or UF2 file, which contains its own offsets.
    Places {
        path: PathBuf,
        content: Content,
        bytes: Vec<u8>,
    },
}

impl Source {
    /// Reads the source that the arguments name; `wanted` selects the parts of an ELF.
    pub fn from_args(args: &SourceArgs, wanted: Wanted) -> Result<Source, Failure> {
        if let Some(path) = &args.elf {
            return match Source::read(path, wanted)? {
                elf @ Source::Elf { .. } => Ok(elf),
                Source::Image { .. } => {
                    Err(Failure::input(format!("{} is not an ELF, but an image", path.display())))
                }
                Source::Places { content, .. } => {
                    Err(Failure::input(format!("{} is not an ELF, but {content}", path.display())))
                }
                Source::Project { .. } | Source::Go(_) => {
                    Err(Failure::input(format!("{} is source, not an ELF", path.display())))
                }
            };
        }
        if let Some(path) = &args.main {
            return match Source::read(path, wanted)? {
                source @ (Source::Project { .. } | Source::Go(_)) => Ok(source),
                _ => Err(Failure::input(format!("{} is not source", path.display())).hint(
                    "--main names the directory of a cargo project or a Go package, a .go file, or \
                     the main file of a cargo binary",
                )),
            };
        }
        Source::read(args.path.as_deref().unwrap_or(Path::new(".")), wanted)
    }

    /// Reads the file or directory at `path` and determines its kind by its content.
    pub fn read(path: &Path, wanted: Wanted) -> Result<Source, Failure> {
        let shown = path.display();
        if path.is_dir() {
            return Source::of_directory(path).ok_or_else(|| missing::empty_directory(path));
        }
        let project = |directory: PathBuf, main| Source::Project { directory, main };
        if path.file_name().is_some_and(|name| name == "Cargo.toml") && path.is_file() {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            return Ok(project(directory.unwrap_or(Path::new(".")).to_owned(), None));
        }
        if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
            let directory = path.parent().unwrap_or(Path::new(""));
            let directory = cargo_above(directory).ok_or_else(|| {
                Failure::input(format!("no directory above {shown} has a Cargo.toml"))
                    .hint("give the file of a binary or an example in a cargo project")
            })?;
            return Ok(project(directory, Some(path.to_owned())));
        }
        if is_go(path) && path.is_file() {
            return Ok(Source::Go(path.to_owned()));
        }
        let (bytes, sha256) = read_hashed(path, wanted)?;
        let path = path.to_owned();
        match Content::of(&bytes) {
            Content::Elf => {
                let elf = Elf::new(bytes, sha256).at(&path);
                Ok(Source::Elf { path, elf })
            }
            Content::Image | Content::DirectImage => Ok(Source::Image { path, bytes }),
            content @ (Content::IntelHex | Content::Uf2) => {
                Ok(Source::Places { path, content, bytes })
            }
            content => {
                let message = format!("{shown} is neither an ELF nor an image, but {content}");
                Err(Failure::input(message))
            }
        }
    }

    /// Returns the source in a directory. For the current directory, the cargo project may be in a
    /// parent, as for cargo.
    pub fn of_directory(path: &Path) -> Option<Source> {
        let project = |directory| Source::Project { directory, main: None };
        if path.join("Cargo.toml").is_file() {
            return Some(project(path.to_owned()));
        }
        if has_go(path) {
            return Some(Source::Go(path.to_owned()));
        }
        let is_here = path.as_os_str().is_empty() || path == Path::new(".");
        is_here.then(|| cargo_above(path)).flatten().map(project)
    }

    /// Returns the path, if the source is a file.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Source::Project { .. } | Source::Go(_) => None,
            Source::Elf { path, .. } | Source::Image { path, .. } | Source::Places { path, .. } => {
                Some(path)
            }
        }
    }
}

/// Returns the nearest directory with a `Cargo.toml`, starting at `directory` and going up.
fn cargo_above(directory: &Path) -> Option<PathBuf> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if directory.join("Cargo.toml").is_file() {
        return Some(directory.to_owned());
    }
    let absolute = directory.canonicalize().ok()?;
    let above = absolute.ancestors().skip(1).find(|above| above.join("Cargo.toml").is_file())?;
    Some(above.to_owned())
}

fn has_go(directory: &Path) -> bool {
    std::fs::read_dir(directory)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_go(&entry.path())))
}

fn is_go(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "go")
}
