//! Takes a board from any state to one whose flash is written and verified.

use std::{ops::Range, sync::Arc};

use derive_setters::Setters;
use esplice_chip::{Chip, ChipDb, FlashOffset, RegisterWrite};
use esplice_image::{
    DeviceFacts, ExpectedBoot, FlashPlan, PartitionTable, PlanError, ResolveOptions, ResolvedPlan,
    Write, WriteKind,
};
use esplice_protocol::Port;

use crate::{
    ChipInfo, ConnectOptions, ErrorClass, FlashError, FlashEvent, Session, Statistics, StubSource,
    TableHint, deflate::Prepared, event::StageState, job,
};

/// Options for working with a board.
#[derive(Debug, Clone, Default, Setters)]
#[non_exhaustive]
pub struct FlashOptions {
    /// The chips that may be found.
    pub chips: ChipDb,
    /// The required chip; none accepts any of `chips`.
    pub target: Option<Arc<Chip>>,
    /// Baud rate for the transfer; none keeps the loader's initial rate.
    pub baud: Option<u32>,
    /// True to write everything, even what the flash already holds.
    pub full: bool,
    /// The stub to use, if any; otherwise the ROM loader is used.
    pub stub: StubSource,
    /// Offset of the device's partition table, if the user gave one; otherwise it is searched.
    pub table_offset: Option<FlashOffset>,
    /// True if [`flash`] looks for the partition table and for what boots before it completes the
    /// plan.
    pub find_table: bool,
    /// How to connect.
    pub connect: ConnectOptions,
}

impl FlashOptions {
    /// Returns the part of these options that concerns the device's partition table.
    pub fn table_hint(&self) -> TableHint {
        TableHint { offset: self.table_offset, bootloader: None }
    }
}

/// Result of flashing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FlashReport {
    /// The board.
    pub chip: ChipInfo,
    /// Baud rate at the end of the transfer.
    pub baud: u32,
    /// The writes that were done, in the plan's order.
    pub writes: Vec<Write>,
    /// Text that the board prints when it boots the written images, where it is known.
    pub boots: ExpectedBoot,
    /// Transfer statistics.
    pub statistics: Statistics,
}

/// Finds the board, reads the facts that a plan needs, calls `plan` to complete the plan with them,
/// then writes and verifies it. The board stays in its loader: [`crate::reset_to_run`] starts it.
///
/// The last event is always [`FlashEvent::Statistics`], even if an error follows.
///
/// After an interrupt by the user or an error, the board stays in its loader with both lines
/// released. It runs no half-written image; the next flash repairs it.
///
/// # Errors
/// See [`FlashError`]. Nothing is written before `plan` has returned successfully.
pub fn flash<P: Port + ?Sized>(
    port: &mut P,
    options: &FlashOptions,
    plan: impl FnOnce(&DeviceFacts) -> Result<ResolvedPlan, PlanError>,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<FlashReport, FlashError> {
    let hint = options.find_table.then(|| options.table_hint());
    flash_prepared(port, options, |_| hint, plan, Prepared::default(), events)
}

fn flash_prepared<P: Port + ?Sized>(
    port: &mut P,
    options: &FlashOptions,
    hint: impl FnOnce(&ChipInfo) -> Option<TableHint>,
    plan: impl FnOnce(&DeviceFacts) -> Result<ResolvedPlan, PlanError>,
    prepared: Prepared,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<FlashReport, FlashError> {
    with_session(port, options, events, |session| {
        session.prepared = prepared;
        session.stub_available = options.stub.is_some();
        // A stub is only uploaded once it is known that there is something to write.
        let chip =
            session.bring_up(&FlashOptions { stub: StubSource::none(), ..options.clone() })?;
        session.find_stub(&chip.chip, &options.stub)?;
        let facts = match hint(&chip) {
            Some(hint) => {
                session.retry_once(&chip, options, |session| session.device_facts(&chip, &hint))?
            }
            None => DeviceFacts {
                chip: chip.chip.name.clone(),
                revision: chip.revision,
                flash_size: Some(chip.flash_size),
                ..DeviceFacts::default()
            },
        };
        let ResolvedPlan { writes, notes, boots } = plan(&facts)?;
        session.apps = app_partitions(&writes, &facts);
        for note in notes {
            session.report(FlashEvent::Note(note));
        }
        session.write(&chip, &writes, options)?;
        let baud = session.baud();
        Ok(FlashReport { chip, baud, writes, boots, statistics: session.statistics() })
    })
}

/// Returns the app partitions after `writes`: those of a table among them, or else of the device's.
fn app_partitions(writes: &[Write], facts: &DeviceFacts) -> Vec<Range<u32>> {
    let table = writes.iter().find(|write| write.kind == WriteKind::PartitionTable);
    let table = match table {
        Some(write) => PartitionTable::from_bytes(&write.data).ok(),
        None => facts.device_table().ok().map(|(_, table)| table.clone()),
    };
    let partitions = table.iter().flat_map(|table| &table.partitions);
    let apps = partitions.filter(|partition| partition.is_app());
    apps.map(|app| app.offset.0..app.offset.0.saturating_add(app.len)).collect()
}

/// Flashes like [`flash`], with a plan that [`esplice_image::resolve`] completes.
///
/// # Errors
/// See [`flash`].
pub fn flash_plan<P: Port + ?Sized>(
    port: &mut P,
    plan: &FlashPlan,
    resolve: &ResolveOptions,
    options: &FlashOptions,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<FlashReport, FlashError> {
    let mut prepared = Prepared::default();
    let chip = Some(&*plan.chip);
    let own = chip.is_some_and(|chip| options.stub.is_own(chip));
    if own {
        job::prepare_packed(&plan.writes, &mut prepared);
    } else {
        for write in &plan.writes {
            job::prepare(chip, write, &mut prepared);
        }
    }
    let resolved = |facts: &DeviceFacts| esplice_image::resolve(plan, facts, resolve);
    // A plan with an offset was made for it; the usual offset is checked on the device.
    let offset = options.table_offset.or(plan.table_offset);
    let hint = |info: &ChipInfo| {
        // A custom bootloader may look anywhere for the table.
        let built_in = plan.bootloader_for(info.flash_size).ok().flatten();
        let built_in = built_in.filter(|_| !plan.own.bootloader);
        let usual = info.chip.image.partition_table_offset;
        Some(TableHint { offset, bootloader: built_in.map(|bytes| (bytes, usual)) })
    };
    flash_prepared(port, options, hint, resolved, prepared, events)
}

/// Finds the board and returns its description. Nothing is written.
///
/// # Errors
/// See [`FlashError`].
pub fn detect<P: Port + ?Sized>(
    port: &mut P,
    options: &FlashOptions,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<ChipInfo, FlashError> {
    with_session(port, options, events, |session| session.bring_up(options))
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Connects, confirms or identifies the chip, raises the baud rate, attaches the flash and
    /// reads the board's description. If the board falls silent on the way, connects once more.
    ///
    /// # Errors
    /// See [`FlashError`].
    pub fn bring_up(&mut self, options: &FlashOptions) -> Result<ChipInfo, FlashError> {
        self.connect(&options.connect)?;
        self.stage("detect", StageState::Started);
        match self.describe_board(options) {
            Err(error) if error.is_transient() => {
                self.warn(format!("{error}; connecting again"));
                self.find_again(&options.connect)?;
                self.describe_board(options)
            }
            other => other,
        }
    }

    /// Raises the chip's clocks as far as its crystal allows, so that the loader works faster. A
    /// loader that refuses keeps its clocks. Over the chip's own USB a stub does this itself.
    fn raise_clocks(&mut self, chip: &Chip) -> Result<(), FlashError> {
        match self.write_chip_regs(self.fast_clocks(chip)) {
            Err(FlashError::Refused { .. }) => Ok(()),
            other => other,
        }
    }

    fn fast_clocks<'a>(&self, chip: &'a Chip) -> &'a [RegisterWrite] {
        if self.over_own_usb(chip) { &[] } else { &chip.loader.fast_clocks }
    }

    /// Returns whether the board was reset through the chip's own USB port.
    fn over_own_usb(&self, chip: &Chip) -> bool {
        let reset = &chip.reset;
        self.reset_by.is_some_and(|name| {
            let has = |names: &[String]| names.iter().any(|known| known == name);
            has(&reset.usb_serial_jtag) && !has(&reset.uart)
        })
    }

    fn describe_board(&mut self, options: &FlashOptions) -> Result<ChipInfo, FlashError> {
        let (chip, security) = self.identify_first(options.target.as_deref())?;
        let chip = &chip;
        // The watchdogs keep running while the ROM loader waits, and over the chip's own USB
        // nothing stops them (ESP-IDF documentation, esptool, "USB-Serial/JTAG").
        if self.over_own_usb(chip) && !self.loader().is_stub() {
            self.confirm()?;
            self.write_chip_regs(&chip.watchdog.stop())?;
        }
        if let Some(baud) = options.baud {
            self.raise_baud(chip, baud, &options.connect)?;
            // Reads them together with other registers.
            if !self.prefetch(chip, self.fast_clocks(chip))? {
                self.raise_clocks(chip)?;
            }
        }
        let baud = self.baud();
        if options.stub.is_some() {
            self.confirm()?;
        }
        self.ensure_stub(chip, &options.stub, |session| {
            session.find_again(&options.connect)?;
            session.raise_baud(chip, baud, &options.connect)?;
            session.raise_clocks(chip)
        })?;
        self.examine(chip, security)
    }

    /// Does `work`, which must not change anything on the board, and repeats it once if the link or
    /// the board failed meanwhile.
    pub(crate) fn retry_once<T>(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        work: impl Fn(&mut Self) -> Result<T, FlashError>,
    ) -> Result<T, FlashError> {
        let baud = self.baud();
        match work(self) {
            Err(error) if error.is_transient() => {
                self.warn(format!("{error}; connecting again"));
                self.restore(info, options, baud)?;
                work(self)
            }
            other => other,
        }
    }

    /// Finds the loader again and restores its state: baud rate, stub and flash. Returns true if it
    /// was no longer in the state it was left in.
    pub(crate) fn restore(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        baud: u32,
    ) -> Result<bool, FlashError> {
        let restarted = self.find_again(&options.connect)?;
        self.raise_baud(&info.chip, baud, &options.connect)?;
        // The board may have reset meanwhile.
        self.raise_clocks(&info.chip)?;
        if !self.loader().is_stub()
            && let Some(stub) = self.stub.clone()
        {
            self.load_stub(&info.chip, &stub)?;
        }
        self.set_flash(info.flash_size)?;
        Ok(restarted)
    }
}

/// Runs `work` in a session. However it ends, reports the statistics and releases the lines.
pub(crate) fn with_session<P: Port + ?Sized, T>(
    port: &mut P,
    options: &FlashOptions,
    events: &mut dyn FnMut(FlashEvent),
    work: impl FnOnce(&mut Session<'_, P>) -> Result<T, FlashError>,
) -> Result<T, FlashError> {
    let mut session = Session::new(port, &options.chips, options.target.as_ref(), events);
    let result = work(&mut session);
    if let Err(error) = &result
        && error.class() != ErrorClass::Lost
        && session.port.caps().lines
    {
        // The first error is the one to report.
        let _ = session.port.set_lines(false, false);
    }
    let statistics = session.statistics();
    session.report(FlashEvent::Statistics(statistics));
    result
}
