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
    /// A region of flash was read back by hash.
    Verified { offset: u32, len: u32, hash: String },
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
    },
    /// A test on the board.
    Test { name: String, state: TestState, reason: Option<String>, seconds: Option<f64> },
    /// The firmware's last words.
    Panic {
        kind: String,
        message: String,
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
            Event::Verified { offset: 0x10000, len: 4, hash: "00ff".into() },
            r#"{"v":1,"event":"verified","offset":65536,"len":4,"hash":"00ff"}"#,
        );
        check(
            Event::Output { text: Some("Hello\r\n".into()), bytes: None, port: None },
            r#"{"v":1,"event":"output","text":"Hello\r\n","bytes":null,"port":null}"#,
        );
        check(
            Event::Expected { text: "ready".into(), seconds: 0.5 },
            r#"{"v":1,"event":"expected","text":"ready","seconds":0.5}"#,
        );
        check(
            Event::Test {
                name: "adds".into(),
                state: TestState::Failed,
                reason: Some("no".into()),
                seconds: None,
            },
            r#"{"v":1,"event":"test","name":"adds","state":"failed","reason":"no","seconds":null}"#,
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
                frames: vec![frame],
                other_cores: vec![],
            },
            r#"{"v":1,"event":"panic","kind":"rust","message":"no","frames":[{"addr":1107296272,"function":"a::b","file":null,"line":null,"inlined":false,"times":1}],"other_cores":[]}"#,
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
            r#"{"v":1,"event":"summary","ok":true,"exit":0,"chip":null,"bytes_sent":null,"bytes_received":null,"frames":null,"seconds":null,"sectors_total":null,"sectors_written":null}"#,
        );
    }
}
