use serde_json::json;

use crate::{exit::Failure, shell::Shell};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let chips = esplice_chip::all();
    let text: String = chips
        .iter()
        .map(|chip| format!("{:12} {:12} {}\n", chip.name, chip.display_name, chip.isa))
        .collect();
    let value = chips
        .iter()
        .map(|chip| {
            json!({
                "name": chip.name,
                "display_name": chip.display_name,
                "isa": chip.isa,
                "sim": chip.sim.is_some(),
            })
        })
        .collect();
    shell.result("chips", &text, value);
    Ok(())
}
