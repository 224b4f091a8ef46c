//! Names of ports, as far as they say something before a port is opened.

use esplice_flash::{RFC2217_SCHEME, TCP_SCHEMES};

/// Beginning of a virtual board's name.
pub const SIM: &str = "sim:";

/// Beginnings of names that say themselves where the port is.
pub const SCHEMES: [&str; 4] = [SIM, TCP_SCHEMES[0], TCP_SCHEMES[1], RFC2217_SCHEME];

/// Whether a port called `name` is known to have no reset line, before it is opened: TCP carries bytes
/// alone.
pub fn lacks_lines(name: &str) -> bool {
    TCP_SCHEMES.iter().any(|scheme| name.starts_with(scheme))
}

/// Keys of a virtual board's name whose values are files.
const SIM_FILES: &[&str] = &["flash", "rom", "faults"];

/// Gives the files that a port's name carries, as `flash=FILE` of a virtual board, other names.
pub fn map_files(
    name: &str,
    mut map: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let Some(spec) = name.strip_prefix(SIM) else { return Ok(name.to_owned()) };
    let parts: Result<Vec<String>, String> = spec
        .split(',')
        .map(|part| match part.split_once('=') {
            Some((key, file)) if SIM_FILES.contains(&key) => Ok(format!("{key}={}", map(file)?)),
            _ => Ok(part.to_owned()),
        })
        .collect();
    Ok(format!("{SIM}{}", parts?.join(",")))
}
