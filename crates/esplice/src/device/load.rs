//! Determines what to flash, as far as possible without a board.

use std::{io, path::Path, sync::Arc};

use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_image::{
    BootLayout, Content, Defect, FlashParams, FlashPlan, ImageKind, Part, PartBody, PartitionTable,
    ResolveOptions, Write, WriteKind, inspect, make_direct_plan,
};

use crate::{
    cli::args::SourceArgs,
    config::{paths::inside_root, project::Project},
    device::{idf::IdfSource, ports, ports::Board},
    files::{elf_file::Wanted, of_file, outputs::Names, read},
    firmware,
    firmware::{
        Firmware, applicable, firmware_elf,
        firmware_elf::FirmwareElf,
        flash_file::{FlashFile, first_defect},
        source::Source,
    },
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Size of an erase sector in bytes; every write begins at one.
const SECTOR: u32 = PartitionTable::SECTOR_LEN;

/// Size of the largest plan that is read, in bytes.
const LARGEST_PLAN: u64 = 1 << 20;

/// The data to flash, and its chip.
#[derive(Debug)]
pub struct Job {
    pub load: Load,
    /// The chip that the board must have; `None` if only the board can tell.
    pub target: Option<Arc<Chip>>,
    /// The ELF that the firmware was made from, if known.
    pub elf: Option<FirmwareElf>,
    /// Baud rate of the firmware's output, if its build says so.
    pub monitor_baud: Option<u32>,
}

/// The data to flash.
#[derive(Debug)]
pub enum Load {
    /// A plan, to be completed with facts of the board.
    Plan { plan: FlashPlan, options: ResolveOptions },
    /// Bytes at offsets that come from the user or the file.
    Writes(Vec<Write>),
}

/// Returns the plan for an image: the one next to it, or one made from its header.
fn image_plan(
    path: &Path,
    bytes: &[u8],
    project: &Project,
) -> Result<(FlashPlan, Arc<Chip>), Failure> {
    let target = project.chip();
    let boot = project.image.boot.as_ref().map(|boot| boot.value);
    let plan = plan_beside(path, bytes, &project.chips)?;
    if Content::of(bytes) == Content::DirectImage {
        return direct_plan(path, bytes, boot, plan, target);
    }
    let of_plan = plan.as_ref().map(|plan| plan.boot);
    let boot = boot.or(of_plan).unwrap_or(BootLayout::Idf);
    check_image(path, bytes, boot, &project.chips)?;
    let own_parts = firmware::names_own_parts(project);
    if let Some(plan) = plan.filter(|plan| plan.boot == boot && !own_parts) {
        let chip = plan.chip.clone();
        return Ok((plan, chip));
    }
    firmware::plan_of_image(bytes, boot, project).map_err(|failure| of_file(path, failure))
}

/// Returns the plan for a program without header, which does not name its chip.
fn direct_plan(
    path: &Path,
    bytes: &[u8],
    boot: Option<BootLayout>,
    beside: Option<FlashPlan>,
    target: Option<&Arc<Chip>>,
) -> Result<(FlashPlan, Arc<Chip>), Failure> {
    let beside = beside.filter(|plan| plan.boot == BootLayout::Direct);
    if let Some(plan) = beside.filter(|_| boot.is_none_or(|boot| boot == BootLayout::Direct)) {
        let chip = plan.chip.clone();
        return Ok((plan, chip));
    }
    match (boot, target) {
        (Some(BootLayout::Direct), Some(chip)) => {
            let plan = make_direct_plan(chip, bytes, &FlashParams::for_chip(chip), None)
                .map_err(|error| of_file(path, error.into()))?;
            Ok((plan, chip.clone()))
        }
        _ => {
            let message = format!("{} runs in place and has no header", path.display());
            Err(Failure::new(Exit::PlanRefused, message)
                .hint("give --boot direct, and --target for the chip it was built for"))
        }
    }
}

/// Refuses a file that is not a valid app image, and suggests the offset it may be meant for.
fn check_image(path: &Path, bytes: &[u8], boot: BootLayout, chips: &ChipDb) -> Result<(), Failure> {
    let report = inspect(bytes, chips);
    let shown = path.display();
    if let Some(defect) = first_defect(&report) {
        let is_foreign = |d: &Defect| matches!(d, Defect::UnknownChip { .. });
        let foreign = report.all_defects().any(|(_, defect)| is_foreign(defect));
        let exit = if foreign { Exit::WrongChip } else { Exit::BadInput };
        return Err(Failure::new(exit, format!("{shown}: {defect}")));
    }
    let refused = |what: &str, offset: FlashOffset, place: &str| {
        Err(Failure::new(Exit::PlanRefused, format!("{shown} is {what}, not an app image"))
            .hint(format!("to write it to {place}, give --offset {offset}")))
    };
    let (info, chip) = match report.parts.as_slice() {
        [Part { body: PartBody::Image(info), .. }] => (info, chips.find_by_id(info.header.chip_id)),
        _ => return refused("a merged image", FlashOffset(0), "the start of flash"),
    };
    let offset = chip.map_or(FlashOffset(0), |chip| chip.image.boot_offset);
    match (info.kind, boot) {
        (ImageKind::App, BootLayout::Rom) => {
            let message = format!("{shown} is an app image, which the ROM does not boot");
            Err(Failure::new(Exit::PlanRefused, message).hint("leave --boot rom out"))
        }
        (ImageKind::App, _) | (ImageKind::Rom | ImageKind::Ram, BootLayout::Rom) => Ok(()),
        (ImageKind::Ram, _) => refused("a bootloader/RAM image", offset, "the bootloader's place"),
        (ImageKind::Rom, _) => {
            let message = format!("{shown} has no app descriptor, so it is not an app image");
            let hint =
                format!("if the ROM is to boot it, as with TinyGo, use --boot rom ({offset})");
            Err(Failure::new(Exit::PlanRefused, message).hint(hint))
        }
        (ImageKind::Unknown, _) => {
            refused("an image without app descriptor", offset, "where the ROM boots it")
        }
    }
}

/// Returns the hash of the ELF that an app image was made from, as its descriptor contains it.
fn elf_hash(bytes: &[u8], chips: &ChipDb) -> Option<[u8; 32]> {
    let report = inspect(bytes, chips);
    let [Part { body: PartBody::Image(info), .. }] = report.parts.as_slice() else { return None };
    info.descriptor.as_ref().map(|descriptor| descriptor.elf_sha256)
}

/// Reads the plan that `build` wrote next to the image at `path`, or returns `None` if there is
/// none. A plan that does not belong to the image is refused, because it may contain another
/// bootloader and table than would be written without it.
fn plan_beside(path: &Path, bytes: &[u8], chips: &ChipDb) -> Result<Option<FlashPlan>, Failure> {
    let Some(beside) = Names::plan_beside(path) else { return Ok(None) };
    let (shown, image) = (beside.display(), path.display());
    let refused = |why: String| {
        let message = format!("{shown} does not belong to {image}: {why}");
        Failure::new(Exit::PlanRefused, message)
            .hint(format!("build again, or remove {shown} to flash {image} by its header"))
    };
    let text = match read::read_up_to(&beside, LARGEST_PLAN) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(format!("it cannot be read: {error}"))),
        Ok(text) => String::from_utf8(text).map_err(|_| refused("it is not UTF-8".into()))?,
    };
    let directory = beside.parent().unwrap_or(Path::new(""));
    let plan = FlashPlan::from_json(&text, chips, |file, most| {
        // The image itself was named by the user, wherever it is.
        if path.file_name().is_some_and(|name| name == file) {
            return Ok(bytes.to_vec());
        }
        let file = inside_root(directory, Path::new(file)).map_err(io::Error::other)?;
        read::read_first(&file, most)
    });
    let plan = plan.map_err(|error| refused(error.to_string()))?;
    if plan.write(WriteKind::App).is_none_or(|app| app.data != bytes) {
        return Err(refused("it belongs to another app".into()));
    }
    Ok(Some(plan))
}

impl Job {
    /// Reads or builds what the arguments name. With `offset`, a file is written there unchanged.
    /// If only the board knows its chip, it is asked and stays open in `opened`.
    pub fn prepare(
        args: &SourceArgs,
        offset: Option<u32>,
        project: &Project,
        opened: &mut Option<Board>,
        shell: &mut Shell,
        interrupt: &Interrupt,
    ) -> Result<Job, Failure> {
        let offset = offset.map(FlashOffset);
        if let Some(offset) = offset
            && !offset.0.is_multiple_of(SECTOR)
        {
            let message = format!("--offset {offset} does not begin at a flash sector");
            return Err(Failure::new(Exit::PlanRefused, message)
                .hint(format!("give a multiple of {SECTOR:#x}")));
        }
        if let (Some(offset), Some(path)) = (offset, &args.path)
            && path.is_file()
        {
            let data = read::read(path)?;
            // These formats are never stored in flash themselves.
            let content = Content::of(&data);
            if !matches!(content, Content::Elf | Content::IntelHex | Content::Uf2) {
                return Ok(Job::bytes(path, data, offset, project));
            }
        }
        if args.main.is_none()
            && args.elf.is_none()
            && let Some(idf) = IdfSource::find(args.path.as_deref().unwrap_or(Path::new(".")))
        {
            applicable::check_built(&project.build.given, "an ESP-IDF project")?;
            if offset.is_some() || project.flash.partition.is_some() {
                return Err(Failure::usage("the build of ESP-IDF has its own offsets")
                    .hint("leave --offset and --partition out"));
            }
            return idf.job(project, shell);
        }
        let options = ResolveOptions::default()
            .with_bootloader(project.flash.with_bootloader)
            .partition(project.flash.partition.clone())
            .offset(offset)
            .must_boot(false);
        let target = project.chip();
        let source = Source::from_args(args, Wanted::Whole)?;
        applicable::check(&project.build.given, &source)?;
        match source {
            Source::Image { path, bytes } => {
                let (plan, chip) = image_plan(&path, &bytes, project)?;
                check_target(&path, &chip, target)?;
                let hash = elf_hash(&bytes, &project.chips);
                let elf = hash.and_then(|hash| firmware_elf::elf_next_to(&path, &hash, shell));
                let load = Load::Plan { plan, options };
                Ok(Job { load, target: Some(chip), elf, monitor_baud: None })
            }
            Source::Places { path, content, .. } => {
                if offset.is_some() || project.flash.partition.is_some() {
                    let message = format!("{}: {content} contains its own offsets", path.display());
                    return Err(Failure::usage(message).hint("leave --offset and --partition out"));
                }
                Job::places(&path, project)
            }
            source => {
                let mut ask =
                    |shell: &mut Shell| ports::chip(project, opened, shell, interrupt).map(Some);
                let firmware = Firmware::from_source(source, project, &mut ask, shell, interrupt)?;
                Ok(Job {
                    load: Load::Plan { plan: firmware.plan, options },
                    target: Some(firmware.chip),
                    elf: Some(FirmwareElf::of_firmware(firmware.elf)),
                    monitor_baud: None,
                })
            }
        }
    }

    /// Returns the content of a HEX or UF2 file at the offsets it contains.
    fn places(path: &Path, project: &Project) -> Result<Job, Failure> {
        let (chips, target) = (&project.chips, project.chip());
        let file = FlashFile::read(path)?;
        let report = file.inspect(chips);
        // Plain data is allowed, as in a raw file.
        let is_data = report.parts.is_empty()
            && report.defects.iter().all(|defect| matches!(defect, Defect::NotAnImage { .. }));
        if let Some(defect) = first_defect(&report).filter(|_| !is_data) {
            return Err(Failure::input(format!("{}: {defect}", path.display())));
        }
        let FlashFile::Places { unpacked, .. } = file else {
            return Err(Failure::input(format!("{} changed while it was read", path.display())));
        };
        let of_family = unpacked
            .family
            .and_then(|family| chips.chips().find(|chip| chip.image.uf2_family == family));
        let mut images = report.parts.iter().filter_map(|part| match &part.body {
            PartBody::Image(info) => chips.find_by_id(info.header.chip_id),
            _ => None,
        });
        let chip = of_family.or_else(|| images.next());
        if let Some(chip) = chip {
            check_target(path, chip, target)?;
        }
        let name = file_name(path);
        let mut writes = Vec::new();
        for write in unpacked.writes {
            let offset = write.offset;
            if !offset.0.is_multiple_of(SECTOR) {
                let shown = path.display();
                let message = format!("{shown}: bytes at {offset} begin inside of a flash sector");
                return Err(Failure::new(Exit::PlanRefused, message).hint(format!(
                    "flash is erased by {SECTOR:#x} bytes; fill the gap before them, \
                     as `esplice image merge` does for a raw file"
                )));
            }
            let name = format!("{name} at {offset}");
            writes.push(Write { name, kind: WriteKind::Data, offset, data: write.data });
        }
        let target = chip.or(target).cloned();
        Ok(Job { load: Load::Writes(writes), target, elf: None, monitor_baud: None })
    }

    fn bytes(path: &Path, data: Vec<u8>, offset: FlashOffset, project: &Project) -> Job {
        let write = Write { name: file_name(path), kind: WriteKind::Data, offset, data };
        let target = project.chip();
        let load = Load::Writes(vec![write]);
        Job { load, target: target.cloned(), elf: None, monitor_baud: None }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Refuses an image for a chip other than the target.
pub fn check_target(path: &Path, chip: &Chip, target: Option<&Arc<Chip>>) -> Result<(), Failure> {
    let Some(target) = target.filter(|target| target.name != chip.name) else { return Ok(()) };
    let (found, wanted) = (&chip.display_name, &target.display_name);
    let message = format!("the image is for {found}, the target is {wanted}");
    Err(of_file(path, Failure::new(Exit::WrongChip, message)))
}
