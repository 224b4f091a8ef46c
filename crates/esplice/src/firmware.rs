//! Turns the user's input into a flash plan, without a board.

pub mod applicable;
pub mod firmware_elf;
pub mod flash_file;
pub mod header;
pub mod layout;
pub mod places;
pub mod sectors;
pub mod source;
pub mod table_file;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use esplice_chip::{Chip, ChipDb};
use esplice_image::{
    AppDescriptor, AppImage, BootLayout, FileRef, FlashMode, FlashParams, FlashPlan, ImageHeader,
    ImageOptions, PartitionTable, PlanError, PlanParts, RomOptions, TableChoice, WriteKind,
    build_app_of_rom_program, build_direct_image, build_image, build_rom_image, check_bootloader,
    is_rom_program, make_direct_plan, make_plan, second_stage_for,
};
use esplice_toolchain::{RustToolchain, build_tinygo};

use crate::{
    config::{
        project::Project,
        settings::{Origin, Settled},
    },
    diagnostics,
    files::{elf_file::Elf, of_file, outputs::Names, read},
    firmware::{
        source::Source,
        table_file::{Place, TableFile},
    },
    linker,
    ui::{
        event::{Event, StageState},
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Determines the chip if nothing else does; returns `None` if that is impossible.
pub type AskChip<'a> = dyn FnMut(&mut Shell) -> Result<Option<Arc<Chip>>, Failure> + 'a;

/// Firmware that was built or given as an ELF.
pub struct Firmware {
    pub chip: Arc<Chip>,
    /// Name of the binary, used for unnamed outputs.
    pub name: String,
    pub elf: Elf,
    /// Bytes of the image.
    pub image: Vec<u8>,
    pub plan: FlashPlan,
}

impl Firmware {
    /// Compiles a cargo project: the binary or example whose main file is `main`, or the one that
    /// the settings name.
    pub fn from_project(
        directory: &Path,
        main: Option<PathBuf>,
        chip: &Arc<Chip>,
        project: &Project,
        shell: &mut Shell,
        interrupt: &Interrupt,
    ) -> Result<Firmware, Failure> {
        // For build scripts, which may have a layout of their own.
        let mut variables = vec![("ESPLICE_PROJECT_TARGET".into(), chip.name.clone().into())];
        if let Some(file) = diagnostics::log_file() {
            variables.push((diagnostics::LOG_FILE_VARIABLE.into(), file.into()));
        }
        if let Some(file) = &project.target_file {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            variables.push(("ESPLICE_PROJECT_TARGET_FILE".into(), file.into()));
        }
        let options = project
            .build
            .cargo
            .clone()
            .source(main)
            .variables(variables)
            .layout(layout::of_cargo(project, chip)?)
            .stable(linker::stable_link(project)?)
            .checker(std::env::current_exe().ok());
        shell.status(&format!("Compiling {} for {}", directory.display(), chip.display_name));
        shell.stage("compile", StageState::Started);
        let artifact = layout::compile(directory, chip, &options, shell).map_err(|failure| {
            // Cargo gets the same Ctrl-C from the terminal, and may report it as a failure.
            if interrupt.is_asked() { Failure::interrupted() } else { failure }
        })?;
        // Only esplice was asked to stop, and cargo has finished in the meantime.
        if interrupt.is_asked() {
            return Err(Failure::interrupted());
        }
        shell.stage("compile", StageState::Done);
        if shell.is_json() {
            shell.event(&compiler(&artifact.toolchain));
        }
        linker::print_outcome(&artifact, options.stable.is_some(), shell);
        let elf = read::read_elf(&artifact.elf)?;
        if let Some(layout) = &options.layout {
            layout::hold(&elf.bytes, layout, shell)?;
        }
        Firmware::from_elf(artifact.bin, elf, chip, project, shell)
    }

    /// Compiles a Go package.
    pub fn from_go(
        source: &Path,
        chip: &Arc<Chip>,
        project: &Project,
        shell: &mut Shell,
        interrupt: &Interrupt,
    ) -> Result<Firmware, Failure> {
        shell.status(&format!("Compiling {} for {}", source.display(), chip.display_name));
        shell.stage("compile", StageState::Started);
        let layout = layout::of_go(project, chip)?;
        let options = project.build.go.clone().layout(layout.clone());
        let artifact = build_tinygo(source, chip, &options).map_err(|error| {
            if interrupt.is_asked() { Failure::interrupted() } else { error.into() }
        })?;
        if interrupt.is_asked() {
            return Err(Failure::interrupted());
        }
        shell.stage("compile", StageState::Done);
        let (major, minor, patch) = artifact.tinygo.version;
        shell.event(&Event::Compiler {
            name: "tinygo",
            version: Some(format!("{major}.{minor}.{patch}")),
            program: artifact.tinygo.program.display().to_string(),
            target: artifact.target.clone(),
        });
        let elf = read::read_elf(&artifact.elf)?;
        if let Some(layout) = &layout {
            layout::hold(&elf.bytes, layout, shell)?;
        }
        let (name, hash) = (artifact.name.clone(), artifact.tinygo.appends_hash());
        Firmware::from_rom_program(name, elf, chip, project, hash, shell)
    }

    /// Makes image and plan of an ELF in the format of TinyGo's own images, with or without the
    /// hash that TinyGo releases append.
    fn from_rom_program(
        name: String,
        elf: Elf,
        chip: &Arc<Chip>,
        project: &Project,
        append_sha256: bool,
        shell: &mut Shell,
    ) -> Result<Firmware, Failure> {
        let boot = project.image.boot.as_ref().map_or(BootLayout::Rom, |boot| boot.value);
        shell.stage("image", StageState::Started);
        let image = match boot {
            BootLayout::Rom => rom_image(&elf, chip, project, append_sha256)?,
            BootLayout::Idf => {
                let start = chip.toolchain.tinygo.as_ref().and_then(|tinygo| tinygo.start.as_ref());
                let start = start.ok_or_else(|| {
                    let chip = &chip.display_name;
                    Failure::usage(format!(
                        "the entry point of TinyGo programs after a bootloader is not known for the \
                         {chip}"
                    ))
                    .hint("remove --boot idf: the ROM boots them")
                })?;
                let descriptor = AppDescriptor::named(&name, chip);
                let elf_sha256 = Some(elf.sha256);
                let options = image_options(chip, project)?.elf_sha256(elf_sha256);
                build_app_of_rom_program(&elf.bytes, chip, &options, start, &descriptor)?
            }
            BootLayout::Direct => return Err(PlanError::LayoutUnsupported { boot }.into()),
        };
        Firmware::with_image(name, elf, chip, project, boot, image, shell)
    }

    /// Makes image and plan of an ELF.
    pub fn from_elf(
        name: String,
        elf: Elf,
        chip: &Arc<Chip>,
        project: &Project,
        shell: &mut Shell,
    ) -> Result<Firmware, Failure> {
        if is_rom_program(&elf.bytes, chip) {
            return Firmware::from_rom_program(name, elf, chip, project, true, shell);
        }
        shell.stage("image", StageState::Started);
        let boot = project.image.boot.as_ref().map_or(BootLayout::Idf, |boot| boot.value);
        let image = match boot {
            BootLayout::Idf => {
                let elf_sha256 = Some(elf.sha256);
                let options = image_options(chip, project)?.elf_sha256(elf_sha256);
                build_image(&elf.bytes, chip, &options)?
            }
            BootLayout::Rom => rom_image(&elf, chip, project, chip.image.append_sha256)?,
            BootLayout::Direct => return Firmware::in_place(name, elf, chip, project, shell),
        };
        Firmware::with_image(name, elf, chip, project, boot, image, shell)
    }

    /// Makes image and plan of an ELF that is executed in place, without header.
    fn in_place(
        name: String,
        elf: Elf,
        chip: &Arc<Chip>,
        project: &Project,
        shell: &mut Shell,
    ) -> Result<Firmware, Failure> {
        let flash = image_options(chip, project)?.flash;
        let made = build_direct_image(&elf.bytes, chip)?;
        for warning in &made.warnings {
            shell.warning(&warning.to_string());
        }
        let plan = make_direct_plan(chip, &made.bytes, &flash, Some(elf.sha256))?;
        shell.stage("image", StageState::Done);
        Ok(Firmware { chip: chip.clone(), name, elf, image: made.bytes, plan })
    }

    /// Makes the plan.
    fn with_image(
        name: String,
        elf: Elf,
        chip: &Arc<Chip>,
        project: &Project,
        boot: BootLayout,
        image: AppImage,
        shell: &mut Shell,
    ) -> Result<Firmware, Failure> {
        for warning in &image.warnings {
            shell.warning(&warning.to_string());
        }
        let flash = image_options(chip, project)?.flash;
        let own = OwnFiles::read(boot, chip, project)?;
        let built_in = own.built_in(boot, chip, &flash, project, image.header.min_rev)?;
        let parts = PlanParts {
            elf_sha256: Some(image.elf_sha256),
            fits_later: project.flash.fits_later,
            ..own.parts(boot, &image.bytes, built_in.as_deref(), project)
        };
        let plan = make_plan(chip, &parts)?;
        shell.stage("image", StageState::Done);
        Ok(Firmware { chip: chip.clone(), name, elf, image: image.bytes, plan })
    }

    /// Returns the plan as JSON, for files of these names.
    pub fn plan_json(&self, names: &Names) -> Result<String, Failure> {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let json = self.plan.to_json(|write| match write.kind {
            WriteKind::App => FileRef { path: name(&names.image), offset: 0 },
            _ => FileRef { path: name(&names.merged), offset: write.offset.0 },
        });
        Ok(json?)
    }

    /// Builds `source`, unless it is an image. If neither settings nor source name the chip, `ask`
    /// is called.
    pub fn from_source(
        source: Source,
        project: &Project,
        ask: &mut AskChip<'_>,
        shell: &mut Shell,
        interrupt: &Interrupt,
    ) -> Result<Firmware, Failure> {
        applicable::check(&project.build.given, &source)?;
        let target = project.chip().cloned();
        match source {
            Source::Project { directory, main } => {
                let target = match target {
                    Some(chip) => Some(chip),
                    None => chip_of_cargo(&directory, main.as_deref(), project)?,
                };
                let asked = target.map_or_else(|| ask(shell), |chip| Ok(Some(chip)))?;
                let chip = asked.ok_or_else(|| no_chip(&directory))?;
                Firmware::from_project(&directory, main, &chip, project, shell, interrupt)
            }
            Source::Go(path) => {
                let asked = target.map_or_else(|| ask(shell), |chip| Ok(Some(chip)))?;
                let chip = asked.ok_or_else(|| no_chip(&path))?;
                Firmware::from_go(&path, &chip, project, shell, interrupt)
            }
            Source::Elf { path, elf } => {
                let told = target.map_or_else(
                    || elf_chip(&path, &elf.bytes, &project.chips),
                    |chip| Ok(Some(chip)),
                )?;
                let asked = told.map_or_else(|| ask(shell), |chip| Ok(Some(chip)))?;
                let chip = asked.ok_or_else(|| no_chip(&path))?;
                let name = read::stem(&path).to_string_lossy().into_owned();
                // Read here, because an error in the user's table or bootloader must not be
                // prefixed with the ELF's name.
                let boot = project.image.boot.as_ref().map_or(BootLayout::Idf, |boot| boot.value);
                OwnFiles::read(boot, &chip, project)?;
                Firmware::from_elf(name, elf, &chip, project, shell)
                    .map_err(|failure| of_file(&path, failure))
            }
            Source::Image { path, .. } | Source::Places { path, .. } => Err(Failure::usage(
                format!("{} is already an image: there is nothing to build", path.display()),
            )
            .hint(
                "`esplice flash` writes it to a board, `esplice image info` shows what is in it",
            )),
        }
    }
}

/// Returns the compiler of a toolchain as an event, after asking for its version.
fn compiler(toolchain: &RustToolchain) -> Event {
    let mut rustc = std::process::Command::new(&toolchain.rustc);
    let asked = rustc.arg("--version").envs(toolchain.variables()).output();
    let version = asked.ok().filter(|output| output.status.success());
    Event::Compiler {
        name: "rustc",
        version: version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        program: toolchain.rustc.display().to_string(),
        target: toolchain.target.clone(),
    }
}

/// Makes the image of an ELF that the ROM loads. Its header is as TinyGo writes it, except for the
/// user's settings.
fn rom_image(
    elf: &Elf,
    chip: &Chip,
    project: &Project,
    append_sha256: bool,
) -> Result<AppImage, Failure> {
    let asked = image_options(chip, project)?.flash;
    let by_user = |set: &Option<Settled<String>>| {
        set.as_ref().is_some_and(|set| !matches!(set.origin, Origin::Chip(_) | Origin::Board(_)))
    };
    let elf_sha256 = Some(elf.sha256);
    let mut options =
        RomOptions::for_chip(chip).append_sha256(append_sha256).elf_sha256(elf_sha256);
    if by_user(&project.image.flash_mode) {
        options.flash.mode = asked.mode;
    }
    if by_user(&project.image.flash_freq) {
        options.flash.freq = asked.freq;
    }
    if by_user(&project.image.flash_size) {
        options.flash.size = asked.size;
    }
    Ok(build_rom_image(&elf.bytes, chip, &options)?)
}

/// Files of a plan that the user provided.
#[derive(Debug, Default)]
struct OwnFiles {
    table: Option<PartitionTable>,
    bootloader: Option<Vec<u8>>,
}

impl OwnFiles {
    /// Reads and checks the files that the settings name; only boot method idf has any.
    fn read(boot: BootLayout, chip: &Arc<Chip>, project: &Project) -> Result<Self, Failure> {
        if boot != BootLayout::Idf {
            return Ok(Self::default());
        }
        let place = Place {
            chips: project.chips.clone(),
            chip: Some(chip.clone()),
            offset: project.image.own_table_offset(),
        };
        let table = project.image.partition_table.as_deref();
        let table = table.map(|path| {
            let table = TableFile::read_own(path, &place)?;
            let offset = place.offset.unwrap_or(chip.image.partition_table_offset);
            let checked = table.check(offset, None).map_err(PlanError::from);
            checked.map_err(|error| of_file(path, error.into()))?;
            Ok::<_, Failure>(table)
        });
        let bootloader = project.image.bootloader.as_deref().map(|path| {
            let bytes = read::read_for_flash(path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            check_bootloader(&name, &bytes, chip).map_err(|error| of_file(path, error.into()))?;
            Ok::<_, Failure>(bytes)
        });
        Ok(Self { table: table.transpose()?, bootloader: bootloader.transpose()? })
    }

    /// Returns the built-in bootloader, if one is needed.
    fn built_in(
        &self,
        boot: BootLayout,
        chip: &Chip,
        flash: &FlashParams,
        project: &Project,
        min_rev: u16,
    ) -> Result<Option<Vec<u8>>, Failure> {
        if boot != BootLayout::Idf || self.bootloader.is_some() {
            return Ok(None);
        }
        Ok(Some(second_stage_for(chip, flash, project.xtal_mhz(chip), min_rev)?.bytes))
    }

    fn parts<'a>(
        &'a self,
        boot: BootLayout,
        app: &'a [u8],
        built_in: Option<&'a [u8]>,
        project: &Project,
    ) -> PlanParts<'a> {
        PlanParts {
            bootloader: self.bootloader.as_deref().or(built_in),
            own_bootloader: self.bootloader.is_some(),
            table: self.table.as_ref().map_or(TableChoice::BuiltIn, TableChoice::Own),
            table_offset: project.image.own_table_offset(),
            ..PlanParts::new(boot, app)
        }
    }
}

/// Returns whether the settings name parts that another plan would not contain.
pub fn names_own_parts(project: &Project) -> bool {
    project.image.partition_table.is_some()
        || project.image.bootloader.is_some()
        || project.image.own_table_offset().is_some()
}

/// Returns the plan for an app image without its ELF. Bootloader and table are included for boards
/// without them, and only the board decides whether the plan fits. An image that the ROM loads is
/// written alone.
pub fn plan_of_image(
    bytes: &[u8],
    boot: BootLayout,
    project: &Project,
) -> Result<(FlashPlan, Arc<Chip>), Failure> {
    let header = ImageHeader::from_bytes(bytes).map_err(|e| Failure::input(e.to_string()))?;
    let chip = project.chips.find_by_id(header.chip_id).ok_or_else(|| {
        Failure::new(
            Exit::WrongChip,
            format!("chip id {} belongs to no known chip", header.chip_id),
        )
        .hint("`esplice chips` lists the known ones")
    })?;
    let mut flash = FlashParams::for_chip(chip);
    if let Some(size) = chip.image.flash_size_bytes(header.flash_size_code()) {
        flash.size = size;
    }
    let own = OwnFiles::read(boot, chip, project)?;
    let built_in = own.built_in(boot, chip, &flash, project, header.min_rev)?;
    let parts = own.parts(boot, bytes, built_in.as_deref(), project);
    Ok((make_plan(chip, &PlanParts { fits_later: true, ..parts })?, chip.clone()))
}

/// Returns the chip that a cargo project's enabled features name.
pub fn chip_of_cargo(
    directory: &Path,
    main: Option<&Path>,
    project: &Project,
) -> Result<Option<Arc<Chip>>, Failure> {
    let options = project.build.cargo.clone().source(main.map(Path::to_owned));
    Ok(esplice_toolchain::chip_of_project(directory, &options)?)
}

/// Returns the chip that an ELF names, or that TinyGo linked it for.
pub fn elf_chip(path: &Path, elf: &[u8], chips: &ChipDb) -> Result<Option<Arc<Chip>>, Failure> {
    let Some(name) = esplice_image::elf_chip_name(elf) else {
        return Ok(esplice_image::rom_program_chip(elf, chips).cloned());
    };
    let chip = chips.find(&name).map_err(|error| {
        // The name comes from the file, not from the user, so no similar name is suggested.
        of_file(path, Failure::input(format!("ELF is for {name:?}: {error}")))
    })?;
    Ok(Some(chip.clone()))
}

pub fn no_chip(path: &Path) -> Failure {
    Failure::usage(format!("{} does not specify its chip", path.display()))
        .hint("give --target, such as --target esp32c3, or set target in [project] of esplice.toml")
}

/// Returns the image options: flash settings, revisions and padding.
pub fn image_options(chip: &Chip, project: &Project) -> Result<ImageOptions, Failure> {
    let (min_rev, max_rev) = project.image.revisions;
    let mut options = ImageOptions::for_chip(chip)
        .min_rev(min_rev)
        .max_rev(max_rev)
        .mmu_page_size(project.image.mmu_page_size)
        .secure_pad(project.image.secure_pad)
        .source(project.image.source);
    if let Some(mode) = &project.image.flash_mode {
        options.flash.mode = mode
            .value
            .parse::<FlashMode>()
            .map_err(|message| Failure::usage(format!("{}: {message}", mode.origin)))?;
    }
    if let Some(freq) = &project.image.flash_freq {
        options.flash.freq = freq.value.clone();
    }
    if let Some(size) = &project.image.flash_size {
        let (origin, written) = (&size.origin, &size.value);
        let bytes = esplice_chip::parse_size(written).ok_or_else(|| {
            Failure::usage(format!("{origin}: {written:?} is not a size such as 4MB"))
        })?;
        let error = ImageOptions::check_flash_size(chip, bytes).err();
        if let Some(error) = error {
            let chip = &chip.display_name;
            let message = format!("{origin}: {chip} has no flash of {written} ({bytes} bytes)");
            return Err(Failure { message, ..Failure::from(error) });
        }
        options.flash.size = bytes;
    }
    Ok(options)
}
