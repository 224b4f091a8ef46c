//! Settings of the `build` stage: from source to ELF.

use std::path::PathBuf;

use esplice_layout::Spec;
use esplice_toolchain::{CargoOptions, TinyGoOptions};

use crate::{
    cli::{
        args::{CargoArgs, GoArgs},
        value,
    },
    config::{
        paths::inside,
        settings::{Origin, Settings, Settled},
        settler::Settler,
        stable_link,
    },
    ui::exit::Failure,
};

/// Settings of the `build` stage.
#[derive(Debug)]
pub struct BuildConfig {
    /// Options of cargo. The layout and the variables are added once the chip is known.
    pub cargo: CargoOptions,
    pub go: TinyGoOptions,
    /// Flags that only cargo projects, and only Go packages, can use.
    pub given: Given,
    /// The file that the image is written to.
    pub output: Option<PathBuf>,
    /// `[layout]` as written; none where it is about stable links only.
    pub layout: Option<Spec>,
    /// True if there is a `[layout]` that is about stable links only.
    pub only_stable: bool,
    /// Arguments for esplice as the linker, where a layout-stable link was requested.
    pub stable: Option<Vec<String>>,
}

impl BuildConfig {
    /// Resolves the keys of `[build]`, in their order.
    pub fn settle(
        s: &mut Settler<'_>,
        settings: &Settings,
        cargo: CargoArgs,
        go: GoArgs,
        output: Option<PathBuf>,
    ) -> Result<BuildConfig, Failure> {
        let given = Given { cargo: cargo.given(), go: go.given() };
        let package = s.text("build", "package", cargo.package)?;
        let by_flag = cargo.bin.is_some() || cargo.example.is_some();
        let bin = s.text("build", "bin", cargo.bin)?;
        let example = s.text("build", "example", cargo.example)?;
        let (bin, example) = one_of(bin, example, by_flag)?;
        let features = s.list("build", "features", cargo.features)?;
        let no_default_features =
            s.switch("build", "no-default-features", cargo.no_default_features)?;
        let profile = cargo.profile.or(cargo.release.then(|| "release".to_owned()));
        let profile = s.or("build", "profile", &value::TEXT, profile, "release".to_owned())?;
        let stable =
            stable_link::link_arguments(settings, cargo.stable || cargo.fresh, cargo.fresh)?;
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
        let output = output.map(|output| output.to_string_lossy().into_owned());
        let output = s.text("build", "output", output)?;
        let output = output.map(|output| inside(settings, output)).transpose()?;

        Ok(BuildConfig {
            cargo: CargoOptions::default()
                .package(package.map(|p| p.value))
                .bin(bin)
                .example(example)
                .features(features)
                .no_default_features(no_default_features)
                .all_features(cargo.all_features)
                .profile(Some(profile.value))
                .target_dir(cargo.target_dir)
                .locked(cargo.locked || cargo.frozen)
                .offline(cargo.offline || cargo.frozen)
                .link_args(link_args.clone()),
            // Board and layout are resolved for the chip, once that is known.
            go: TinyGoOptions::default()
                .target(tinygo_target)
                .tags(tags)
                .opt(opt)
                .gc(gc)
                .scheduler(scheduler)
                .serial(serial)
                .panic(panic)
                .stack_size(stack_size.map(|size| size.value))
                .ldflags(ldflags)
                .link_args(link_args),
            given,
            output,
            layout: settings.layout().filter(|spec| !spec.is_stable_alone()).cloned(),
            only_stable: settings.layout().is_some_and(Spec::is_stable_alone),
            stable,
        })
    }
}

/// Flags of the command line that fit only one kind of source.
#[derive(Debug, Default)]
pub struct Given {
    /// Flags for cargo projects.
    pub cargo: Vec<&'static str>,
    /// Flags for Go packages.
    pub go: Vec<&'static str>,
}

/// Returns the binary or the example. A flag takes precedence over a setting.
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

/// Resolves TinyGo's target: a name, or the path of a file, relative to the project if it comes
/// from the settings file.
fn own_target(settings: &Settings, target: Settled<String>) -> Result<String, Failure> {
    if !target.value.ends_with(".json") {
        return Ok(target.value);
    }
    let path = inside(settings, target)?;
    // TinyGo starts in the package's directory.
    Ok(std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned())
}
