//! Jobs from build folders of ESP-IDF: what its own plan lists, written where it says.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use esplice_chip::{Chip, FlashOffset};
use esplice_image::{IdfDescription, IdfPlan, ImageHeader, Write, WriteKind};

use crate::{
    config::{paths::inside_root, project::Project},
    device::load::{Job, Load, check_target},
    files::read,
    firmware::{firmware_elf::FirmwareElf, header::HeaderArgs},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

/// Name of the plan in a build folder.
const PLAN: &str = "flasher_args.json";
/// Size of the largest plan that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// An ESP-IDF project, or a folder in which one was built.
#[derive(Debug, PartialEq, Eq)]
pub enum IdfSource {
    /// A folder with the results of a build.
    Built(PathBuf),
    /// A project, built into its folder `build`.
    Project(PathBuf),
}

impl IdfSource {
    /// Returns the project or build folder at `path`, unless another kind of source is there.
    pub fn find(path: &Path) -> Option<IdfSource> {
        if path.join(PLAN).is_file() {
            return Some(IdfSource::Built(path.to_owned()));
        }
        // A cargo project may contain one for its C code.
        if path.join("Cargo.toml").is_file() {
            return None;
        }
        let text = fs::read_to_string(path.join("CMakeLists.txt")).ok()?;
        // The line that ESP-IDF requires: include($ENV{IDF_PATH}/tools/cmake/project.cmake).
        text.contains("tools/cmake/project.cmake").then(|| IdfSource::Project(path.to_owned()))
    }

    /// Builds the project if idf.py is installed, and returns the job of its plan.
    pub fn job(&self, project: &Project, shell: &mut Shell) -> Result<Job, Failure> {
        let folder = match self {
            IdfSource::Built(folder) => folder.clone(),
            IdfSource::Project(directory) => {
                let folder = directory.join("build");
                build(directory, &folder, shell)?;
                folder
            }
        };
        of_folder(&folder, project)
    }
}

/// Starts `idf.py build`. Without idf.py, a finished build is used as it is.
fn build(directory: &Path, folder: &Path, shell: &mut Shell) -> Result<(), Failure> {
    let program = if cfg!(windows) { "idf.py.exe" } else { "idf.py" };
    shell.status(&format!("Building {} with idf.py", directory.display()));
    let mut idf = Command::new(program);
    idf.arg("-C").arg(directory).arg("build").stdin(Stdio::null());
    // Results go to standard output, messages to standard error.
    idf.stdout(io::stderr());
    match idf.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let message = format!("idf.py could not build {} ({status})", directory.display());
            Err(Failure::new(Exit::BuildFailed, message))
        }
        Err(_) if folder.join(PLAN).is_file() => {
            shell.warning(&format!("idf.py is not on PATH: {} is used as it is", folder.display()));
            Ok(())
        }
        Err(error) => {
            let message = format!("cannot start idf.py: {error}");
            Err(Failure::new(Exit::ToolchainMissing, message)
                .hint("run `. $IDF_PATH/export.sh` in this shell, or build the project there"))
        }
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    let bytes = read::read_up_to(path, LARGEST).map_err(|error| read::cannot_read(path, &error))?;
    String::from_utf8(bytes).map_err(|_| Failure::input(format!("{} is not UTF-8", path.display())))
}

/// Returns the job of the plan in a build folder.
fn of_folder(folder: &Path, project: &Project) -> Result<Job, Failure> {
    let place = folder.join(PLAN);
    let broken = |error: esplice_image::IdfBuildError, path: &Path| {
        Failure::input(format!("{}:{error}", path.display()))
            .hint("build the project again: `idf.py build`")
    };
    let plan = IdfPlan::from_json(&text(&place)?).map_err(|error| broken(error, &place))?;
    let chip = plan.chip.as_deref().map(|name| project.chips.find(name)).transpose()?;
    if let Some(chip) = chip {
        check_target(&place, chip, project.chip())?;
    }
    let mut writes = Vec::new();
    for file in &plan.files {
        if file.encrypted {
            let message = format!(
                "{}: {} is to be encrypted by the chip while it is written",
                place.display(),
                file.path
            );
            return Err(Failure::new(Exit::Security, message)
                .hint("esplice does not write to chips with flash encryption: use idf.py"));
        }
        let path = inside_root(folder, Path::new(&file.path))
            .map_err(|message| Failure::input(format!("{}: {message}", place.display())))?;
        let data = read::read_for_flash(&path)?;
        if file.kind != WriteKind::PartitionTable {
            check_chip(&path, &data, chip, project)?;
        }
        let name = file.name.clone().unwrap_or_else(|| file.path.clone());
        writes.push(Write { name, kind: file.kind, offset: file.offset, data });
    }
    set_header(&plan, chip.or(project.chip()), &mut writes, project)?;
    let description = folder.join("project_description.json");
    let description = match description.is_file() {
        true => IdfDescription::from_json(&text(&description)?)
            .map_err(|error| broken(error, &description))?,
        false => IdfDescription::default(),
    };
    let elf = match &description.app_elf {
        Some(path) => {
            let path = inside_root(folder, Path::new(path)).map_err(Failure::input)?;
            path.is_file().then(|| FirmwareElf::read(&path)).transpose()?
        }
        None => None,
    };
    Ok(Job {
        load: Load::Writes(writes),
        target: chip.or(project.chip()).cloned(),
        elf,
        monitor_baud: description.monitor_baud.and_then(|baud| baud.parse().ok()),
    })
}

/// Refuses an image for a chip other than the plan's.
fn check_chip(
    path: &Path,
    data: &[u8],
    chip: Option<&Arc<Chip>>,
    project: &Project,
) -> Result<(), Failure> {
    let (Some(chip), Ok(header)) = (chip, ImageHeader::from_bytes(data)) else { return Ok(()) };
    match project.chips.find_by_id(header.chip_id) {
        Some(found) => check_target(path, found, Some(chip)),
        None => Ok(()),
    }
}

/// Sets the build's flash settings in the image at the boot offset, as esptool does.
fn set_header(
    plan: &IdfPlan,
    chip: Option<&Arc<Chip>>,
    writes: &mut [Write],
    project: &Project,
) -> Result<(), Failure> {
    let settings = &plan.settings;
    // The size is in the image already.
    let size = if settings.flash_size == "detect" { "keep" } else { &settings.flash_size };
    let args = HeaderArgs::new(&settings.flash_mode, &settings.flash_freq, size);
    let images = writes.iter().map(|write| write.data.as_slice());
    let Some(header) = args.header(chip, &project.chips, images)? else { return Ok(()) };
    for write in writes {
        let (name, offset): (&str, FlashOffset) = (&write.name, write.offset);
        header.set(name, offset, &mut write.data)?;
    }
    Ok(())
}
