//! Events that a command reports while it runs, one object per line with `--format json`.

use serde::Serialize;

/// An event. Every field is always present, and null if the command has no value for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A stage of the work begins or ends.
    Stage { name: &'static str, state: StageState },
    /// The chip at the port.
    Chip {
        name: String,
        revision: Option<String>,
        mac: Option<String>,
        features: Vec<String>,
        /// Size in bytes.
        flash_size: Option<u32>,
    },
    /// Progress of a stage, in bytes.
    Progress { stage: String, done: u64, total: u64 },
    /// A flash region was verified by a hash that the chip computed.
    Verified {
        name: String,
        offset: u32,
        len: u32,
        hash: String,
        /// The hash algorithm: `md5`.
        algorithm: &'static str,
    },
    /// The compiler that built the firmware.
    Compiler {
        /// `rustc` or `tinygo`.
        name: &'static str,
        /// The version as the program prints it, if it does.
        version: Option<String>,
        /// The program's path.
        program: String,
        /// The target that it compiled for: a target triple, or TinyGo's target.
        target: String,
    },
    /// A message of the compiler or the linker.
    Diagnostic {
        /// `error`, `warning`, `note` or `help`, in the compiler's words.
        level: String,
        message: String,
        /// The compiler's code, such as `E0425`.
        code: Option<String>,
        place: Option<Place>,
        /// The whole message, as shown to people.
        rendered: String,
    },
    /// Output of the board: text, or hex if the bytes are not text.
    Output {
        text: Option<String>,
        bytes: Option<String>,
        /// The port's name, if several are watched.
        port: Option<String>,
    },
    /// Expected output has arrived.
    Expected {
        text: String,
        /// Time in the port's clock.
        seconds: f64,
        /// Host time since the command began.
        host_seconds: f64,
    },
    /// A test on the board.
    Test {
        name: String,
        state: TestState,
        reason: Option<String>,
        /// Duration of the test in the port's clock.
        seconds: Option<f64>,
        /// Host time since the command began.
        host_seconds: f64,
    },
    /// Code addresses that the firmware printed without stopping.
    Trace { kind: &'static str, message: String, frames: Vec<PanicFrame> },
    /// A panic of the firmware.
    Panic {
        kind: String,
        /// The panic message, without the place.
        message: String,
        /// The place of the panic, if the text names it.
        place: Option<Place>,
        frames: Vec<PanicFrame>,
        /// Backtraces of the other cores, if they were dumped too.
        other_cores: Vec<CoreFrames>,
    },
    /// A core dump of ESP-IDF.
    CoreDump {
        /// True if the checksum matches.
        sound: bool,
        reason: Option<String>,
        tasks: Vec<TaskFrames>,
    },
    /// A warning that does not stop the command.
    Warning { message: String },
    /// The reason that the command failed.
    Error { code: u8, message: String, hint: Option<String> },
    /// The result of the command, such as an inspected image or the settings.
    Result { name: &'static str, value: serde_json::Value },
    /// The summary, always the last event.
    Summary(Summary),
}

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column, counted from 1.
    pub column: u32,
}

/// A stack frame of a panic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PanicFrame {
    pub addr: u32,
    pub function: Option<String>,
    pub file: Option<String>,
    /// Line, counted from 1.
    pub line: Option<u32>,
    /// True if the compiler inlined the function into that of the next frame.
    pub inlined: bool,
    /// Number of consecutive repetitions of the frame.
    pub times: u32,
}

/// Backtrace of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskFrames {
    pub name: Option<String>,
    /// Address of the task control block.
    pub tcb: u32,
    pub crashed: bool,
    pub frames: Vec<PanicFrame>,
}

/// Backtrace of a core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoreFrames {
    pub core: u32,
    pub frames: Vec<PanicFrame>,
}

/// State of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    Started,
    Done,
}

/// State of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestState {
    Started,
    Passed,
    Failed,
    Ignored,
}

/// Figures of the whole command.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    pub ok: bool,
    pub exit: u8,
    pub chip: Option<String>,
    pub bytes_sent: Option<u64>,
    pub bytes_received: Option<u64>,
    pub frames: Option<u64>,
    /// Time in the port's clock.
    pub seconds: Option<f64>,
    /// Host time.
    pub host_seconds: f64,
    pub sectors_total: Option<u64>,
    pub sectors_written: Option<u64>,
}

/// Returns the event as a line of JSON, without the line ending.
pub fn to_line(event: &Event) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        v: u32,
        #[serde(flatten)]
        event: &'a Event,
    }
    // Strings, numbers and maps with string keys cannot fail to serialize.
    serde_json::to_string(&Line { v: 1, event }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: Event, expected: &str) {
        assert_eq!(to_line(&event), expected);
    }

    #[test]
    fn events_are_what_the_documentation_says() {
        check(
            Event::Stage { name: "build", state: StageState::Started },
            r#"{"v":1,"event":"stage","name":"build","state":"started"}"#,
        );
        check(
            Event::Chip {
                name: "ESP32-C3".into(),
                revision: Some("v0.4".into()),
                mac: None,
                features: vec!["Wi-Fi".into()],
                flash_size: Some(4 << 20),
            },
            r#"{"v":1,"event":"chip","name":"ESP32-C3","revision":"v0.4","mac":null,"features":["Wi-Fi"],"flash_size":4194304}"#,
        );
        check(
            Event::Progress { stage: "app".into(), done: 1, total: 2 },
            r#"{"v":1,"event":"progress","stage":"app","done":1,"total":2}"#,
        );
        check(
            Event::Verified {
                name: "app".into(),
                offset: 0x10000,
                len: 4,
                hash: "00ff".into(),
                algorithm: "md5",
            },
            r#"{"v":1,"event":"verified","name":"app","offset":65536,"len":4,"hash":"00ff","algorithm":"md5"}"#,
        );
        check(
            Event::Compiler {
                name: "rustc",
                version: None,
                program: "/bin/rustc".into(),
                target: "riscv32imc-unknown-none-elf".into(),
            },
            r#"{"v":1,"event":"compiler","name":"rustc","version":null,"program":"/bin/rustc","target":"riscv32imc-unknown-none-elf"}"#,
        );
        check(
            Event::Diagnostic {
                level: "error".into(),
                message: "no".into(),
                code: Some("E0425".into()),
                place: Some(Place { file: "src/main.rs".into(), line: 3, column: 5 }),
                rendered: "error: no\n".into(),
            },
            r#"{"v":1,"event":"diagnostic","level":"error","message":"no","code":"E0425","place":{"file":"src/main.rs","line":3,"column":5},"rendered":"error: no\n"}"#,
        );
        check(
            Event::Output { text: Some("Hello\r\n".into()), bytes: None, port: None },
            r#"{"v":1,"event":"output","text":"Hello\r\n","bytes":null,"port":null}"#,
        );
        check(
            Event::Expected { text: "ready".into(), seconds: 0.5, host_seconds: 0.25 },
            r#"{"v":1,"event":"expected","text":"ready","seconds":0.5,"host_seconds":0.25}"#,
        );
        check(
            Event::Test {
                name: "adds".into(),
                state: TestState::Failed,
                reason: Some("no".into()),
                seconds: None,
                host_seconds: 0.25,
            },
            r#"{"v":1,"event":"test","name":"adds","state":"failed","reason":"no","seconds":null,"host_seconds":0.25}"#,
        );
        let frame = PanicFrame {
            addr: 0x4200_0010,
            function: Some("a::b".into()),
            file: None,
            line: None,
            inlined: false,
            times: 1,
        };
        check(
            Event::Panic {
                kind: "rust".into(),
                message: "no".into(),
                place: None,
                frames: vec![frame],
                other_cores: vec![],
            },
            r#"{"v":1,"event":"panic","kind":"rust","message":"no","place":null,"frames":[{"addr":1107296272,"function":"a::b","file":null,"line":null,"inlined":false,"times":1}],"other_cores":[]}"#,
        );
        check(
            Event::Trace { kind: "backtrace", message: "Backtrace".into(), frames: vec![] },
            r#"{"v":1,"event":"trace","kind":"backtrace","message":"Backtrace","frames":[]}"#,
        );
        check(
            Event::CoreDump {
                sound: true,
                reason: None,
                tasks: vec![TaskFrames {
                    name: Some("main".into()),
                    tcb: 1,
                    crashed: true,
                    frames: vec![],
                }],
            },
            r#"{"v":1,"event":"core_dump","sound":true,"reason":null,"tasks":[{"name":"main","tcb":1,"crashed":true,"frames":[]}]}"#,
        );
        check(
            Event::Error { code: 3, message: "no".into(), hint: None },
            r#"{"v":1,"event":"error","code":3,"message":"no","hint":null}"#,
        );
        check(
            Event::Summary(Summary { ok: true, ..Summary::default() }),
            r#"{"v":1,"event":"summary","ok":true,"exit":0,"chip":null,"bytes_sent":null,"bytes_received":null,"frames":null,"seconds":null,"host_seconds":0.0,"sectors_total":null,"sectors_written":null}"#,
        );
    }
}
