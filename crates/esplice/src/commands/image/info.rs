use std::path::PathBuf;

use esplice_chip::ChipDb;
use esplice_image::{ImageInfo, ImageReport, Part, PartBody};
use serde_json::{Value, json};

use crate::{
    firmware::flash_file::{FlashFile, first_defect},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// App image, bootloader, partition table, or flash from offset 0; also as HEX, UF2 or xz
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let report = FlashFile::read(&args.file)?.inspect(ChipDb::embedded());
    shell.result("image-info", &report.to_string(), value(&report));
    match first_defect(&report) {
        None => Ok(()),
        Some(defect) => {
            let message = format!("{}: {defect}", args.file.display());
            Err(Failure::new(Exit::BadInput, message))
        }
    }
}

fn value(report: &ImageReport) -> Value {
    json!({
        "len": report.len,
        "sound": report.is_sound(),
        "defects": report.defects.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "parts": report.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

fn part(part: &Part) -> Value {
    let (image, partitions) = match &part.body {
        PartBody::Image(info) => (image(info), Value::Null),
        PartBody::Table(table) => {
            let rows = table.partitions.iter().map(|row| {
                json!({
                    "name": row.name,
                    "type": row.kind_name(),
                    "subtype": row.subtype_name(),
                    "offset": row.offset.0,
                    "len": row.len,
                })
            });
            (Value::Null, rows.collect())
        }
        PartBody::Unreadable => (Value::Null, Value::Null),
    };
    json!({
        "name": part.name,
        "offset": part.offset.0,
        "defects": part.defects.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "image": image,
        "partitions": partitions,
    })
}

fn image(info: &ImageInfo) -> Value {
    let segments = info.segments.iter().map(|segment| {
        json!({
            "addr": segment.addr.0,
            "len": segment.len,
            "offset": segment.offset,
            "region": segment.region,
        })
    });
    let app = info.descriptor.as_ref().map(|app| {
        json!({
            "project": app.project_name,
            "version": app.version,
            "date": app.date,
            "time": app.time,
            "idf_version": app.idf_version,
            "elf_sha256": hex::encode(app.elf_sha256),
        })
    });
    json!({
        "kind": info.kind.to_string(),
        "chip": info.chip,
        "chip_id": info.header.chip_id,
        "min_rev": info.header.min_rev,
        "max_rev": info.header.max_rev,
        "flash_freq": info.flash_freq,
        "flash_size": info.flash_size,
        "entry": info.header.entry.0,
        "segments": segments.collect::<Vec<_>>(),
        "checksum": info.checksum,
        "sha256": info.sha256.as_ref().map(hex::encode),
        "app": app,
    })
}
