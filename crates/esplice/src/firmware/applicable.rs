//! Refuses flags that have no effect on the source that is built, so that nobody relies on them.

use crate::{config::build::Given, firmware::source::Source, ui::exit::Failure};

/// Refuses flags of cargo for sources that cargo does not build, and those of TinyGo likewise.
///
/// # Errors
/// Names the first such flag, and its replacement if there is one.
pub fn check(given: &Given, source: &Source) -> Result<(), Failure> {
    let is = match source {
        Source::Project { directory, .. } => format!("{} is a cargo project", directory.display()),
        Source::Go(path) => format!("{} is a Go package", path.display()),
        Source::Elf { path, .. } | Source::Image { path, .. } | Source::Places { path, .. } => {
            format!("{} is already compiled", path.display())
        }
    };
    let cargo = (&given.cargo, !matches!(source, Source::Project { .. }), "cargo projects");
    let go = (&given.go, !matches!(source, Source::Go(_)), "Go packages");
    for (flags, is_foreign, whose) in [cargo, go] {
        let Some(flag) = flags.first().filter(|_| is_foreign) else { continue };
        let failure = Failure::usage(format!("{flag} is for {whose}, and {is}"));
        return Err(match instead(flag, source) {
            Some(instead) => failure.hint(instead),
            None => failure.hint(format!("leave {flag} out")),
        });
    }
    Ok(())
}

/// Refuses all flags of cargo and TinyGo, for what another tool builds.
pub fn check_built(given: &Given, what: &str) -> Result<(), Failure> {
    match given.cargo.iter().chain(&given.go).next() {
        Some(flag) => {
            let message = format!("{flag} is not for {what}");
            Err(Failure::usage(message).hint(format!("leave {flag} out")))
        }
        None => Ok(()),
    }
}

/// Returns the equivalent of a flag in the other language.
fn instead(flag: &str, source: &Source) -> Option<&'static str> {
    match (flag, source) {
        ("--features", Source::Go(_)) => Some("Go has build tags: --tags"),
        ("--package" | "--bin" | "--example", Source::Go(_)) => {
            Some("give the directory of the Go package")
        }
        ("--profile" | "--release", Source::Go(_)) => Some("TinyGo has levels: --opt"),
        ("--tags", Source::Project { .. }) => Some("cargo has features: --features"),
        ("--opt", Source::Project { .. }) => Some("cargo has profiles: --profile"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_other_language_are_refused() {
        let go = || Source::Go("fw".into());
        let cargo = || Source::Project { directory: "fw".into(), main: None };
        let check = |flags: [&'static str; 1], is_cargo: bool, source: Source, expected: &str| {
            let mut given = Given::default();
            *if is_cargo { &mut given.cargo } else { &mut given.go } = flags.to_vec();
            let said = match check(&given, &source) {
                Ok(()) => String::new(),
                Err(failure) => format!("{failure} | {}", failure.hint.clone().unwrap_or_default()),
            };
            assert_eq!(said, expected);
        };
        check(["--bin"], true, cargo(), "");
        check(["--tags"], false, go(), "");
        check(
            ["--features"],
            true,
            go(),
            "--features is for cargo projects, and fw is a Go package | Go has build tags: --tags",
        );
        check(
            ["--tags"],
            false,
            cargo(),
            "--tags is for Go packages, and fw is a cargo project | cargo has features: --features",
        );
        check(
            ["--locked"],
            true,
            Source::Image { path: "a.bin".into(), bytes: Vec::new() },
            "--locked is for cargo projects, and a.bin is already compiled | leave --locked out",
        );
    }
}
