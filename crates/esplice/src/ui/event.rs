//! What a command tells while it works, one object a line with `--format json`.

use serde::Serialize;

/// One event. Every field is always there, null where a command has no such thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A part of the work begins or ends.
    Stage { name: &'static str, state: StageState },
    /// The chip at the port.
    Chip {
        name: String,
        revision: Option<String>,
        mac: Option<String>,
        features: Vec<String>,
        /// Bytes.
        flash_size: Option<u32>,
    },
    /// Bytes done of a stage.
    Progress { stage: String, done: u64, total: u64 },
    /// A region of flash was compared by a hash that the chip computes.
    Verified {
        name: String,
        offset: u32,
        len: u32,
        hash: String,
        /// What the hash is: `md5`.
        algorithm: &'static str,
    },
    /// The compiler that built the firmware.
    Compiler {
        /// `rustc` or `tinygo`.
        name: &'static str,
        /// As the program tells it, where it does.
        version: Option<String>,
        /// The program's path.
        program: String,
        /// What it made code for: a target triple, or TinyGo's target.
        target: String,
    },
    /// What the compiler or the linker says.
    Diagnostic {
        /// `error`, `warning`, `note` or `help`, in the compiler's words.
        level: String,
        message: String,
        /// The compiler's code, such as `E0425`.
        code: Option<String>,
        place: Option<Place>,
        /// All of it, as it is shown to people.
        rendered: String,
    },
    /// What the board said: text, or the bytes in hex where they are none.
    Output {
        text: Option<String>,
        bytes: Option<String>,
        /// The port's name, where several are watched.
        port: Option<String>,
    },
    /// Output that was waited for has come.
    Expected {
        text: String,
        /// The port's time.
        seconds: f64,
        /// The host's time since the command began.
        host_seconds: f64,
    },
    /// A test on the board.
    Test {
        name: String,
        state: TestState,
        reason: Option<String>,
        /// How long it took, by the port's time.
        seconds: Option<f64>,
        /// The host's time since the command began.
        host_seconds: f64,
    },
    /// Addresses of code that the firmware printed while it runs on.
    Trace { kind: &'static str, message: String, frames: Vec<PanicFrame> },
    /// The firmware's last words.
    Panic {
        kind: String,
        /// What it said, without the place.
        message: String,
        /// Where, if the text says so.
        place: Option<Place>,
        frames: Vec<PanicFrame>,
        /// What the other cores were doing, where they were dumped too.
        other_cores: Vec<CoreFrames>,
    },
    /// A core dump of ESP-IDF.
    CoreDump {
        /// Whether its checksum is right.
        sound: bool,
        reason: Option<String>,
        tasks: Vec<TaskFrames>,
    },
    /// Something to know that stops nothing.
    Warning { message: String },
    /// Why the command failed.
    Error { code: u8, message: String, hint: Option<String> },
    /// What the command is asked for: an inspected image, the settings.
    Result { name: &'static str, value: serde_json::Value },
    /// Always the last.
    Summary(Summary),
}

/// A place in source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// A function on the way to a panic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PanicFrame {
    pub addr: u32,
    pub function: Option<String>,
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// The compiler put it into the function of the next frame.
    pub inlined: bool,
    /// How many times in a row it is there.
    pub times: u32,
}

/// What a task was doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskFrames {
    pub name: Option<String>,
    /// Address of its control block.
    pub tcb: u32,
    pub crashed: bool,
    pub frames: Vec<PanicFrame>,
}

/// What one core was doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoreFrames {
    pub core: u32,
    pub frames: Vec<PanicFrame>,
}

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    Started,
    Done,
}

/// Where a test stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestState {
    Started,
    Passed,
    Failed,
    Ignored,
}

/// The whole command in numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    pub ok: bool,
    pub exit: u8,
    pub chip: Option<String>,
    pub bytes_sent: Option<u64>,
    pub bytes_received: Option<u64>,
    pub frames: Option<u64>,
    /// The port's time.
    pub seconds: Option<f64>,
    /// The host's time.
    pub host_seconds: f64,
    pub sectors_total: Option<u64>,
    pub sectors_written: Option<u64>,
}

/// The event as its line, without the line's end.
pub fn to_line(event: &Event) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        v: u32,
        #[serde(flatten)]
        event: &'a Event,
    }
    // Strings, numbers and maps with string keys: there is nothing that could fail.
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
