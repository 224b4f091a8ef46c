//! Flashes firmware to a board and reports the progress.

use std::sync::Arc;

use esplice_chip::{Chip, ChipDb};
use esplice_flash::{
    ChipInfo, ConnectOptions, FlashEvent, FlashOptions, FlashReport, LoaderUse, StageState, detect,
    flash, flash_plan,
};
use esplice_image::{AppDescriptor, ImageHeader, ResolvedPlan, Write, WriteKind};
use esplice_monitor::BootCheck;
use esplice_protocol::Moment;

use crate::{
    config::project::Project,
    device::{
        load::{Job, Load},
        ports,
        ports::Board,
        remembered::Adapter,
        stubs::stub_source,
    },
    ui::{
        event,
        event::Event,
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Instruction to start a board without reset lines.
pub const RESET_BY_HAND: &str = "release its BOOT button and press RESET";

/// Detects the board at the port called `name`, and starts it again.
pub fn probe(
    name: &str,
    chips: &ChipDb,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<ChipInfo, Failure> {
    let mut board = ports::open_named(name, None, chips, interrupt)?;
    shell.status(&format!("Detecting the chip at {name}"));
    let mut quiet = |_| {};
    let options = options(&board, None);
    let port = board.port.as_mut();
    let info = detect(port, &options, &mut quiet)?;
    esplice_flash::start(port, &info.chip, info.chip.loader.initial_baud, &mut quiet)?;
    Ok(info)
}

/// Detects the board's chip; the board stays in its loader.
pub fn chip(board: &mut Board, shell: &mut Shell) -> Result<Arc<Chip>, Failure> {
    let options = options(board, None);
    let port = board.port.as_mut();
    shell.status(&format!("Detecting the chip at {}", port.name()));
    let info = detect(port, &options, &mut |event| match event {
        // Reported again when the board is flashed.
        FlashEvent::Stage { .. } | FlashEvent::Chip(_) => {}
        event => print_event(event, shell),
    })?;
    Ok(info.chip)
}

/// Writes `job` and verifies it; the board stays in its loader.
pub fn write(
    board: &mut Board,
    job: Job,
    project: &Project,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<FlashReport, Failure> {
    let (baud, adapter) = rate(board, project);
    let options = options(board, job.target.as_ref())
        .baud(Some(baud))
        .stub(stub_source(&project.flash.stub)?)
        .full(project.flash.full)
        .table_offset(project.image.own_table_offset());
    let port = board.port.as_mut();
    shell.status(&format!("Connecting to {}", port.name()));
    let mut report_event = |event| print_event(event, shell);
    let report = match job.load {
        Load::Plan { plan, options: resolve } => {
            flash_plan(port, &plan, &resolve, &options, &mut report_event)
        }
        Load::Writes(writes) => {
            let plan = |_: &_| Ok(ResolvedPlan::from(writes));
            flash(port, &options, plan, &mut report_event)
        }
    };
    if let (Ok(report), Some(adapter)) = (&report, &adapter) {
        // A default rate is remembered only if it was too high.
        if report.baud != baud || !project.flash.baud_is_default {
            adapter.remember(report.baud);
        }
    }
    report.map_err(|error| {
        let failure = Failure::from(error);
        if failure.exit != Exit::Interrupted {
            return failure;
        }
        // The port refuses to work after an interrupt, but its lines must be released.
        interrupt.let_ports_work();
        let _ = board.port.set_lines(false, false);
        failure.hint("the board waits in download mode; flash it again")
    })
}

/// Returns the transfer baud rate for this board, and its adapter. The rate is the requested one,
/// else the last that worked with the adapter.
pub fn rate(board: &Board, project: &Project) -> (u32, Option<Adapter>) {
    let adapter = Adapter::of_port(board.port.name());
    let remembered = adapter.as_ref().filter(|_| project.flash.baud_is_default);
    (remembered.and_then(Adapter::rate).unwrap_or(project.flash.baud), adapter)
}

/// Starts the firmware in flash, with the port at `baud` or else at the ROM's rate. Returns the
/// moment at which the board was released.
pub fn start(
    board: &mut Board,
    chip: &Arc<Chip>,
    baud: Option<u32>,
    shell: &mut Shell,
) -> Result<Option<Moment>, Failure> {
    let baud = baud.unwrap_or(chip.loader.initial_baud);
    let port = board.port.as_mut();
    shell.stage("start", event::StageState::Started);
    let since = esplice_flash::start(port, chip, baud, &mut |event| print_event(event, shell))?;
    if since.is_some() && !port.caps().lines {
        shell.status(&format!(
            "{} has no reset line: asked the loader to reset. If the board stays silent, {RESET_BY_HAND}",
            port.name()
        ));
    }
    shell.stage("start", event::StageState::Done);
    Ok(since)
}

/// Returns the output to expect from a board that boots what was written.
pub fn boot_check(report: &FlashReport) -> BootCheck {
    let app = report.writes.iter().find(|write| write.kind == WriteKind::App);
    let descriptor = app.and_then(|app| AppDescriptor::of_image(&app.data));
    // An app without the hash in its descriptor prints zeros.
    let hash = descriptor.map(|descriptor| descriptor.elf_sha256).filter(|hash| *hash != [0; 32]);
    // Files written without a plan are identified by their content.
    let boot_offset = report.chip.chip.image.boot_offset;
    let boot = report.writes.iter().find(|write| write.offset == boot_offset);
    let header = boot.and_then(|write| ImageHeader::from_bytes(&write.data).ok());
    let is_app = |write: &&Write| {
        write.offset != boot_offset && AppDescriptor::of_image(&write.data).is_some()
    };
    let file = report.writes.iter().find(is_app).filter(|_| app.is_none());
    BootCheck {
        entry: report.boots.entry.or(header.map(|header| header.entry)).map(|entry| entry.0),
        app: report.boots.app.or(file.map(|write| write.offset)).map(|offset| offset.0),
        elf_sha256: hash.map(hex::encode),
    }
}

/// Returns the options for a board that must have the chip `target`.
pub fn options(board: &Board, target: Option<&Arc<Chip>>) -> FlashOptions {
    let strategies = board.strategies.clone();
    let connect = ConnectOptions::default().strategies(strategies);
    let (chips, target) = (board.chips.clone(), target.cloned());
    FlashOptions::default().chips(chips).target(target).connect(connect)
}

/// Returns the facts of a board as an event.
pub fn chip_event(info: ChipInfo) -> Event {
    Event::Chip {
        name: info.chip.display_name.clone(),
        revision: Some(info.revision_text()),
        mac: Some(info.mac_text()),
        features: info.features,
        flash_size: Some(info.flash_size),
    }
}

/// Prints a flash event.
pub fn print_event(event: FlashEvent, shell: &mut Shell) {
    match event {
        FlashEvent::Stage { name, state } => shell.stage(
            name,
            match state {
                StageState::Started => event::StageState::Started,
                StageState::Done => event::StageState::Done,
            },
        ),
        FlashEvent::Connecting { attempt, of } if attempt > 1 => {
            shell.status(&format!("No answer yet, try {attempt} of {of}"));
        }
        FlashEvent::Chip(info) => {
            let name = info.chip.display_name.clone();
            let (revision, mac) = (info.revision_text(), info.mac_text());
            shell.fact(&format!("Chip is {name} (revision {revision})"));
            shell.status(&format!(
                "Features: {}; MAC {mac}; {} KB of flash",
                info.features.join(", "),
                info.flash_size / 1024
            ));
            shell.summary.chip = Some(name);
            shell.event(&chip_event(info));
        }
        FlashEvent::Differs { name, differing, sectors } if differing < sectors => {
            shell.status(&format!("{name}: {differing} of {sectors} sectors differ"));
        }
        FlashEvent::Loader(LoaderUse::Rom) => {
            shell.status("No stub found: writing through the ROM loader");
        }
        FlashEvent::Loader(LoaderUse::Uploaded) => shell.status("Stub is running"),
        FlashEvent::Loader(LoaderUse::Resident) => shell.status("Stub is already running"),
        FlashEvent::Loader(LoaderUse::Other) => shell.status("Another stub is already running"),
        FlashEvent::Baud(baud) => shell.status(&format!("Transfer at {baud} baud")),
        FlashEvent::Progress { stage, done, total } => {
            shell.progress(&stage, done.into(), total.into());
        }
        FlashEvent::Verified { name, offset, len, hash } => {
            shell.fact(&format!("Hash of data verified ({name}: {len} bytes at {offset})"));
            shell.event(&Event::Verified { name, offset: offset.0, len, hash, algorithm: "md5" });
        }
        FlashEvent::Note(note) if note.is_fact() => {
            let text = note.to_string();
            let mut letters = text.chars();
            let first: String = letters.next().iter().flat_map(|c| c.to_uppercase()).collect();
            shell.status(&format!("{first}{}", letters.as_str()));
        }
        FlashEvent::Note(note) => shell.warning(&note.to_string()),
        FlashEvent::Warning { message } => shell.warning(&message),
        FlashEvent::Statistics(numbers) => {
            let summary = &mut shell.summary;
            let add = |to: &mut Option<u64>, number: u64| *to = Some(to.unwrap_or(0) + number);
            add(&mut summary.bytes_sent, numbers.bytes_sent);
            add(&mut summary.bytes_received, numbers.bytes_received);
            add(&mut summary.frames, numbers.frames);
            add(&mut summary.sectors_total, numbers.sectors_total.into());
            add(&mut summary.sectors_written, numbers.sectors_written.into());
        }
        _ => {}
    }
}
