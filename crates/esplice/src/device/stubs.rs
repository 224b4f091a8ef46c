//! Selects the flasher stub: our own where the chip has one, or else that of an installed esptool.
//!
//! No program is started for this. The search covers the folders where pip, pipx and packages put
//! Python modules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use esplice_chip::Chip;
use esplice_flash::{Stub, StubSource};

use crate::{cli::stub_choice::StubChoice, files::read, ui::exit::Failure};

/// Size of the largest stub file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Path of esptool's stubs of the generation in use, below a folder of modules.
const FOLDER: &str = "esptool/targets/stub_flasher/2";

/// Returns the stub to upload, resolved once the chip is known. A named file is read at once.
pub fn stub_source(choice: &StubChoice) -> Result<StubSource, Failure> {
    match choice {
        StubChoice::None => Ok(StubSource::none()),
        StubChoice::Auto => Ok(StubSource::by(|chip, revision| {
            if let Some(own) = Stub::own(chip) {
                return Ok(Some(own));
            }
            let folders = module_folders();
            Ok(folders.iter().find_map(|folder| installed(folder, chip, revision)))
        })),
        StubChoice::File(path) => {
            let shown = path.display();
            let bytes = read::read_up_to(path, LARGEST)
                .map_err(|error| Failure::input(format!("cannot read {shown}: {error}")))?;
            let stub = Stub::parse(&bytes).map_err(|error| {
                let failure = Failure::input(format!("{shown}: {error}"));
                Failure { hint: error.hint(), ..failure }
            })?;
            Ok(StubSource::only(stub))
        }
    }
}

/// Returns the stub of an esptool below `modules`; an unreadable file counts as missing.
fn installed(modules: &Path, chip: &Chip, revision: (u8, u8)) -> Option<Stub> {
    let name = chip.loader.stub_name(&chip.name, revision);
    let file = modules.join(FOLDER).join(format!("{name}.json"));
    let bytes = read::read_up_to(&file, LARGEST).ok()?;
    Stub::parse(&bytes).ok()
}

/// Returns folders of Python modules that may contain esptool, the user's own choice first.
fn module_folders() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from);
    let mut prefixes = Vec::new();
    let programs = variable("ESPLICE_ESPTOOL").map(PathBuf::from).into_iter().chain(on_path());
    for program in programs {
        // pipx and venvs leave a link in a folder of programs.
        let program = fs::canonicalize(&program).unwrap_or(program);
        prefixes.extend(program.ancestors().nth(2).map(Path::to_owned));
    }
    prefixes.extend(variable("VIRTUAL_ENV").map(PathBuf::from));
    prefixes.extend(variable("IDF_PYTHON_ENV_PATH").map(PathBuf::from));
    prefixes.extend(variable("PIPX_HOME").map(|home| Path::new(&home).join("venvs/esptool")));
    if let Some(home) = &home {
        prefixes.extend([
            home.join(".local"),
            home.join(".local/share/pipx/venvs/esptool"),
            home.join(".local/pipx/venvs/esptool"),
        ]);
        // macOS: Library/Python/3.12/lib/python/site-packages.
        prefixes.extend(versions(&home.join("Library/Python")));
        prefixes.extend(versions(&home.join(".espressif/python_env")));
    }
    prefixes.extend(variable("APPDATA").iter().flat_map(|data| {
        // Windows: Python\Python312\site-packages.
        versions(&Path::new(data).join("Python"))
    }));
    prefixes.extend(["/usr/local", "/usr", "/opt/homebrew"].map(PathBuf::from));
    let mut folders: Vec<PathBuf> = Vec::new();
    for prefix in prefixes {
        let lib = prefix.join("lib");
        let mut found = vec![prefix.join("Lib/site-packages"), prefix.join("site-packages")];
        for python in versions(&lib) {
            found.extend([python.join("site-packages"), python.join("dist-packages")]);
        }
        found.retain(|folder| !folders.contains(folder));
        folders.extend(found);
    }
    folders
}

/// Returns folders in `parent` that are named after a Python version, the newest first.
fn versions(parent: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        name.starts_with("python") || name.starts_with("3.") || name.starts_with("idf")
    });
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let digits = name.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
        digits.map(|part| part.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>()
    };
    found.sort_by_key(|path| std::cmp::Reverse(number(path)));
    found
}

/// Finds esptool as a program on PATH.
fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["esptool", "esptool.py", "esptool.exe"];
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_as_they_are_written() {
        for text in ["auto", "none", "stubs/esp32c3.json"] {
            assert_eq!(StubChoice::parse(text).unwrap().to_string(), text);
        }
        assert!(StubChoice::parse("").is_err());
    }

    /// The newest Python comes first, even after 3.9.
    #[test]
    fn versions_are_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["python3.9", "python3.11", "python2.7", "perl5", "python3"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let names: Vec<String> = versions(dir.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["python3.11", "python3.9", "python3", "python2.7"]);
    }

    #[test]
    fn an_installed_stub_is_found_by_the_chips_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        assert_eq!(installed(dir.path(), chip, (0, 4)), None);
        let file = r#"{"entry": 1077412352, "text": "AQIDBA==", "text_start": 1077412352}"#;
        fs::write(folder.join("esp32c3.json"), file).unwrap();
        let stub = installed(dir.path(), chip, (0, 4)).unwrap();
        assert_eq!(stub.text.bytes, [1, 2, 3, 4]);
        fs::write(folder.join("esp32c3.json"), "{").unwrap();
        assert_eq!(installed(dir.path(), chip, (0, 4)), None);
        let p4 = esplice_chip::ChipDb::embedded().find("esp32p4").unwrap();
        assert_eq!(p4.loader.stub_name("esp32p4", (1, 3)), "esp32p4-rev1");
        assert_eq!(p4.loader.stub_name("esp32p4", (3, 0)), "esp32p4");
    }
}
