//! Reads `[layout]` of a TOML file key by key, with the line of each.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{
    ArenaSpec, At, Cause, HeapSpec, LayoutError, Place, ReserveSpec, SectionSpec, Size, Spec,
    StableSpec, StackSpec,
};

const LAYOUT: &[&str] = &[
    "base",
    "linker",
    "code",
    "heap",
    "arena",
    "stack",
    "section",
    "reserve",
    "stable",
    "stable-record",
    "stable-room",
    "stable-tails",
];
const HEAP: &[&str] = &["region", "size", "align", "symbols", "limit"];
const ARENA: &[&str] = &["name", "region", "size", "align", "fill", "no-load", "keep"];
const STACK: &[&str] = &["main", "goroutine"];
const SECTION: &[&str] = &["name", "pattern", "region", "align", "no-load"];
const RESERVE: &[&str] = &["name", "start", "size"];
const ROOM: &[&str] = &["code", "code-percent", "text", "text-percent", "waste-percent"];

/// Maximum number of arenas, sections and the like in a layout. The checks compare each with each.
const MOST: usize = 1024;

pub(crate) fn read(file: &str, text: &str) -> Result<Option<Spec>, LayoutError> {
    let newlines: Vec<usize> =
        text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let source = Source { file, newlines: &newlines };
    let document = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().trim_end().to_owned();
        Cause::Toml { message }.at(&source.place(offset))
    })?;
    let Some((key, layout)) = document.get_ref().iter().find(|(key, _)| key.get_ref() == "layout")
    else {
        return Ok(None);
    };
    let place = source.place(key.span().start);
    let table = Table::of(source, "layout", layout, place)?;
    table.knows(LAYOUT)?;

    let mut spec = Spec {
        base: table.parsed("base", |text| text.parse())?,
        linker: table.parsed("linker", |text| text.parse())?,
        code: table.size("code")?.map(|(size, _)| size),
        ..Spec::default()
    };
    if let Some(heap) = table.table("heap")? {
        spec.heap = Some(read_heap(&heap)?);
    }
    for arena in table.tables("arena")? {
        spec.arenas.push(read_arena(&arena)?);
    }
    if let Some(stack) = table.table("stack")? {
        stack.knows(STACK)?;
        spec.stack = StackSpec { main: stack.size("main")?, goroutine: stack.size("goroutine")? };
    }
    for section in table.tables("section")? {
        spec.sections.push(read_section(&section)?);
    }
    for reserve in table.tables("reserve")? {
        spec.reserves.push(read_reserve(&reserve)?);
    }
    spec.stable = read_stable(&table)?;
    Ok(Some(spec))
}

fn read_stable(table: &Table<'_>) -> Result<StableSpec, LayoutError> {
    let mut stable = StableSpec {
        on: table.switch("stable")?,
        record: table.text("stable-record")?,
        ..StableSpec::default()
    };
    if let Some(room) = table.table("stable-room")? {
        room.knows(ROOM)?;
        stable.code = (room.bytes("code")?, room.percent("code-percent")?);
        stable.text = (room.bytes("text")?, room.percent("text-percent")?);
        stable.waste = room.percent("waste-percent")?;
    }
    if let Some(tails) = table.table("stable-tails")? {
        table.counted("stable-tails", tails.content.len(), &tails.place)?;
        for name in tails.content.keys() {
            let name = name.get_ref();
            if let Some(bytes) = tails.bytes(name)? {
                stable.tails.push((name.to_string(), bytes));
            }
        }
    }
    Ok(stable)
}

/// Returns the chip or board that `[project]` of a file names; none if the file is not TOML or
/// names none.
pub fn project_target(text: &str) -> Option<String> {
    project_text(text, "target")
}

/// Returns the path of the chip or board file that `[project]` of a file names, relative to that
/// file; none if the file is not TOML or names none.
pub fn project_target_file(text: &str) -> Option<String> {
    project_text(text, "target-file")
}

fn project_text(text: &str, key: &str) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let project = entry(document.get_ref(), "project")?;
    let DeValue::Table(project) = project.get_ref() else { return None };
    match entry(project, key)?.get_ref() {
        DeValue::String(value) => Some(value.to_string()),
        _ => None,
    }
}

fn entry<'a>(table: &'a DeTable<'a>, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

fn read_heap(table: &Table<'_>) -> Result<HeapSpec, LayoutError> {
    table.knows(HEAP)?;
    let (size, written) = table.needed("size", table.size("size")?)?;
    let (limit, limit_written) = match table.size("limit")? {
        Some((limit, written)) => (Some(limit), written),
        None => (None, String::new()),
    };
    Ok(HeapSpec {
        place: table.place.clone(),
        region: table.text("region")?,
        size,
        written,
        align: table.number("align")?,
        symbols: table.texts("symbols")?,
        limit,
        limit_written,
    })
}

fn read_arena(table: &Table<'_>) -> Result<ArenaSpec, LayoutError> {
    table.knows(ARENA)?;
    let name = table.needed("name", table.text("name")?)?;
    let (size, written) = table.needed("size", table.size("size")?)?;
    Ok(ArenaSpec {
        place: table.place.clone(),
        name,
        region: table.text("region")?,
        size,
        written,
        align: table.number("align")?,
        fill: table.number("fill")?,
        no_load: table.switch("no-load")?,
        keep: table.switch("keep")?,
    })
}

fn read_section(table: &Table<'_>) -> Result<SectionSpec, LayoutError> {
    table.knows(SECTION)?;
    Ok(SectionSpec {
        place: table.place.clone(),
        name: table.needed("name", table.text("name")?)?,
        pattern: table.needed("pattern", table.text("pattern")?)?,
        region: table.needed("region", table.text("region")?)?,
        align: table.number("align")?,
        no_load: table.switch("no-load")?,
    })
}

fn read_reserve(table: &Table<'_>) -> Result<ReserveSpec, LayoutError> {
    table.knows(RESERVE)?;
    let (size, written) = table.needed("size", table.size("size")?)?;
    Ok(ReserveSpec {
        place: table.place.clone(),
        name: table.needed("name", table.text("name")?)?,
        start: table.needed("start", table.number("start")?)?,
        size,
        written,
    })
}

#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a str,
    /// Offsets of the line ends.
    newlines: &'a [usize],
}

impl Source<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.newlines.partition_point(|newline| *newline < offset);
        Place::new(self.file, u32::try_from(before).unwrap_or(u32::MAX - 1) + 1)
    }
}

/// A table of the file, with its name in messages.
struct Table<'a> {
    source: Source<'a>,
    name: String,
    place: Place,
    content: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    fn of(
        source: Source<'a>,
        name: &str,
        value: &'a Spanned<DeValue<'a>>,
        place: Place,
    ) -> Result<Table<'a>, LayoutError> {
        match value.get_ref() {
            DeValue::Table(content) => Ok(Table { source, name: name.to_owned(), place, content }),
            _ => Err(Cause::WrongKind { key: name.to_owned(), wanted: "a table" }.at(&place)),
        }
    }

    /// Refuses keys that are not among `known`.
    fn knows(&self, known: &[&str]) -> Result<(), LayoutError> {
        for key in self.content.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let cause = Cause::UnknownKey {
                    table: self.name.clone(),
                    key: key.get_ref().to_string(),
                    known: known.iter().map(|&k| k.to_owned()).collect(),
                };
                return Err(cause.at(&self.source.place(key.span().start)));
            }
        }
        Ok(())
    }

    /// Refuses more entries than a layout allows.
    fn counted(&self, key: &str, count: usize, place: &Place) -> Result<(), LayoutError> {
        if count > MOST {
            let key = format!("{}.{key}", self.name);
            return Err(Cause::TooMany { key, count, most: MOST }.at(place));
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<(&'a Spanned<DeValue<'a>>, Place)> {
        let (name, value) = self.content.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((value, self.source.place(name.span().start)))
    }

    fn needed<T>(&self, key: &'static str, value: Option<T>) -> Result<T, LayoutError> {
        value.ok_or_else(|| Cause::MissingKey { table: self.name.clone(), key }.at(&self.place))
    }

    fn text(&self, key: &str) -> Result<Option<At<String>>, LayoutError> {
        let Some((value, place)) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(At::new(text.to_string(), place))),
            _ => Err(Cause::WrongKind { key: key.to_owned(), wanted: "a string" }.at(&place)),
        }
    }

    /// Reads a string, or a list of them.
    fn texts(&self, key: &str) -> Result<Vec<At<String>>, LayoutError> {
        let Some((value, place)) = self.get(key) else { return Ok(Vec::new()) };
        let wrong = || {
            Cause::WrongKind { key: key.to_owned(), wanted: "a string or a list of strings" }
                .at(&place)
        };
        match value.get_ref() {
            DeValue::String(text) => Ok(vec![At::new(text.to_string(), place)]),
            DeValue::Array(items) => self
                .counted(key, items.len(), &place)
                .map(|()| items.iter())?
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => {
                        Ok(At::new(text.to_string(), self.source.place(item.span().start)))
                    }
                    _ => Err(wrong()),
                })
                .collect(),
            _ => Err(wrong()),
        }
    }

    fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Box<Cause>>,
    ) -> Result<Option<At<T>>, LayoutError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let value = parse(&text.value).map_err(|cause| LayoutError::new(&text.place, cause))?;
        Ok(Some(At::new(value, text.place)))
    }

    fn number(&self, key: &str) -> Result<Option<At<u32>>, LayoutError> {
        let Some((value, place)) = self.get(key) else { return Ok(None) };
        match whole(value.get_ref()) {
            Some(number) => Ok(Some(At::new(number, place))),
            None => {
                Err(Cause::WrongKind { key: key.to_owned(), wanted: "a whole number" }.at(&place))
            }
        }
    }

    fn switch(&self, key: &str) -> Result<Option<At<bool>>, LayoutError> {
        let Some((value, place)) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(switch) => Ok(Some(At::new(*switch, place))),
            _ => Err(Cause::WrongKind { key: key.to_owned(), wanted: "true or false" }.at(&place)),
        }
    }

    /// Reads a size and its text as written: a string such as `96K`, or a number of bytes.
    fn size(&self, key: &str) -> Result<Option<(At<Size>, String)>, LayoutError> {
        let Some((value, place)) = self.get(key) else { return Ok(None) };
        let written = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            number => match whole(number) {
                Some(number) => number.to_string(),
                None => {
                    let wanted = "a size such as \"96K\"";
                    return Err(Cause::WrongKind { key: key.to_owned(), wanted }.at(&place));
                }
            },
        };
        let size = Size::parse(key, &written).map_err(|cause| LayoutError::new(&place, cause))?;
        Ok(Some((At::new(size, place), written.trim().to_owned())))
    }

    /// Reads a size that must be a number of bytes.
    fn bytes(&self, key: &str) -> Result<Option<u32>, LayoutError> {
        match self.size(key)? {
            None => Ok(None),
            Some((At { value: Size::Bytes(bytes), .. }, _)) => Ok(Some(bytes)),
            Some((At { place, .. }, _)) => {
                Err(Cause::WrongKind { key: key.to_owned(), wanted: "a number of bytes" }
                    .at(&place))
            }
        }
    }

    /// Reads a number from 0 to 100.
    fn percent(&self, key: &str) -> Result<Option<u32>, LayoutError> {
        match self.number(key)? {
            Some(At { value, place }) if value > 100 => {
                let wanted = "a whole number from 0 to 100";
                Err(Cause::WrongKind { key: key.to_owned(), wanted }.at(&place))
            }
            number => Ok(number.map(|number| number.value)),
        }
    }

    fn table(&self, key: &str) -> Result<Option<Table<'a>>, LayoutError> {
        let Some((value, place)) = self.get(key) else { return Ok(None) };
        Table::of(self.source, &format!("{}.{key}", self.name), value, place).map(Some)
    }

    /// Reads a list of tables, such as `[[layout.arena]]`, each with its own line.
    fn tables(&self, key: &str) -> Result<Vec<Table<'a>>, LayoutError> {
        let Some((value, place)) = self.get(key) else { return Ok(Vec::new()) };
        let name = format!("{}.{key}", self.name);
        let DeValue::Array(items) = value.get_ref() else {
            let cause = Cause::WrongKind { key: name, wanted: "written as a list, in [[ ]]" };
            return Err(cause.at(&place));
        };
        self.counted(key, items.len(), &place)?;
        items
            .iter()
            .map(|item| Table::of(self.source, &name, item, self.source.place(item.span().start)))
            .collect()
    }
}

fn whole(value: &DeValue<'_>) -> Option<u32> {
    match value {
        DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}
