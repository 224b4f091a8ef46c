//! The files of a link: objects, and those members of archives that the linker will take.

use std::collections::{HashMap, HashSet, VecDeque};

use object::read::archive::ArchiveFile;

use super::{StableError, object::Object, split::split_object};

/// A file of the linker's command line.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Its name, without directory. Archives keep theirs, which scripts ask for.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// An archive that is taken as a whole (`--whole-archive`): it is left alone.
    pub whole: bool,
}

/// An object that is linked, split.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Which input it is or is in.
    pub input: usize,
    /// Its name in an archive.
    pub member: Option<String>,
    pub bytes: Vec<u8>,
}

const MAGIC: &[u8] = b"!<arch>\n";

/// The objects among `inputs`, and of their archives the members that are needed by them, by
/// `asked` symbols or by each other: the first that has a symbol, as lld takes them. What cannot be
/// read is left out and stays as it is.
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
    /// Symbols of archives: the first archive and member that have them.
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

/// A member's name and contents.
pub(crate) type Member<'a> = (&'a str, Vec<u8>);

/// An archive of these members, without an index: lld reads the members themselves.
///
/// # Errors
/// [`StableError::Object`] where a member is longer than an archive's header can tell.
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
    // Ten decimal places (ar(5)).
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
