//! Makes the linker's input for a layout: files, and the arguments that name them.

use crate::{Base, Layout, Linker, script, seed};

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Name without directory.
    pub name: &'static str,
    /// Contents of the file.
    pub bytes: Vec<u8>,
}

/// Files for the linker, to be written to one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// The files.
    pub files: Vec<File>,
}

/// Name of the script. esp-hal's build directory is first on the linker's search path, so this name
/// differs from those of its scripts, and the script is not searched for.
const SCRIPT: &str = "esplice-layout.x";
const OBJECT: &str = "esplice-layout.o";

/// Returns the files for a program on esp-hal or in RAM. Other bases get none; they have functions
/// of their own ([`crate::tinygo`], [`crate::esp_idf`]).
pub fn inject(layout: &Layout, linker: Linker) -> Injection {
    let script = match layout.base {
        Base::EspHal => script::esp_hal::script(layout, linker),
        Base::Ram => script::ram::script(layout, linker),
        Base::TinyGo | Base::EspIdf => return Injection { files: Vec::new() },
    };
    let mut files = Vec::new();
    // A complete script does not have to be ordered among others.
    if layout.base == Base::EspHal {
        let bytes = seed::object(&layout.chip, &seed::symbols(&script));
        files.push(File { name: OBJECT, bytes });
    }
    files.insert(0, File { name: SCRIPT, bytes: script.into_bytes() });
    Injection { files }
}

impl Injection {
    /// Returns the linker script.
    pub fn script(&self) -> &str {
        let script = self.files.iter().find(|file| file.name == SCRIPT);
        script.and_then(|file| std::str::from_utf8(&file.bytes).ok()).unwrap_or_default()
    }

    /// Returns the linker's arguments, with the files in `directory`.
    pub fn link_args(&self, directory: &str) -> Vec<String> {
        let path = |name: &str| format!("{}/{name}", directory.trim_end_matches('/'));
        self.files
            .iter()
            .map(|file| match file.name {
                SCRIPT => format!("-T{}", path(SCRIPT)),
                name => path(name),
            })
            .collect()
    }

    /// Returns a name for the directory that differs if any byte of a file does: cargo links again
    /// only if an argument differs (64-bit FNV-1a, draft-eastlake-fnv).
    pub fn digest(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for file in &self.files {
            for byte in file.name.bytes().chain([0]).chain(file.bytes.iter().copied()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    }
}
