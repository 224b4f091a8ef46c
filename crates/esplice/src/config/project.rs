//! All settings of a command, settled once: flags over environment over `esplice.toml` over the
//! board's defaults over the chip's. No later stage reads settings.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use esplice_chip::{Board, Chip, FeatureChip, FlashOffset, Target, chip_of_features};
use esplice_flash::Strategy;
use esplice_image::{BootLayout, ImageSource, SecurePad};
use esplice_layout::Spec;
use esplice_toolchain::{CargoOptions, TinyGoOptions};

use crate::{
    cli::{
        args::{
            BoardArgs, CargoArgs, FirmwareArgs, FlashArgs, GoArgs, ImageArgs, PortArgs, TargetArgs,
            WatchArgs,
        },
        stub_choice::StubChoice,
        value,
    },
    config::{
        port_name,
        settings::{Origin, Settings, Settled},
        settler::{Entry, Settler},
        stable_link,
    },
    files::read,
    ui::exit::{Exit, Failure},
};

/// Baud rate of transfers: the highest that usual USB bridges all do.
const TRANSFER_BAUD: u32 = 921_600;

/// How long expected output is waited for where nobody says.
const EXPECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The flags of a command that are settings too; a command leaves out what it does not take.
#[derive(Debug, Default)]
pub struct Flags {
    pub target: TargetArgs,
    pub cargo: CargoArgs,
    pub go: GoArgs,
    pub image: ImageArgs,
    pub port: PortArgs,
    pub flash: FlashArgs,
    pub watch: WatchArgs,
    pub output: Option<PathBuf>,
}

/// What a command works with.
#[derive(Debug)]
pub struct Project {
    pub target: Option<Settled<&'static Chip>>,
    /// The file of a chip or board that esplice does not bring.
    pub target_file: Option<PathBuf>,
    /// The board, where the target is one.
    pub board: Option<&'static Board>,
    pub port: Option<Settled<String>>,
    /// The project's own names of ports, and the ports.
    pub port_aliases: Vec<(String, String)>,
    /// What cargo builds and how; layout and variables are added once the chip is known.
    pub cargo: CargoOptions,
    /// Flags of the command line that only cargo projects, and only Go packages, have a use for.
    pub given: Given,
    pub go: TinyGoOptions,
    pub output: Option<PathBuf>,
    pub boot: Option<Settled<BootLayout>>,
    /// The user's own partition table.
    pub partition_table: Option<PathBuf>,
    /// Where the partition table is, if the user says so.
    pub partition_table_offset: Option<Settled<u32>>,
    /// The user's own second-stage bootloader.
    pub bootloader: Option<PathBuf>,
    pub flash_mode: Option<Settled<String>>,
    pub flash_freq: Option<Settled<String>>,
    pub flash_size: Option<Settled<String>>,
    /// Oldest and newest chip revision, major × 100 + minor.
    pub revisions: (u16, u16),
    pub mmu_page_size: Option<u32>,
    pub secure_pad: Option<SecurePad>,
    pub image_source: ImageSource,
    pub baud: u32,
    /// Whether nobody asked for that rate.
    pub baud_is_default: bool,
    pub stub: StubChoice,
    /// Ways into download mode, where somebody asked for some.
    pub reset: Option<Vec<Strategy>>,
    pub full: bool,
    pub with_bootloader: bool,
    pub partition: Option<String>,
    /// Whether the board, and not the settings, decides if a plan fits; commands set it.
    pub fits_later: bool,
    pub monitor_baud: Option<u32>,
    pub expect: Vec<String>,
    pub timeout: Option<Duration>,
    /// ELF of the mask ROM.
    pub rom: Option<PathBuf>,
    /// `[layout]`, as it is written; none where it is about stable links alone.
    pub layout: Option<Spec>,
    /// There is a `[layout]`, which is about stable links alone.
    pub stable_alone: bool,
    /// What esplice is told as the linker of a layout-stable link, if that is asked for.
    pub stable: Option<Vec<String>>,
    /// Every setting in the order of [`crate::config::keys::KEYS`].
    pub entries: Vec<Entry>,
}

impl Project {
    /// Settles `flags` over what stands in the environment and in the file of the project in
    /// `directory`.
    pub fn settle(directory: &Path, flags: Flags) -> Result<Project, Failure> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Project::from_settings(&Settings::load(directory, variables)?, flags)
    }

    /// The crystal of the board, if it is one with `chip`, or that which the chip usually has, in MHz.
    pub fn xtal_mhz(&self, chip: &Chip) -> u32 {
        let board = self.board.filter(|board| board.chip.name == chip.name);
        board.and_then(|board| board.xtal_mhz).unwrap_or(chip.xtal_mhz)
    }

    /// Where the partition table is, if the user says so.
    pub fn own_table_offset(&self) -> Option<FlashOffset> {
        let offset = self.partition_table_offset.as_ref();
        let offset = offset.filter(|offset| !matches!(offset.origin, Origin::Chip(_)));
        offset.map(|offset| FlashOffset(offset.value))
    }

    fn from_settings(settings: &Settings, flags: Flags) -> Result<Project, Failure> {
        let mut s = Settler::new(settings);
        let path = |file: PathBuf| file.to_string_lossy().into_owned();

        let file = s.text("project", "target-file", flags.target.target_file.map(path))?;
        let of_file = file.map(|file| added_target(settings, file)).transpose()?;
        let (target_file, of_file) = match of_file {
            Some((path, t)) => {
                (Some(path), Some(Settled { value: t.value.name().into(), origin: t.origin }))
            }
            None => (None, None),
        };
        let target = s.value("project", "target", &value::TEXT, flags.target.target, of_file)?;
        let target = target.map(target_called).transpose()?;
        let target_at = s.entries.len() - 1;
        let port = s.text("project", "port", flags.port.port)?;
        let port = port.map(|port| board_port(settings, port)).transpose()?;

        let cargo = flags.cargo;
        let given = Given { cargo: cargo.given(), go: flags.go.given() };
        let package = s.text("build", "package", cargo.package)?;
        let by_flag = cargo.bin.is_some() || cargo.example.is_some();
        let bin = s.text("build", "bin", cargo.bin)?;
        let example = s.text("build", "example", cargo.example)?;
        let (bin, example) = one_of(bin, example, by_flag)?;
        let features = s.list("build", "features", cargo.features)?;
        let features_set = s.entries.last().and_then(|entry| entry.value.clone());
        let target = target_of_features(target, &features, features_set)?;
        if let Some(entry) = s.entries.get_mut(target_at) {
            entry.value = target
                .as_ref()
                .map(|t| Settled { value: t.value.name().into(), origin: t.origin.clone() });
        }
        let board = target.as_ref().and_then(|target| target.value.board());
        let target = target.map(|t| Settled { value: t.value.chip(), origin: t.origin });
        let chip = target.as_ref().map(|target| target.value);
        let of_hardware = |of_board: fn(&Board) -> Option<String>, of_chip: fn(&Chip) -> String| {
            let of_board = board.and_then(|board| Some((of_board(board)?, board)));
            let of_board = of_board
                .map(|(value, board)| Settled { value, origin: Origin::Board(board.name.clone()) });
            let of_chip = || {
                let origin = Origin::Chip(chip?.name.clone());
                Some(Settled { value: of_chip(chip?), origin })
            };
            of_board.or_else(of_chip)
        };
        let no_default_features =
            s.switch("build", "no-default-features", cargo.no_default_features)?;
        let profile = cargo.profile.or(cargo.release.then(|| "release".to_owned()));
        let profile = s.or("build", "profile", &value::TEXT, profile, "release".to_owned())?;
        let stable = stable_link::asked(settings, cargo.stable || cargo.fresh, cargo.fresh)?;
        let go = flags.go;
        let tags = s.list("build", "tags", go.tags)?;
        let tinygo_target = s.text("build", "tinygo-target", go.tinygo_target)?;
        let tinygo_target = tinygo_target.map(|t| own_target(settings, t)).transpose()?;
        let mut of_tinygo = |name, flag| {
            let value = s.text("build", name, flag)?;
            Ok::<_, Failure>(value.map(|value| value.value))
        };
        let ldflags = of_tinygo("ldflags", go.ldflags)?;
        let (opt, gc) = (of_tinygo("opt", go.opt)?, of_tinygo("gc", go.gc)?);
        let scheduler = of_tinygo("scheduler", go.scheduler)?;
        let serial = of_tinygo("serial", go.serial)?;
        let panic = of_tinygo("panic", go.panic)?;
        let stack_size = s.value("build", "stack-size", &value::BYTES, go.stack_size, None)?;
        let link_args = s.list("build", "link-args", None)?;
        let output = s.text("build", "output", flags.output.map(path))?;
        let output = output.map(|output| inside(settings, output)).transpose()?;

        let image = flags.image;
        let boot = s.value("image", "boot", &value::BOOT, image.boot, None)?;
        let partition_table =
            s.text("image", "partition-table", image.partition_table.map(path))?;
        let partition_table = partition_table.map(|file| inside(settings, file)).transpose()?;
        let usual = chip.map(|chip| Settled {
            value: chip.image.partition_table_offset.0,
            origin: Origin::Chip(chip.name.clone()),
        });
        let flag = image.table.partition_table_offset;
        let partition_table_offset =
            s.value("image", "partition-table-offset", &value::OFFSET, flag, usual)?;
        let bootloader = s.text("image", "bootloader", image.bootloader.map(path))?;
        let bootloader = bootloader.map(|file| inside(settings, file)).transpose()?;
        let mut of_flash =
            |name, flag, of_board: fn(&Board) -> Option<String>, of_chip: fn(&Chip) -> String| {
                s.value("image", name, &value::TEXT, flag, of_hardware(of_board, of_chip))
            };
        let flash_mode = of_flash(
            "flash-mode",
            image.flash_mode,
            |b| b.flash_mode.clone(),
            |c| c.image.default_flash_mode.clone(),
        )?;
        let flash_freq = of_flash(
            "flash-freq",
            image.flash_freq,
            |b| b.flash_freq.clone(),
            |c| c.image.default_flash_freq.clone(),
        )?;
        let flash_size = of_flash(
            "flash-size",
            image.flash_size,
            |b| Some(b.flash_size.clone()),
            |c| c.image.default_flash_size.clone(),
        )?;
        let min_rev = s.or("image", "min-rev", &value::REVISION, image.min_rev, 0)?;
        let max_rev = s.value("image", "max-rev", &value::REVISION, image.max_rev, None)?;
        let mmu_page_size =
            s.value("image", "mmu-page-size", &value::SIZE, image.mmu_page_size, None)?;
        let secure_pad =
            s.value("image", "secure-pad", &value::SECURE_PAD, image.secure_pad, None)?;
        let (form, flag) = (&value::IMAGE_SOURCE, image.image_source);
        let image_source = s.or("image", "source", form, flag, ImageSource::Auto)?;

        let flash = flags.flash;
        let baud = s.or("flash", "baud", &value::BAUD, flash.baud, TRANSFER_BAUD)?;
        let stub = s.or("flash", "stub", &StubChoice::FORM, flash.stub, StubChoice::Auto)?;
        let stub = own_stub(settings, stub)?;
        let reset = s.value("flash", "reset", &value::RESET, flags.port.reset, None)?;
        let full = s.switch("flash", "full", flash.full)?;
        let with_bootloader = s.switch("flash", "with-bootloader", flash.with_bootloader)?;
        let partition = s.text("flash", "partition", flash.partition)?;

        let watch = flags.watch;
        let of_chip = chip.map(|c| Settled {
            value: c.loader.initial_baud,
            origin: Origin::Chip(c.name.clone()),
        });
        let monitor_baud = s.value("monitor", "baud", &value::BAUD, watch.monitor_baud, of_chip)?;
        let asked = (!watch.expect.is_empty()).then_some(watch.expect);
        let expect = s.list("monitor", "expect", asked)?;
        let usual = (!expect.is_empty())
            .then_some(Settled { value: EXPECT_TIMEOUT, origin: Origin::Default });
        let timeout = s.value("monitor", "timeout", &value::DURATION, watch.timeout, usual)?;
        let rom = s.text("monitor", "rom", watch.rom.map(path))?;
        let rom = rom.map(|file| inside(settings, file)).transpose()?;

        Ok(Project {
            target,
            target_file,
            board,
            port,
            port_aliases: settings
                .ports()
                .map(|(alias, port)| (alias.to_owned(), port.value.clone()))
                .collect(),
            cargo: CargoOptions {
                package: package.map(|p| p.value),
                bin,
                example,
                features,
                no_default_features,
                all_features: cargo.all_features,
                profile: Some(profile.value),
                target_dir: cargo.target_dir,
                locked: cargo.locked || cargo.frozen,
                offline: cargo.offline || cargo.frozen,
                link_args: link_args.clone(),
                ..CargoOptions::default()
            },
            given,
            go: TinyGoOptions {
                target: tinygo_target,
                board_targets: board.map(|b| b.tinygo_targets.clone()).unwrap_or_default(),
                tags,
                opt,
                gc,
                scheduler,
                serial,
                panic,
                stack_size: stack_size.map(|size| size.value),
                ldflags,
                link_args,
                // Settled for the chip, once that is known.
                layout: None,
            },
            output,
            boot,
            partition_table,
            partition_table_offset,
            bootloader,
            flash_mode,
            flash_freq,
            flash_size,
            revisions: (min_rev.value, max_rev.map_or(u16::MAX, |r| r.value)),
            mmu_page_size: mmu_page_size.map(|p| p.value),
            secure_pad: secure_pad.map(|p| p.value),
            image_source: image_source.value,
            baud_is_default: baud.origin == Origin::Default,
            baud: baud.value,
            stub,
            reset: reset.map(|r| r.value.strategies),
            full,
            with_bootloader,
            partition: partition.map(|p| p.value),
            fits_later: false,
            monitor_baud: monitor_baud.map(|b| b.value),
            expect,
            timeout: timeout.map(|t| t.value),
            rom,
            layout: settings.layout().filter(|spec| !spec.is_stable_alone()).cloned(),
            stable_alone: settings.layout().is_some_and(Spec::is_stable_alone),
            stable,
            entries: s.entries,
        })
    }
}

impl FirmwareArgs {
    /// Settles these flags and `others` over the settings of the source's project.
    pub fn settle(&self, others: Flags) -> Result<Project, Failure> {
        let flags = Flags {
            target: self.target.clone(),
            cargo: self.cargo.clone(),
            go: self.go.clone(),
            image: self.image.clone(),
            ..others
        };
        Project::settle(&self.source.directory(), flags)
    }
}

impl BoardArgs {
    /// Settles these flags over the settings of the project here.
    pub fn settle(&self) -> Result<Project, Failure> {
        let flash = FlashArgs { baud: self.baud, stub: self.stub.clone(), ..FlashArgs::default() };
        let image = ImageArgs { table: self.table.clone(), ..ImageArgs::default() };
        let flags = Flags {
            image,
            target: self.target.clone(),
            port: self.port.clone(),
            flash,
            ..Flags::default()
        };
        Project::settle(".".as_ref(), flags)
    }
}

/// Flags of the command line that fit one sort of source alone.
#[derive(Debug, Default)]
pub struct Given {
    /// Those for cargo projects.
    pub cargo: Vec<&'static str>,
    /// Those for Go packages.
    pub go: Vec<&'static str>,
}

/// The binary or the example. Of a flag and a setting, the flag is meant.
fn one_of(
    bin: Option<Settled<String>>,
    example: Option<Settled<String>>,
    by_flag: bool,
) -> Result<(Option<String>, Option<String>), Failure> {
    let is_flag = |set: &Settled<String>| matches!(set.origin, Origin::Flag(_));
    let (bin, example) = match by_flag {
        true => (bin.filter(is_flag), example.filter(is_flag)),
        false => (bin, example),
    };
    if let (Some(bin), Some(example)) = (&bin, &example) {
        let message = format!("{} sets bin, and {} sets example", bin.origin, example.origin);
        return Err(Failure::usage(message).hint("a build makes one of them"));
    }
    Ok((bin.map(|bin| bin.value), example.map(|example| example.value)))
}

/// The target, where cargo features are set too, one of which may be named like a chip. Of two chips
/// the one whose setting stands over the other's is meant; of one rank they contradict each other.
fn target_of_features(
    target: Option<Settled<Target>>,
    features: &[String],
    set: Option<Settled<String>>,
) -> Result<Option<Settled<Target>>, Failure> {
    let FeatureChip::One(chip) = chip_of_features(features) else { return Ok(target) };
    let Some(set) = set else { return Ok(target) };
    let named = Settled { value: Target::Chip(chip), origin: set.origin };
    let Some(target) = target else { return Ok(Some(named)) };
    if target.value.chip().name == chip.name || target.origin.rank() > named.origin.rank() {
        return Ok(Some(target));
    }
    if named.origin.rank() > target.origin.rank() {
        return Ok(Some(named));
    }
    let (one, other) = (target.value.chip(), chip);
    let message = format!(
        "{} is for the {}, and the feature {} of {} for the {}",
        target.origin, one.display_name, other.name, named.origin, other.display_name
    );
    Err(Failure::usage(message).hint("name one chip"))
}

/// The chip or board called so.
fn target_called(name: Settled<String>) -> Result<Settled<Target>, Failure> {
    let target = esplice_chip::find_target(&name.value).map_err(|error| {
        let failure = Failure::from(error);
        match &name.origin {
            Origin::Flag(_) => failure,
            origin => Failure { message: format!("{origin}: {}", failure.message), ..failure },
        }
    })?;
    Ok(Settled { value: target, origin: name.origin })
}

/// Bytes of the largest chip or board file that is read.
const LARGEST_TARGET_FILE: u64 = 1 << 20;

/// Reads a file of a chip or board, which is known from then on.
fn added_target(
    settings: &Settings,
    file: Settled<String>,
) -> Result<(PathBuf, Settled<Target>), Failure> {
    let origin = file.origin.clone();
    let path = inside(settings, file)?;
    let value = add_target(&path)?;
    Ok((path, Settled { value, origin }))
}

fn add_target(path: &Path) -> Result<Target, Failure> {
    let shown = path.display().to_string();
    let bytes = read::read_up_to(path, LARGEST_TARGET_FILE)
        .map_err(|error| read::cannot_read(path, &error))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Failure::input(format!("{shown} is not UTF-8: {}", e.utf8_error())))?;
    Ok(esplice_chip::add_target(&shown, &text)?)
}

/// The chip or board that the flags alone name, for commands without a project.
pub fn target_of(flags: &TargetArgs) -> Result<Option<Target>, Failure> {
    let of_file = flags.target_file.as_deref().map(add_target).transpose()?;
    match &flags.target {
        Some(name) => Ok(Some(esplice_chip::find_target(name)?)),
        None => Ok(of_file),
    }
}

/// The port that `port` means: itself, or that of a `[ports.NAME]`.
fn board_port(settings: &Settings, port: Settled<String>) -> Result<Settled<String>, Failure> {
    let port = settings.port(&port.value).cloned().unwrap_or(port);
    let Origin::File { .. } = &port.origin else { return Ok(port) };
    let root = settings.root().unwrap_or(Path::new(""));
    let value = port_name::map_files(&port.value, |file| {
        inside_root(root, Path::new(file)).map(|path| path.to_string_lossy().into_owned())
    });
    match value {
        Ok(value) => Ok(Settled { value, ..port }),
        Err(message) => Err(Failure::usage(format!("{}: {message}", port.origin))),
    }
}

/// A path as its origin means it: one from the project's file is relative to that file.
fn inside(settings: &Settings, path: Settled<String>) -> Result<PathBuf, Failure> {
    match (&path.origin, settings.root()) {
        (Origin::File { .. }, Some(root)) => inside_root(root, Path::new(&path.value))
            .map_err(|message| Failure::new(Exit::Usage, format!("{}: {message}", path.origin))),
        _ => Ok(path.value.into()),
    }
}

/// The stub, whose file a project names relative to itself.
fn own_stub(settings: &Settings, stub: Settled<StubChoice>) -> Result<StubChoice, Failure> {
    match stub.value {
        StubChoice::File(path) => {
            let value = path.to_string_lossy().into_owned();
            inside(settings, Settled { value, origin: stub.origin }).map(StubChoice::File)
        }
        other => Ok(other),
    }
}

/// TinyGo's target: a name, or the path of a file, which a project's is relative to the project.
fn own_target(settings: &Settings, target: Settled<String>) -> Result<String, Failure> {
    if !target.value.ends_with(".json") {
        return Ok(target.value);
    }
    let path = inside(settings, target)?;
    // TinyGo is started in the package's directory.
    Ok(std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned())
}

/// A path of a project's file, which stays inside the project, also after symlinks are followed.
pub fn inside_root(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(plain) {
        return Err(format!("{} leaves the project", path.display()));
    }
    let joined = root.join(path);
    let here = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let Ok(real_root) = here.canonicalize() else { return Ok(joined) };
    // What is not there yet, such as an output, is judged by what is above it.
    for above in joined.ancestors().filter(|above| !above.as_os_str().is_empty()) {
        let leaves = match (above.canonicalize(), above.symlink_metadata()) {
            (Ok(real), _) => !real.starts_with(&real_root),
            // A link to nothing: what would be made there is not in the project for certain.
            (Err(_), Ok(_)) => true,
            (Err(_), Err(_)) => continue,
        };
        if leaves {
            return Err(format!("{} leaves the project through a symlink", path.display()));
        }
        break;
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;

    fn settle(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Project, Failure> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("esplice.toml"), file).unwrap();
        let variables = variables.iter().map(|(n, v)| (n.to_string(), v.to_string()));
        let settings = Settings::load(directory.path(), variables).unwrap();
        Project::from_settings(&settings, flags)
    }

    fn entry(project: &Project, section: &str, name: &str) -> String {
        let entry = project.entries.iter().find(|e| e.section == section && e.name == name);
        match &entry.unwrap().value {
            Some(set) => {
                let origin = set.origin.to_string();
                let origin = origin.rsplit('/').next().unwrap_or_default().to_owned();
                format!("{} ({origin})", set.value)
            }
            None => "-".into(),
        }
    }

    #[test]
    fn every_key_is_settled_in_its_order() {
        let project = settle("", &[], Flags::default()).unwrap();
        let settled: Vec<_> = project.entries.iter().map(|e| (e.section, e.name)).collect();
        let keys: Vec<_> = KEYS.iter().map(|key| (key.section, key.name)).collect();
        assert_eq!(settled, keys);
    }

    #[test]
    fn flags_stand_over_the_environment_over_the_file_over_the_chip() {
        let file = "[project]\ntarget = \"esp32c3\"\n[flash]\nbaud = 1\npartition = \"a\"\n\
                    with-bootloader = true\n[monitor]\ntimeout = \"3s\"\n";
        let variables = [("ESPLICE_FLASH_PARTITION", "b"), ("ESPLICE_MONITOR_TIMEOUT", "500ms")];
        let flags = Flags {
            flash: FlashArgs { partition: Some("c".into()), ..FlashArgs::default() },
            ..Flags::default()
        };
        let project = settle(file, &variables, flags).unwrap();
        assert_eq!(entry(&project, "flash", "partition"), "c (--partition)");
        assert_eq!(
            entry(&project, "monitor", "timeout"),
            "500ms (environment ESPLICE_MONITOR_TIMEOUT)"
        );
        assert_eq!(entry(&project, "flash", "baud"), "1 (esplice.toml:4)");
        assert_eq!(entry(&project, "flash", "with-bootloader"), "true (esplice.toml:6)");
        assert_eq!(entry(&project, "image", "flash-freq"), "80m (chip esp32c3)");
        assert_eq!(entry(&project, "build", "profile"), "release (default)");
        assert_eq!(entry(&project, "build", "bin"), "-");
        assert_eq!((project.baud, project.with_bootloader), (1, true));
    }

    #[test]
    fn a_board_stands_between_the_file_and_the_chip() {
        let project = settle("[project]\ntarget = \"xiao-esp32s3\"\n", &[], Flags::default());
        let project = project.unwrap();
        assert_eq!(project.target.as_ref().unwrap().value.name, "esp32s3");
        assert_eq!(project.board.unwrap().name, "xiao-esp32s3");
        assert_eq!(entry(&project, "project", "target"), "xiao-esp32s3 (esplice.toml:2)");
        assert_eq!(entry(&project, "image", "flash-size"), "8MB (board xiao-esp32s3)");
        assert_eq!(entry(&project, "image", "flash-freq"), "80m (chip esp32s3)");
        let file = "[project]\ntarget = \"XIAO_ESP32S3\"\n[image]\nflash-size = \"16MB\"\n";
        let project = settle(file, &[], Flags::default()).unwrap();
        assert_eq!(entry(&project, "image", "flash-size"), "16MB (esplice.toml:4)");
    }

    #[test]
    fn a_file_of_ones_own_brings_a_board() {
        let directory = tempfile::tempdir().unwrap();
        let own = "[board]\nname = \"my-board\"\ndisplay-name = \"Mine\"\nvendor = \"me\"\n\
                   url = \"\"\nchip = \"esp32c3\"\nflash-size = \"2MB\"\n\
                   [[usb]]\nkind = \"serial-jtag\"\n";
        let path = directory.path().join("mine.toml");
        std::fs::write(&path, own).unwrap();
        let flags = |file: &Path| Flags {
            target: TargetArgs { target: None, target_file: Some(file.to_owned()) },
            ..Flags::default()
        };
        let project = settle("", &[], flags(&path)).unwrap();
        assert_eq!(project.board.unwrap().name, "my-board");
        assert_eq!(entry(&project, "project", "target"), "my-board (--target-file)");
        assert_eq!(entry(&project, "image", "flash-size"), "2MB (board my-board)");

        std::fs::write(&path, own.replace("\"2MB\"", "\"3MB\"")).unwrap();
        let failure = settle("", &[], flags(&path)).unwrap_err();
        let message = "mine.toml: flash-size \"3MB\" has no code on the ESP32-C3";
        assert!(failure.message.ends_with(message), "{failure}");
        assert_eq!(failure.exit, Exit::BadInput);
        std::fs::write(&path, own.replace("flash-size", "flashsize")).unwrap();
        let failure = settle("", &[], flags(&path)).unwrap_err();
        assert_eq!(failure.hint.as_deref(), Some("did you mean \"flash-size\"?"));
        std::fs::write(&path, [0xff]).unwrap();
        let failure = settle("", &[], flags(&path)).unwrap_err();
        assert!(failure.message.contains("mine.toml is not UTF-8"), "{failure}");
        let file = "[project]\ntarget-file = \"../mine.toml\"\n";
        let failure = settle(file, &[], Flags::default()).unwrap_err();
        assert!(failure.message.ends_with("../mine.toml leaves the project"), "{failure}");
    }

    /// A feature named like a chip is as good as a target of the same place.
    #[test]
    fn features_name_the_chip_too() {
        let flag = |features: &str, target: Option<&str>| {
            let features = Some(features.split(' ').map(str::to_owned).collect());
            let target = target.map(str::to_owned);
            Flags {
                cargo: CargoArgs { features, ..CargoArgs::default() },
                target: TargetArgs { target, target_file: None },
                ..Flags::default()
            }
        };
        let chip = |file: &str, variables: &[(&str, &str)], flags: Flags| match settle(
            file, variables, flags,
        ) {
            Ok(project) => entry(&project, "project", "target"),
            Err(failure) => failure.message,
        };
        let file = "[project]\ntarget = \"xiao-esp32c3\"\n";
        assert_eq!(chip("", &[], flag("esp32c6 wifi", None)), "esp32c6 (--features)");
        assert_eq!(chip(file, &[], flag("esp32c6", None)), "esp32c6 (--features)");
        assert_eq!(chip(file, &[], flag("esp32c3", None)), "xiao-esp32c3 (esplice.toml:2)");
        assert_eq!(chip(file, &[], flag("wifi", None)), "xiao-esp32c3 (esplice.toml:2)");
        let both = chip(file, &[], flag("esp32c6", Some("esp32h2")));
        assert_eq!(
            both,
            "--target is for the ESP32-H2, and the feature esp32c6 of --features for the ESP32-C6"
        );
        let variable = [("ESPLICE_TARGET", "esp32h2")];
        assert_eq!(
            chip("[build]\nfeatures = [\"esp32c6\"]\n", &variable, Flags::default()),
            "esp32h2 (environment ESPLICE_TARGET)"
        );
        let same = format!("{file}[build]\nfeatures = [\"esp32c6\"]\n");
        assert!(chip(&same, &[], Flags::default()).contains("and the feature esp32c6 of "));
    }

    #[test]
    fn a_flag_for_an_example_stands_over_a_set_binary() {
        let file = "[build]\nbin = \"a\"\n";
        let flags = |example: Option<&str>| Flags {
            cargo: CargoArgs { example: example.map(str::to_owned), ..CargoArgs::default() },
            ..Flags::default()
        };
        let cargo = settle(file, &[], flags(Some("b"))).unwrap().cargo;
        assert_eq!((cargo.bin, cargo.example.as_deref()), (None, Some("b")));
        let cargo = settle(file, &[], flags(None)).unwrap().cargo;
        assert_eq!((cargo.bin.as_deref(), cargo.example), (Some("a"), None));
        assert!(settle(&format!("{file}example = \"b\"\n"), &[], flags(None)).is_err());
    }

    #[test]
    fn stacks_are_written_as_all_sizes() {
        for (written, bytes) in [("4K", 4096), ("4KB", 4096), ("4096", 4096), ("1000B", 1000)] {
            let file = format!("[build]\nstack-size = \"{written}\"\n");
            let project = settle(&file, &[], Flags::default()).unwrap();
            assert_eq!(project.go.stack_size, Some(bytes), "{written}");
        }
        let failure =
            settle("[build]\nstack-size = \"4 apples\"\n", &[], Flags::default()).unwrap_err();
        assert!(failure.message.ends_with("is not a size such as 4K or 4096"), "{failure}");
    }

    #[test]
    fn a_bad_value_names_its_place() {
        let variables = [("ESPLICE_MONITOR_TIMEOUT", "5")];
        let failure = settle("", &variables, Flags::default()).unwrap_err();
        assert_eq!(
            failure.message,
            "environment ESPLICE_MONITOR_TIMEOUT: monitor.timeout: \"5\" has no unit; \
             write it as 5s or 500ms"
        );
        let failure =
            settle("[project]\ntarget = \"esp32cc3\"\n", &[], Flags::default()).unwrap_err();
        assert!(
            failure.message.ends_with("esplice.toml:2: unknown chip or board \"esp32cc3\""),
            "{failure}"
        );
        assert_eq!(failure.hint.as_deref(), Some("did you mean \"esp32c3\"?"));
    }

    #[test]
    fn the_projects_paths_stay_inside_it() {
        let check = |file: &str, message: &str| {
            let failure = settle(file, &[], Flags::default()).unwrap_err();
            assert!(failure.message.ends_with(message), "{failure}");
        };
        check("[build]\noutput = \"../a.bin\"\n", "esplice.toml:2: ../a.bin leaves the project");
        check("[build]\noutput = \"/a.bin\"\n", "esplice.toml:2: /a.bin leaves the project");
        check(
            "[project]\nport = \"sim:esp32c3,flash=/dev/sda\"\n",
            "esplice.toml:2: /dev/sda leaves the project",
        );
        check(
            "[project]\nport = \"bench\"\n[ports.bench]\nport = \"sim:esp32c3,flash=a/../../b\"\n",
            "esplice.toml:4: a/../../b leaves the project",
        );
        // A variable is the user's own.
        let variables = [("ESPLICE_BUILD_OUTPUT", "../a.bin")];
        let project = settle("", &variables, Flags::default()).unwrap();
        assert_eq!(project.output.unwrap(), Path::new("../a.bin"));
    }

    #[test]
    fn ports_have_names() {
        let file = "[ports.bench]\nport = \"sim:esp32c3,flash=b.flash,time=none\"\n";
        let flags = Flags {
            port: PortArgs { port: Some("bench".into()), reset: None },
            ..Flags::default()
        };
        let port = settle(file, &[], flags).unwrap().port.unwrap().value;
        assert!(port.starts_with("sim:esp32c3,flash=/"), "{port}");
        assert!(port.ends_with("/b.flash,time=none"), "{port}");
    }
}
