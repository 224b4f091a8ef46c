//! Names of ports, as far as they say something before a port is opened.

use esplice_flash::{RFC2217_SCHEME, TCP_SCHEMES};

/// Prefix of a virtual board's name.
pub const SIM: &str = "sim:";

/// Prefixes of names that describe the connection themselves.
pub const SCHEMES: [&str; 4] = [SIM, TCP_SCHEMES[0], TCP_SCHEMES[1], RFC2217_SCHEME];

/// Returns whether a port called `name` is known to have no reset lines before it is opened: raw
/// TCP carries only bytes.
pub fn lacks_lines(name: &str) -> bool {
    TCP_SCHEMES.iter().any(|scheme| name.starts_with(scheme))
}

/// Keys of a virtual board's name whose values are files.
const SIM_FILES: &[&str] = &["flash", "rom", "faults"];

/// Replaces the file names within a port's name, such as `flash=FILE` of a virtual board.
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
