//! The whole way, from a board in any state to one whose flash is written and verified.

use esplice_chip::{Chip, FlashOffset, RegisterWrite};
use esplice_image::{
    DeviceFacts, ExpectedBoot, FlashPlan, PlanError, ResolveOptions, ResolvedPlan, Write,
};
use esplice_protocol::Port;

use crate::{
    ChipInfo, ConnectOptions, ErrorClass, FlashError, FlashEvent, Session, Statistics, StubSource,
    TableHint, deflate::Prepared, event::StageState, job,
};

/// How to work with a board.
#[derive(Debug, Clone, Default)]
pub struct FlashOptions {
    /// The chip it must be; none to take what is there.
    pub target: Option<&'static Chip>,
    /// Baud rate for the transfer; none to stay at the loader's first.
    pub baud: Option<u32>,
    /// Write all of it, also what the flash holds already.
    pub full: bool,
    /// The stub that does the work, if there is one; else the ROM loader does it.
    pub stub: StubSource,
    /// Where the device's partition table is, if the user says so; else it is looked for.
    pub table_offset: Option<FlashOffset>,
    /// Look for the partition table, and for what boots, before a plan of [`flash`] is ended.
    pub find_table: bool,
    /// How to connect.
    pub connect: ConnectOptions,
}

impl FlashOptions {
    /// What these options say of the device's partition table.
    pub fn table_hint(&self) -> TableHint {
        TableHint { offset: self.table_offset, bootloader: None }
    }
}

/// What was done.
#[derive(Debug, Clone)]
pub struct FlashReport {
    /// The board.
    pub chip: ChipInfo,
    /// The baud rate that the transfer ended at.
    pub baud: u32,
    /// The writes as they were done, in the plan's order.
    pub writes: Vec<Write>,
    /// What the board prints when it boots them, where that is known.
    pub boots: ExpectedBoot,
    /// What went over the port.
    pub statistics: Statistics,
}

/// Finds the board, asks it what a plan must know, lets `plan` end the plan with that, writes it
/// and verifies it. The board is left in its loader: [`crate::reset_to_run`] starts it.
///
/// The last event is always [`FlashEvent::Statistics`], also before an error.
///
/// When the user interrupts, or after an error, the board stays in its loader, with both lines
/// released, and runs nothing that is half written; the next flash repairs it.
///
/// # Errors
/// See [`FlashError`]; nothing is written before `plan` has agreed.
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
        session.stub_may_come = options.stub.is_some();
        // A stub comes only when it is known that there is something to write.
        let chip =
            session.bring_up(&FlashOptions { stub: StubSource::none(), ..options.clone() })?;
        session.look_for_stub(chip.chip, &options.stub)?;
        let facts = match hint(&chip) {
            Some(hint) => {
                session.insist(&chip, options, |session| session.device_facts(&chip, &hint))?
            }
            None => DeviceFacts {
                chip: chip.chip.name.clone(),
                revision: chip.revision,
                flash_size: Some(chip.flash_size),
                ..DeviceFacts::default()
            },
        };
        let ResolvedPlan { writes, notes, boots } = plan(&facts)?;
        for note in notes {
            session.tell(FlashEvent::Note(note));
        }
        session.write(&chip, &writes, options)?;
        let baud = session.baud();
        Ok(FlashReport { chip, baud, writes, boots, statistics: session.statistics() })
    })
}

/// [`flash`] for a plan that [`esplice_image::resolve`] ends.
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
    let chip = esplice_chip::find(&plan.chip).ok();
    for write in &plan.writes {
        job::prepare(chip, write, &mut prepared);
    }
    let resolved = |facts: &DeviceFacts| esplice_image::resolve(plan, facts, resolve);
    // A plan that names an offset was made for it; the usual one is found out.
    let offset = options.table_offset.or(plan.table_offset);
    let hint = |info: &ChipInfo| {
        // The user's own bootloader may look anywhere.
        let built_in = plan.bootloader_for(info.flash_size).ok().flatten();
        let built_in = built_in.filter(|_| !plan.own.bootloader);
        let usual = info.chip.image.partition_table_offset;
        Some(TableHint { offset, bootloader: built_in.map(|bytes| (bytes, usual)) })
    };
    flash_prepared(port, options, hint, resolved, prepared, events)
}

/// Finds the board and tells what it is; nothing is written.
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
    /// Connects, confirms or finds out the chip, raises the baud rate, attaches the flash and
    /// reads what there is to know. A board that falls silent meanwhile is connected to once more.
    ///
    /// # Errors
    /// See [`FlashError`].
    pub fn bring_up(&mut self, options: &FlashOptions) -> Result<ChipInfo, FlashError> {
        self.connect(&options.connect)?;
        self.stage("detect", StageState::Started);
        match self.look(options) {
            Err(error) if error.is_transient() => {
                self.warn(format!("{error}; connecting again"));
                self.find_again(&options.connect)?;
                self.look(options)
            }
            other => other,
        }
    }

    /// Lets the loader work as fast as the chip can by its crystal. One that refuses works as it did. Over
    /// the chip's own USB a stub does it by itself.
    fn hasten(&mut self, chip: &'static Chip) -> Result<(), FlashError> {
        match self.write_chip_regs(self.fast_clocks(chip)) {
            Err(FlashError::Refused { .. }) => Ok(()),
            other => other,
        }
    }

    fn fast_clocks(&self, chip: &'static Chip) -> &'static [RegisterWrite] {
        if self.over_own_usb(chip) { &[] } else { &chip.loader.fast_clocks }
    }

    /// Whether the board was reset through the chip's own USB port.
    fn over_own_usb(&self, chip: &Chip) -> bool {
        let reset = &chip.reset;
        self.reset_by.is_some_and(|name| {
            let has = |names: &[String]| names.iter().any(|known| known == name);
            has(&reset.usb_serial_jtag) && !has(&reset.uart)
        })
    }

    fn look(&mut self, options: &FlashOptions) -> Result<ChipInfo, FlashError> {
        let (chip, security) = self.identify_first(options.target)?;
        // The watchdogs run on while the ROM loader waits, and over the chip's own USB nothing stops
        // them (ESP-IDF documentation, esptool, "USB-Serial/JTAG").
        if self.over_own_usb(chip) && !self.loader().is_stub() {
            self.confirm()?;
            self.write_chip_regs(&chip.watchdog.stop())?;
        }
        if let Some(baud) = options.baud {
            self.raise_baud(chip, baud, &options.connect)?;
            // With what is asked anyway.
            if !self.prefetch(chip, self.fast_clocks(chip))? {
                self.hasten(chip)?;
            }
        }
        let baud = self.baud();
        if options.stub.is_some() {
            self.confirm()?;
        }
        self.take_stub(chip, &options.stub, |session| {
            session.find_again(&options.connect)?;
            session.raise_baud(chip, baud, &options.connect)?;
            session.hasten(chip)
        })?;
        self.examine(chip, security)
    }

    /// Does `work`, which changes nothing on the board, once more if the link or the board broke
    /// down in it.
    pub(crate) fn insist<T>(
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

    /// Finds the loader again and brings it to where it was: baud rate, stub and flash. True if it
    /// was not as it was left.
    pub(crate) fn restore(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        baud: u32,
    ) -> Result<bool, FlashError> {
        let restarted = self.find_again(&options.connect)?;
        self.raise_baud(info.chip, baud, &options.connect)?;
        // The board may have reset meanwhile.
        self.hasten(info.chip)?;
        if !self.loader().is_stub()
            && let Some(stub) = self.stub.clone()
        {
            self.load_stub(info.chip, &stub)?;
        }
        self.set_flash(info.flash_size)?;
        Ok(restarted)
    }
}

/// Runs `work` in a session; tells the statistics and leaves the lines released, however it ends.
pub(crate) fn with_session<P: Port + ?Sized, T>(
    port: &mut P,
    options: &FlashOptions,
    events: &mut dyn FnMut(FlashEvent),
    work: impl FnOnce(&mut Session<'_, P>) -> Result<T, FlashError>,
) -> Result<T, FlashError> {
    let mut session = Session::new(port, options.target, events);
    let result = work(&mut session);
    if let Err(error) = &result
        && error.class() != ErrorClass::Lost
        && session.port.caps().lines
    {
        // The error that is told is the first one.
        let _ = session.port.set_lines(false, false);
    }
    let statistics = session.statistics();
    session.tell(FlashEvent::Statistics(statistics));
    result
}
