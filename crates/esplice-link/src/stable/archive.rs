//! The files of a link: objects, and the archive members that the linker will use.

use std::collections::{HashMap, HashSet, VecDeque};

use object::read::archive::ArchiveFile;

use super::{StableError, object::Object, split::split_object};

/// A file on the linker's command line.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Name without directory. Archives keep their names because scripts refer to them.
    pub name: String,
    /// Contents of the file.
    pub bytes: Vec<u8>,
    /// True if the archive is linked as a whole (`--whole-archive`). Such an archive is not
    /// changed.
    pub whole: bool,
}

/// An object of the link, split.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Index of the input that it is or belongs to.
    pub input: usize,
    /// Name of the archive member.
    pub member: Option<String>,
    pub bytes: Vec<u8>,
}

const MAGIC: &[u8] = b"!<arch>\n";

/// Returns the objects among `inputs`, and those archive members that they, the `asked` symbols, or
/// other members need. As in lld, the first member that defines a symbol is used. Files that can't
/// be read are left out and stay unchanged.
pub(crate) fn units(inputs: &[InputFile], asked: &[String]) -> Vec<Unit> {
    let mut pulling = Pulling::default();
    pulling.wanted.extend(asked.iter().cloned());
    let mut archives = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        if input.bytes.starts_with(MAGIC) {
            let archive = ArchiveFile::parse(&*input.bytes).ok();
            let archive = archive.filter(|archive| !archive.is_thin() && !input.whole);
            let Some(archive) = archive else { continue };
            let Ok(Some(symbols)) = archive.symbols() else { continue };
            for symbol in symbols.flatten() {
                let Ok(name) = std::str::from_utf8(symbol.name()) else { continue };
                let member = (archives.len(), symbol.offset());
                pulling.lazy.entry(name.to_owned()).or_insert(member);
            }
            archives.push((number, archive));
        } else {
            pulling.add(Unit { input: number, member: None, bytes: input.bytes.clone() });
        }
    }
    let mut taken = HashSet::new();
    while let Some(name) = pulling.wanted.pop_front() {
        if pulling.defined.contains(&name) {
            continue;
        }
        let Some(&(archive, offset)) = pulling.lazy.get(&name) else { continue };
        if !taken.insert((archive, offset.0)) {
            continue;
        }
        let Some((number, archive)) = archives.get(archive) else { continue };
        let Some(input) = inputs.get(*number) else { continue };
        let Ok(member) = archive.member(offset) else { continue };
        let (Ok(data), Ok(name)) = (member.data(&*input.bytes), std::str::from_utf8(member.name()))
        else {
            continue;
        };
        let unit = Unit { input: *number, member: Some(name.into()), bytes: data.to_vec() };
        pulling.add(unit);
    }
    pulling.units.sort_by_key(|unit| unit.input);
    pulling.units
}

#[derive(Default)]
struct Pulling {
    units: Vec<Unit>,
    defined: HashSet<String>,
    wanted: VecDeque<String>,
    /// Symbols of archives, with the first archive and member that define them.
    lazy: HashMap<String, (usize, object::read::archive::ArchiveOffset)>,
}

impl Pulling {
    fn add(&mut self, mut unit: Unit) {
        let Ok(object) = Object::read(&unit.bytes) else { return };
        for symbol in object.symbols.iter().filter(|symbol| !symbol.local) {
            if !symbol.undefined {
                self.defined.insert(symbol.name.to_owned());
            } else if !symbol.weak && !self.defined.contains(symbol.name) {
                self.wanted.push_back(symbol.name.to_owned());
            }
        }
        let split = split_object(&unit.bytes).map(std::borrow::Cow::into_owned);
        if let Ok(split) = split {
            unit.bytes = split;
            self.units.push(unit);
        }
    }
}

/// Name and contents of an archive member.
pub(crate) type Member<'a> = (&'a str, Vec<u8>);

/// Writes an archive of these members, without an index: lld reads the members themselves.
///
/// # Errors
/// [`StableError::Object`] if a member is longer than an archive header can state.
pub(crate) fn write_archive(members: &[Member<'_>]) -> Result<Vec<u8>, StableError> {
    // A name of 15 characters and a slash fits the header (ar(5), System V and GNU variant).
    const SHORT: usize = 15;
    let mut names = Vec::new();
    let mut heads = Vec::new();
    for (name, _) in members {
        if name.len() <= SHORT && !name.contains('/') {
            heads.push(format!("{name}/"));
        } else {
            heads.push(format!("/{}", names.len()));
            names.extend_from_slice(name.as_bytes());
            names.extend_from_slice(b"/\n");
        }
    }
    let mut archive = MAGIC.to_vec();
    if !names.is_empty() {
        add_member(&mut archive, "//", &names)?;
    }
    for (head, (_, bytes)) in heads.iter().zip(members) {
        add_member(&mut archive, head, bytes)?;
    }
    Ok(archive)
}

fn add_member(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) -> Result<(), StableError> {
    let len = bytes.len();
    // The field has ten decimal digits (ar(5)).
    if len > 9_999_999_999_usize {
        return Err(StableError::Object { message: format!("{len} bytes in an archive") });
    }
    archive.extend_from_slice(
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`\n", 0, 0, 0, 644).as_bytes(),
    );
    archive.extend_from_slice(bytes);
    if len % 2 == 1 {
        archive.push(b'\n');
    }
    Ok(())
}
