//! Reads the map that lld writes with `-Map`.

/// An input section in an output section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub output: &'a str,
    /// Offset from the start of the output section.
    pub offset: u32,
    pub size: u32,
    /// The file or archive.
    pub file: &'a str,
    pub member: Option<&'a str>,
    pub section: &'a str,
}

/// Returns the input sections of a map, in order. Lines of other kinds are skipped.
pub(crate) fn lines(map: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut output: Option<(&str, u32)> = None;
    for line in map.lines() {
        let Some((addr, size, indent, name)) = columns(line) else { continue };
        match indent {
            0 => output = Some((name, addr)),
            8 => {
                let Some((output, start)) = output else { continue };
                let Some((file, section)) = name.strip_suffix(')').and_then(split_name) else {
                    continue;
                };
                let (file, member) = match file.strip_suffix(')').and_then(|f| f.rsplit_once('(')) {
                    Some((archive, member)) => (archive, Some(member)),
                    None => (file, None),
                };
                let Some(offset) = addr.checked_sub(start) else { continue };
                lines.push(Line { output, offset, size, file, member, section });
            }
            _ => {}
        }
    }
    lines
}

/// Returns address, size, indentation of the name, and the name.
fn columns(line: &str) -> Option<(u32, u32, usize, &str)> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start_matches(' ');
        let (word, after) = rest.split_once(' ')?;
        rest = after;
        Some(word)
    };
    let addr = u32::from_str_radix(word()?, 16).ok()?;
    let _load = u32::from_str_radix(word()?, 16).ok()?;
    let size = u32::from_str_radix(word()?, 16).ok()?;
    let _align: u32 = word()?.parse().ok()?;
    let name = rest.trim_start_matches(' ');
    Some((addr, size, rest.len() - name.len(), name))
}

fn split_name(name: &str) -> Option<(&str, &str)> {
    let at = name.rfind(":(")?;
    Some((name.get(..at)?, name.get(at + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_lld_are_read() {
        let map = "     VMA      LMA     Size Align Out     In      Symbol
3c000020 3c000020      100    16 .rodata
3c000020 3c000020        0     1         . = ALIGN ( 4 )
3c000024 3c000024       11     1         /t/a b(1).o:(.rodata..Lanon.1.2)
3c000024 3c000024       11     1                 .Lanon.1.2
3c000038 3c000038        4     4         /t/libx-1.rlib(m.o):(.rodata.cst4.p12)
3c000040 3c000040        4     4         <internal>:(.rodata.str)
       0        0      123     1 .debug_info
";
        let read = lines(map);
        let first = Line {
            output: ".rodata",
            offset: 4,
            size: 0x11,
            file: "/t/a b(1).o",
            member: None,
            section: ".rodata..Lanon.1.2",
        };
        assert_eq!(read.first(), Some(&first));
        assert_eq!(read.get(1).map(|l| (l.file, l.member)), Some(("/t/libx-1.rlib", Some("m.o"))));
        assert_eq!(read.len(), 3);
    }
}
