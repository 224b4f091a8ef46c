//! Draws maps as SVG, and as a self-contained HTML page around it.

use std::fmt::Write as _;

use crate::{Kind, MemoryMap, RegionMap};

const WIDTH: f64 = 960.0;
const BAR: u32 = 34;
const ROW: u32 = 74;
/// Minimum width of a piece, so that it can be seen and pointed at.
const THINNEST: f64 = 1.5;

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Section => "#5b7fb4",
        Kind::Heap => "#4c9a6a",
        Kind::Arena => "#d08a2e",
        Kind::Stack => "#a85a7a",
        Kind::Shadow => "#b9b4aa",
    }
}

/// Draws the map as an SVG with a bar for each region that is in use.
pub fn to_svg(map: &MemoryMap) -> String {
    let shown: Vec<&RegionMap> = map.regions.iter().filter(|r| !r.items.is_empty()).collect();
    let height = 64 + ROW * shown.len() as u32;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1000 {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"1000\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"20\" y=\"26\" font-size=\"16\">Memory of {}</text>\n",
        escape(&map.chip)
    );
    legend(&mut svg);
    for (row, region) in shown.iter().enumerate() {
        bar(&mut svg, region, 52 + ROW * row as u32);
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let kinds = [Kind::Section, Kind::Heap, Kind::Arena, Kind::Stack, Kind::Shadow];
    for (i, kind) in kinds.into_iter().enumerate() {
        let x = 520 + 92 * i;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"14\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"25\">{}</text>",
            color(kind),
            x + 17,
            kind.name()
        );
    }
}

fn bar(svg: &mut String, region: &RegionMap, y: u32) {
    let _ = writeln!(
        svg,
        "<text x=\"20\" y=\"{}\">{} at {:#010x}: {} of {} bytes used, {} free</text>",
        y + 14,
        escape(&region.key),
        region.addr,
        region.used(),
        region.len,
        region.free()
    );
    let top = y + 20;
    let _ = writeln!(
        svg,
        "<rect x=\"20\" y=\"{top}\" width=\"{WIDTH}\" height=\"{BAR}\" fill=\"#eee\" stroke=\"#999\"/>"
    );
    let scale = WIDTH / f64::from(region.len.max(1));
    for item in &region.items {
        let x = 20.0 + f64::from(item.addr.saturating_sub(region.addr)) * scale;
        let width = (f64::from(item.len) * scale).clamp(THINNEST, WIDTH);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{}\"><title>{} {}: \
             {:#010x}, {} bytes</title></rect>",
            color(item.kind),
            item.kind.name(),
            escape(&item.name),
            item.addr,
            item.len
        );
        // A letter is about 7 units wide.
        if width > 7.0 * item.name.chars().count() as f64 + 8.0 {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" fill=\"#fff\">{}</text>",
                x + 4.0,
                top + 22,
                escape(&item.name)
            );
        }
    }
}

/// Formats the map as an HTML page with the drawing and a table. The page loads nothing else.
pub fn to_html(map: &MemoryMap) -> String {
    let mut rows = String::new();
    for region in &map.regions {
        for item in &region.items {
            let _ = writeln!(
                rows,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:#010x}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                escape(&region.key),
                item.kind.name(),
                escape(&item.name),
                item.addr,
                item.len,
                if item.loaded { "loaded" } else { "" }
            );
        }
    }
    let chip = escape(&map.chip);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Memory of {chip}</title>\n\
         <style>\nbody {{ font-family: sans-serif; max-width: 1000px; margin: 1em auto }}\n\
         table {{ border-collapse: collapse; width: 100% }}\n\
         th, td {{ text-align: left; padding: 2px 12px; border-bottom: 1px solid #ddd }}\n\
         td.n {{ text-align: right }}\n</style>\n</head>\n<body>\n{}<table>\n<tr><th>region</th><th>kind</th>\
         <th>name</th><th>address</th><th>bytes</th><th></th></tr>\n{rows}</table>\n</body>\n</html>\n",
        to_svg(map)
    )
}

/// Escapes a name. Names come from files and must not become markup, or a character invalid in XML.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
