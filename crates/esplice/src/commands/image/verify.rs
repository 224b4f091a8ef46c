use std::path::PathBuf;

use esplice_chip::ChipDb;
use serde_json::json;

use crate::{
    firmware::flash_file::{FlashFile, first_defect},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// App images, bootloaders, partition tables, or flash from offset 0; also as HEX, UF2 or xz
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let (mut text, mut values, mut broken) = (String::new(), Vec::new(), Vec::new());
    for path in &args.files {
        let report = FlashFile::read(path)?.inspect(ChipDb::embedded());
        let shown = path.display();
        let defects: Vec<String> = report
            .all_defects()
            .filter(|(_, defect)| !defect.is_remark())
            .map(|(part, defect)| match part {
                Some(part) if report.parts.len() > 1 => format!("{}: {defect}", part.name),
                _ => defect.to_string(),
            })
            .collect();
        match defects.as_slice() {
            [] => text.push_str(&format!("{shown}: sound\n")),
            defects => defects.iter().for_each(|d| text.push_str(&format!("{shown}: {d}\n"))),
        }
        values.push(json!({ "file": path, "sound": defects.is_empty(), "defects": defects }));
        broken.extend(first_defect(&report).map(|defect| format!("{shown}: {defect}")));
    }
    shell.result("image-verify", &text, values.into());
    match broken.as_slice() {
        [] => Ok(()),
        [only] => Err(Failure::new(Exit::BadInput, only)),
        several => {
            let (bad, all) = (several.len(), args.files.len());
            Err(Failure::new(Exit::BadInput, format!("{bad} of {all} files are not valid")))
        }
    }
}
