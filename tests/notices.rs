//! The notices for code compiled into the program are complete.

#[allow(dead_code)] // The included file has a `main` function.
#[path = "../crates/esplice/examples/notices.rs"]
mod printed;

use cargo_metadata::MetadataCommand;

#[test]
fn every_package_is_named_with_its_licence() {
    let mut command = MetadataCommand::new();
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // The packages for other systems may not have been downloaded.
    let host = std::process::Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let options = ["--locked", "--offline", "--filter-platform", host];
    command.other_options(options.map(str::to_owned));
    let metadata = command.exec().unwrap();
    let packages = printed::packages(&metadata);
    assert!(packages.len() > 80, "only {} packages", packages.len());
    let text = printed::text(&metadata);
    let mut without = Vec::new();
    for package in &packages {
        let row = format!("| {} {} | ", package.name, package.version);
        let row = text.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("{} is not named", package.name));
        assert!(row.contains("https://"), "{row}");
        if printed::licence_texts(package).is_empty() {
            without.push(package.name.as_str());
        }
    }
    // Authors are named instead of a text.
    assert!(without.len() * 5 <= packages.len(), "too many have no text: {without:?}");
    // Weak copyleft: the source is named.
    let copyleft: Vec<&str> = text.lines().filter(|line| line.contains("| MPL-2.0 |")).collect();
    assert!(copyleft.iter().any(|row| row.starts_with("| serialport ")), "{copyleft:?}");
    // Included C code has licence texts of its own.
    for words in ["Eric Biggers", "0BSD", "Mozilla Public License Version 2.0"] {
        assert!(text.contains(words), "no {words:?}");
    }
    // Packages that only build or test the program are not included.
    assert!(!packages.iter().any(|package| package.name.as_str() == "proptest"));
}
