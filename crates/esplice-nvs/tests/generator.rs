//! Compares partitions with those of ESP-IDF's generator, byte by byte.
//!
//! Each `cases/*.csv` is a case. The comment in its first line has the sizes and the versions. Every
//! case is also made encrypted.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use esplice_nvs::{Csv, Key, MakeOptions, Version, make, read};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};

/// Runs the generator's `main` once for each line of tab-separated arguments: Python starts slowly.
const BATCH: &str = r#"
import contextlib, io, sys
from esp_idf_nvs_partition_gen import nvs_partition_gen
for line in open(sys.argv[1], encoding="utf8").read().splitlines():
    said = io.StringIO()
    sys.argv = ["nvs_partition_gen", *line.split("\t")]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            nvs_partition_gen.main()
        print("made")
    except SystemExit as end:
        print("made" if not end.code else "refused")
    except BaseException as error:
        print("refused", type(error).__name__)
"#;

/// A partition to make.
struct Job {
    csv: PathBuf,
    size: u32,
    version: Version,
    key: Option<Key>,
}

/// Returns what the generator makes of the jobs, or `None` where it fails.
fn generated(directory: &Path, jobs: &[Job]) -> Vec<Option<Vec<u8>>> {
    let mut lines = String::new();
    for (number, job) in jobs.iter().enumerate() {
        let output = directory.join(format!("{number}.bin"));
        let (csv, output) = (job.csv.display(), output.display());
        let (size, version) = (job.size, job.version.number());
        match &job.key {
            Some(key) => {
                let file = directory.join(format!("{number}-key.bin"));
                fs::write(&file, key.to_partition()).unwrap();
                let file = file.display();
                lines.push_str(&format!(
                    "encrypt\t{csv}\t{output}\t{size:#x}\t--version\t{version}\t--inputkey\t{file}\n"
                ));
            }
            None => lines
                .push_str(&format!("generate\t{csv}\t{output}\t{size:#x}\t--version\t{version}\n")),
        }
    }
    let list = directory.join("jobs");
    fs::write(&list, lines).unwrap();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let python = python();
    let output = Command::new(&python).args(["-c", BATCH]).arg(&list).current_dir(cases).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.lines().count(),
        jobs.len(),
        "these tests compare with esp-idf-nvs-partition-gen 0.3.0, which `scripts/setup --tests` \
         installs next to esptool (ESPLICE_ESPTOOL): {said}{error}"
    );
    let results = said.lines().enumerate().map(|(number, line)| {
        (line == "made").then(|| fs::read(directory.join(format!("{number}.bin"))).unwrap())
    });
    results.collect()
}

/// Returns the Python of the environment that has esptool and the generator.
fn python() -> PathBuf {
    let program = std::env::var_os("ESPLICE_ESPTOOL").map(PathBuf::from);
    let directory = program.as_deref().and_then(Path::parent).map(Path::to_owned);
    let names = ["python", "python3", "python.exe"];
    directory
        .and_then(|dir| names.iter().map(|name| dir.join(name)).find(|file| file.is_file()))
        .unwrap_or_else(|| "python3".into())
}

fn ours(job: &Job) -> Result<Vec<u8>, String> {
    let mut csv = Csv::default();
    let text = fs::read_to_string(&job.csv).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut file = |path: &str| fs::read(directory.join(path)).map_err(|error| error.to_string());
    csv.add(&text, &mut file).map_err(|error| error.to_string())?;
    let mut options = MakeOptions::new(job.size);
    options.version = job.version;
    options.key = job.key.clone();
    make(&csv, &options).map_err(|error| error.to_string())
}

fn key(seed: u8) -> Key {
    Key::new(std::array::from_fn(|at| (at as u8).wrapping_mul(37).wrapping_add(seed)))
}

#[track_caller]
fn compare(name: &str, ours: &[u8], theirs: &[u8]) {
    let place = ours.iter().zip(theirs).position(|(a, b)| a != b);
    assert_eq!(place.map(|at| format!("{at:#x}")), None, "{name}: first difference");
    assert_eq!(ours.len(), theirs.len(), "{name}");
}

#[test]
fn partitions_equal_those_of_the_generator() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(cases).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "csv"));
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    let mut jobs = Vec::new();
    for csv in files {
        let text = fs::read_to_string(&csv).unwrap();
        let words = text.lines().next().unwrap().trim_start_matches('#').split_whitespace();
        for word in words {
            let (size, version) = word.split_once('v').expect("a size, v and a version");
            let size = u32::from_str_radix(size.trim_start_matches("0x"), 16).unwrap();
            let version = if version == "1" { Version::V1 } else { Version::V2 };
            for key in [None, Some(key(jobs.len() as u8))] {
                jobs.push(Job { csv: csv.clone(), size, version, key });
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let theirs = generated(directory.path(), &jobs);
    for (job, theirs) in jobs.iter().zip(theirs) {
        let name = format!("{} of {:#x}, {:?}", job.csv.display(), job.size, job.version);
        let ours = ours(job).unwrap_or_else(|error| panic!("{name}: {error}"));
        compare(&name, &ours, &theirs.unwrap_or_else(|| panic!("{name}: generator fails")));
        let dump = read(&ours, job.key.as_ref());
        assert_eq!(dump.defects, [], "{name}");
    }
}

/// Random rows: (key, encoding and value).
fn rows() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        any::<u64>().prop_map(|value| format!("u64,{value}")),
        any::<i8>().prop_map(|value| format!("i8,{value}")),
        "[a-z ]{0,300}".prop_map(|text| format!("string,{text}")),
        (3900..3968_usize).prop_map(|len| format!("string,{}", "x".repeat(len - 1))),
        (0..9000_usize).prop_map(|len| format!("blob_fill({len};0xa5),")),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| format!(
            "hex2bin,{}",
            bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
        )),
    ];
    prop::collection::vec((value, prop::bool::weighted(0.1)), 1..60).prop_map(|values| {
        let mut text = "key,type,encoding,value\nfirst,namespace,,\n".to_owned();
        for (number, (value, new_namespace)) in values.into_iter().enumerate() {
            if new_namespace {
                text.push_str(&format!("n{number},namespace,,\n"));
            }
            text.push_str(&format!("k{number},data,{value}\n"));
        }
        text
    })
}

/// The generator also fails where these do: they need as many pages.
#[test]
fn random_partitions_equal_those_of_the_generator() {
    let directory = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::new(Config::default());
    let mut jobs = Vec::new();
    for number in 0..120 {
        let text = rows().new_tree(&mut runner).unwrap().current();
        let csv = directory.path().join(format!("{number}.csv"));
        fs::write(&csv, text).unwrap();
        let size = [0x1000, 0x3000, 0x6000, 0x10000, 0x40000][number % 5];
        let key = (number % 3 == 0).then(|| key(number as u8));
        jobs.push(Job { csv, size, version: Version::V2, key });
    }
    let theirs = generated(directory.path(), &jobs);
    let mut made = 0;
    for (job, theirs) in jobs.iter().zip(theirs) {
        match (ours(job), theirs) {
            (Ok(ours), Some(theirs)) => {
                compare(&job.csv.display().to_string(), &ours, &theirs);
                made += 1;
            }
            (Err(error), None) => assert!(error.contains("need a partition of"), "{error}"),
            (ours, theirs) => {
                let text = fs::read_to_string(&job.csv).unwrap();
                panic!("{:?} but generator made: {}\n{text}", ours.err(), theirs.is_some());
            }
        }
    }
    assert!((40..120).contains(&made), "{made}");
}

/// The generator writes such keys into the latest namespace, and has no page for such a string.
#[test]
fn where_the_generator_fails() {
    let mut csv = Csv::default();
    let text =
        "key,type,encoding,value\na,namespace,,\nb,namespace,,\na,namespace,,\nk,data,u8,1\n";
    csv.add(text, &mut |_| unreachable!()).unwrap();
    let dump = read(&make(&csv, &MakeOptions::new(0x3000)).unwrap(), None);
    assert_eq!(dump.items[0].namespace, "a");
    assert_eq!(dump.namespaces, ["a", "b"]);

    let mut csv = Csv::default();
    let long = "x".repeat(3999);
    let text = format!("key,type,encoding,value\na,namespace,,\nk,data,string,{long}\n");
    csv.add(&text, &mut |_| unreachable!()).unwrap();
    let bytes = make(&csv, &MakeOptions::new(0x3000)).unwrap();
    let dump = read(&bytes, None);
    assert_eq!((dump.defects.len(), dump.items[0].value.to_string()), (0, long));
    assert_eq!(dump.pages[1].empty, 0);
}
