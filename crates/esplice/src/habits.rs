//! Words that users bring from other tools, where an alias alone does not do.

use std::ffi::OsString;

/// `merge-bin --format hex`, where `--format` is here how a command answers.
pub fn rewritten(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    if words.get(1).is_none_or(|command| command != "merge-bin") {
        return words;
    }
    let is_kind = |word: &str| ["raw", "hex", "uf2"].contains(&word);
    for at in 2..words.len() {
        let (before, word) = match (words.get(at - 1), words.get(at).and_then(|w| w.to_str())) {
            (Some(before), Some(word)) => (before, word),
            _ => continue,
        };
        if is_kind(word) && (before == "--format" || before == "-f") {
            words[at - 1] = "--as".into();
        } else if let Some(kind) = word.strip_prefix("--format=").filter(|kind| is_kind(kind)) {
            words[at] = format!("--as={kind}").into();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: &str) {
        let split = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(rewritten(split(words)), split(expected));
    }

    #[test]
    fn only_merge_bins_formats_are_rewritten() {
        check("esplice merge-bin -f hex -o a", "esplice merge-bin --as hex -o a");
        check("esplice merge-bin --format uf2", "esplice merge-bin --as uf2");
        check("esplice merge-bin --format=raw x", "esplice merge-bin --as=raw x");
        check("esplice merge-bin --format json", "esplice merge-bin --format json");
        check("esplice merge-bin -o hex 0 raw", "esplice merge-bin -o hex 0 raw");
        check("esplice image merge --format hex", "esplice image merge --format hex");
        check("esplice", "esplice");
    }
}
