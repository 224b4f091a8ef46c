//! Resolves all settings of a command once: flags override the environment, which overrides
//! `esplice.toml`, the board's defaults and the chip's. No later stage reads settings.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use esplice_chip::{Board, Chip, ChipDb};

use crate::{
    cli::{
        args::{
            BoardArgs, CargoArgs, FirmwareArgs, FlashArgs, GoArgs, ImageArgs, PortArgs, SizeArgs,
            TargetArgs, WatchArgs,
        },
        value,
    },
    config::{
        build::BuildConfig,
        flash::FlashConfig,
        image::ImageConfig,
        monitor::MonitorConfig,
        paths::inside_root,
        port_name,
        settings::{Origin, Settings, Settled},
        settler::{Entry, Settler},
        size::SizeConfig,
        target::{Hardware, added_target, target_called, target_of_features},
    },
    ui::exit::Failure,
};

/// The flags of a command that are settings too; a command leaves out those it does not take.
#[derive(Debug, Default)]
pub struct Flags {
    pub target: TargetArgs,
    pub cargo: CargoArgs,
    pub go: GoArgs,
    pub image: ImageArgs,
    pub port: PortArgs,
    pub flash: FlashArgs,
    pub watch: WatchArgs,
    pub size: SizeArgs,
    pub output: Option<PathBuf>,
}

/// The settings that a command works with, by stage.
#[derive(Debug)]
pub struct Project {
    /// The known chips and boards: the embedded ones and that of the target file.
    pub chips: ChipDb,
    pub target: Option<Settled<Arc<Chip>>>,
    /// The file of a custom chip or board.
    pub target_file: Option<PathBuf>,
    /// The board, if the target is one.
    pub board: Option<Arc<Board>>,
    pub port: Option<Settled<String>>,
    /// The `[ports.NAME]` names, each with its port.
    pub port_aliases: Vec<(String, String)>,
    pub build: BuildConfig,
    pub image: ImageConfig,
    pub flash: FlashConfig,
    pub monitor: MonitorConfig,
    pub size: SizeConfig,
    /// Every setting in the order of [`crate::config::keys::KEYS`].
    pub entries: Vec<Entry>,
}

impl Project {
    /// Resolves `flags` on top of the environment and the settings file of the project in
    /// `directory`.
    pub fn settle(directory: &Path, flags: Flags) -> Result<Project, Failure> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Project::from_settings(&Settings::load(directory, variables)?, flags)
    }

    /// Returns the chip that the settings name.
    pub fn chip(&self) -> Option<&Arc<Chip>> {
        self.target.as_ref().map(|target| &target.value)
    }

    /// Returns the crystal frequency in MHz: the board's, if it has `chip`, else the chip's usual
    /// one.
    pub fn xtal_mhz(&self, chip: &Chip) -> u32 {
        let board = self.board.as_ref().filter(|board| board.chip.name == chip.name);
        board.and_then(|board| board.xtal_mhz).unwrap_or(chip.xtal_mhz)
    }

    fn from_settings(settings: &Settings, flags: Flags) -> Result<Project, Failure> {
        let mut s = Settler::new(settings);
        let file = flags.target.target_file.map(|file| file.to_string_lossy().into_owned());
        let file = s.text("project", "target-file", file)?;
        let mut chips = ChipDb::default();
        let of_file = file.map(|file| added_target(settings, file, &mut chips)).transpose()?;
        let (target_file, of_file) = match of_file {
            Some((path, t)) => {
                (Some(path), Some(Settled { value: t.value.name().into(), origin: t.origin }))
            }
            None => (None, None),
        };
        let target = s.value("project", "target", &value::TEXT, flags.target.target, of_file)?;
        let target = target.map(|name| target_called(name, &chips)).transpose()?;
        let port = s.text("project", "port", flags.port.port)?;
        let port = port.map(|port| board_port(settings, port)).transpose()?;

        let mut build = BuildConfig::settle(&mut s, settings, flags.cargo, flags.go, flags.output)?;
        let features = s.settled("build", "features");
        let target = target_of_features(target, &build.cargo.features, features, &chips)?;
        s.replace(
            "project",
            "target",
            target
                .as_ref()
                .map(|t| Settled { value: t.value.name().into(), origin: t.origin.clone() }),
        );
        let board = target.as_ref().and_then(|target| target.value.board().cloned());
        let target = target.map(|t| Settled { value: t.value.chip().clone(), origin: t.origin });
        build.cargo.chips = chips.clone();
        build.go.board_targets =
            board.as_ref().map(|b| b.tinygo_targets.clone()).unwrap_or_default();
        let hardware = Hardware {
            board: board.as_deref(),
            chip: target.as_ref().map(|target| &*target.value),
        };

        let image = ImageConfig::settle(&mut s, settings, flags.image, hardware)?;
        let flash = FlashConfig::settle(&mut s, settings, flags.flash, flags.port.reset)?;
        let monitor = MonitorConfig::settle(&mut s, settings, flags.watch, hardware)?;
        let size = SizeConfig::settle(&mut s, &flags.size)?;
        let port_aliases = settings.ports().map(|(a, p)| (a.to_owned(), p.value.clone())).collect();
        Ok(Project {
            chips,
            target,
            target_file,
            board,
            port,
            port_aliases,
            build,
            image,
            flash,
            monitor,
            size,
            entries: s.entries,
        })
    }
}

impl FirmwareArgs {
    /// Resolves these flags and `others` on top of the settings of the source's project.
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
    /// Resolves these flags on top of the settings of the project in the current directory.
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

/// Returns the port that `port` names: itself, or that of a `[ports.NAME]`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::keys::KEYS, ui::exit::Exit};

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
        assert_eq!((project.flash.baud, project.flash.with_bootloader), (1, true));
    }

    #[test]
    fn a_board_stands_between_the_file_and_the_chip() {
        let project = settle("[project]\ntarget = \"xiao-esp32s3\"\n", &[], Flags::default());
        let project = project.unwrap();
        assert_eq!(project.target.as_ref().unwrap().value.name, "esp32s3");
        assert_eq!(project.board.as_ref().unwrap().name, "xiao-esp32s3");
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
        assert_eq!(project.board.as_ref().unwrap().name, "my-board");
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

    /// A feature named like a chip counts as a target setting of the same origin.
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
        let cargo = settle(file, &[], flags(Some("b"))).unwrap().build.cargo;
        assert_eq!((cargo.bin, cargo.example.as_deref()), (None, Some("b")));
        let cargo = settle(file, &[], flags(None)).unwrap().build.cargo;
        assert_eq!((cargo.bin.as_deref(), cargo.example), (Some("a"), None));
        assert!(settle(&format!("{file}example = \"b\"\n"), &[], flags(None)).is_err());
    }

    #[test]
    fn stacks_are_written_as_all_sizes() {
        for (written, bytes) in [("4K", 4096), ("4KB", 4096), ("4096", 4096), ("1000B", 1000)] {
            let file = format!("[build]\nstack-size = \"{written}\"\n");
            let project = settle(&file, &[], Flags::default()).unwrap();
            assert_eq!(project.build.go.stack_size, Some(bytes), "{written}");
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
        // A path in an environment variable may leave the project.
        let variables = [("ESPLICE_BUILD_OUTPUT", "../a.bin")];
        let project = settle("", &variables, Flags::default()).unwrap();
        assert_eq!(project.build.output.unwrap(), Path::new("../a.bin"));
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
