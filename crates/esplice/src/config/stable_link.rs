//! The link options of a project, as arguments for esplice as the linker.

use std::path::{Path, PathBuf};

use esplice_layout::StableSpec;

use crate::{
    config::{paths::inside_root, settings::Settings},
    ui::exit::{Exit, Failure},
};

/// Returns the arguments for a layout-stable link, if `flag` or the settings file requests one.
///
/// # Errors
/// Fails if the record would be outside the project.
pub fn link_arguments(
    settings: &Settings,
    flag: bool,
    fresh: bool,
) -> Result<Option<Vec<String>>, Failure> {
    let spec = settings.layout().map(|layout| layout.stable.clone()).unwrap_or_default();
    if !flag && !spec.on.as_ref().is_some_and(|on| on.value) {
        return Ok(None);
    }
    let mut arguments = arguments(&spec, settings.root())?;
    if fresh {
        arguments.push("--esplice-fresh".into());
    }
    Ok(Some(arguments))
}

/// Returns the arguments for a link that cargo started on its own, for a project whose settings
/// file is in `directory` or above. A file with `stable = false` still enables the checks.
///
/// # Errors Fails if the file cannot be read or is invalid.
pub fn link_arguments_under_cargo(directory: &Path) -> Result<Vec<String>, String> {
    let settings = Settings::load(directory, []).map_err(|failure| failure.to_string())?;
    let Some(root) = settings.root() else { return Ok(Vec::new()) };
    let spec = settings.layout().cloned().unwrap_or_default();
    let off = spec.stable.on.as_ref().is_some_and(|on| !on.value);
    let mut all = match off {
        true => vec!["--esplice-plain".to_owned()],
        false => arguments(&spec.stable, Some(root)).map_err(|failure| failure.message)?,
    };
    let unloaded = spec.arenas.iter().filter(|arena| arena.fill.is_none());
    let unloaded: Vec<&str> = unloaded.map(|arena| arena.name.value.as_str()).collect();
    if !unloaded.is_empty() {
        all.push(format!("--esplice-arenas={}", unloaded.join(",")));
    }
    let is_unloaded = |no_load: &esplice_layout::At<bool>| no_load.value;
    for section in &spec.sections {
        if section.no_load.as_ref().is_some_and(is_unloaded) {
            all.push(format!("--esplice-no-load={}={}", section.name.value, section.pattern.value));
        }
    }
    Ok(all)
}

fn arguments(spec: &StableSpec, root: Option<&Path>) -> Result<Vec<String>, Failure> {
    let mut arguments = Vec::new();
    if let Some(record) = &spec.record {
        let path = inside_root(root.unwrap_or(Path::new("")), Path::new(&record.value))
            .map_err(|what| Failure::new(Exit::Usage, format!("{}: {what}", record.place)))?;
        let path: PathBuf = std::path::absolute(&path).unwrap_or(path);
        arguments.push(format!("--esplice-record={}", path.display()));
    }
    let room = esplice_link::stable::Settings::default();
    for (key, (bytes, percent), default) in
        [("code-slack", spec.code, room.code), ("text-slack", spec.text, room.texts)]
    {
        if bytes.is_some() || percent.is_some() {
            let (bytes, percent) = (bytes.unwrap_or(default.0), percent.unwrap_or(default.1));
            arguments.push(format!("--esplice-{key}={bytes}+{percent}"));
        }
    }
    arguments.extend(spec.waste.map(|percent| format!("--esplice-waste={percent}")));
    arguments.extend(spec.tails.iter().map(|(name, len)| format!("--esplice-tail={name}+{len}")));
    Ok(arguments)
}
