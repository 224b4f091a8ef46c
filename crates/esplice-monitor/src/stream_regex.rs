//! Search for a regular expression in a stream, one byte at a time.

use regex_automata::{
    Anchored, Input,
    hybrid::{
        LazyStateID, dfa,
        regex::{Cache, Regex},
    },
    nfa::thompson,
    util::{start, syntax},
};

use crate::expect::ExpectError;

/// Maximum size in bytes of the automaton of an expression. The default of `regex` is ten times
/// that, for texts far longer than a board's lines.
const LARGEST_AUTOMATON: usize = 1 << 20;

/// Maximum size in bytes of the cached states of a lazy automaton, the default of `regex`.
const CACHE: usize = 2 << 20;

/// Maximum nesting depth of groups.
const NESTED: u32 = 50;

/// Number of stream bytes kept to find where a match begins.
const KEPT: usize = 4096;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct StreamRegex {
    regex: Regex,
    /// True if a match is known at its last byte because the expression does not look at what
    /// follows.
    at_once: bool,
}

/// The position of a match, counted back from the last byte taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Length of the match in bytes.
    pub len: usize,
    /// Number of bytes taken after the match, 0 or 1.
    pub trailing: usize,
}

impl StreamRegex {
    /// Compiles `pattern` for bytes. `^`, `$` and `.` work on lines that end with `\n` or `\r\n`.
    pub fn new(pattern: &str) -> Result<StreamRegex, ExpectError> {
        let refused = |message: String| {
            // The last line is the cause. The lines above it show the expression with a mark.
            let reason = message.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ").to_owned();
            ExpectError::Regex { pattern: pattern.to_owned(), reason }
        };
        let syntax = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .multi_line(true)
            .crlf(true)
            .nest_limit(NESTED);
        let parsed =
            syntax::parse_with(pattern, &syntax).map_err(|error| refused(error.to_string()))?;
        if parsed.properties().minimum_len().is_none_or(|len| len == 0) {
            return Err(ExpectError::MatchesNothing { pattern: pattern.to_owned() });
        }
        let size = thompson::Config::new().nfa_size_limit(Some(LARGEST_AUTOMATON)).utf8(false);
        let cache = dfa::Config::new().cache_capacity(CACHE).skip_cache_capacity_check(true);
        let regex =
            Regex::builder().syntax(syntax).thompson(size).dfa(cache).build(pattern).map_err(
                |error| {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    refused(cause.unwrap_or_else(|| error.to_string()))
                },
            )?;
        let at_once = parsed.properties().look_set_suffix_any().is_empty();
        Ok(StreamRegex { regex, at_once })
    }

    /// Starts a search after the byte `before`.
    pub fn search(&self, before: Option<u8>) -> Search {
        let mut search =
            Search { cache: self.regex.create_cache(), state: None, kept: vec![], before };
        search.state = self.start(&mut search);
        search
    }

    /// Takes the next byte. Returns the match that ends first, and of those the longest.
    pub fn push(&self, search: &mut Search, byte: u8) -> Option<Found> {
        if search.kept.len() >= 2 * KEPT {
            search.before = search.kept.get(KEPT - 1).copied();
            search.kept.drain(..KEPT);
        }
        search.kept.push(byte);
        let state = search.state?;
        search.state = self.step(search, state, byte);
        let state = search.state?;
        // An automaton reports a match one byte late.
        if state.is_match() {
            return Some(self.found(search, 1));
        }
        if !self.at_once {
            return None;
        }
        let cleared = search.cache.forward().clear_count();
        let at_end = self.regex.forward().next_eoi_state(search.cache.forward_mut(), state);
        if at_end.is_ok_and(|state| state.is_match()) {
            return Some(self.found(search, 0));
        }
        if search.cache.forward().clear_count() != cleared {
            // The cached states were discarded to free memory. Repeat the search over the last
            // bytes.
            search.state = self.start(search);
            for byte in search.kept.clone() {
                search.state = search.state.and_then(|state| self.step(search, state, byte));
            }
        }
        None
    }

    fn start(&self, search: &mut Search) -> Option<LazyStateID> {
        let config = start::Config::new().anchored(Anchored::No).look_behind(search.before);
        self.regex.forward().start_state(search.cache.forward_mut(), &config).ok()
    }

    /// Advances the automaton. It can only fail if configured to give up, or at quit bytes. Neither
    /// is configured.
    fn step(&self, search: &mut Search, state: LazyStateID, byte: u8) -> Option<LazyStateID> {
        self.regex.forward().next_state(search.cache.forward_mut(), state, byte).ok()
    }

    fn found(&self, search: &mut Search, trailing: usize) -> Found {
        let end = search.kept.len().saturating_sub(trailing);
        let input = Input::new(&search.kept).range(..end).anchored(Anchored::Yes);
        let reverse = self.regex.reverse();
        let start = reverse.try_search_rev(search.cache.reverse_mut(), &input);
        let start = start.ok().flatten().map_or(0, |half| half.offset());
        Found { len: end.saturating_sub(start), trailing }
    }
}

/// The progress of a stream towards a match.
#[derive(Debug)]
pub(crate) struct Search {
    cache: Cache,
    /// `None` if the automaton failed, which does not happen.
    state: Option<LazyStateID>,
    /// The last bytes of the stream.
    kept: Vec<u8>,
    /// The byte before `kept`.
    before: Option<u8>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the offset of the match, its length, and the number of bytes taken to find it.
    fn find(pattern: &str, stream: &[u8]) -> Option<(usize, usize, usize)> {
        let regex = StreamRegex::new(pattern).unwrap();
        let mut search = regex.search(None);
        let (taken, found) = stream
            .iter()
            .enumerate()
            .find_map(|(at, byte)| Some((at + 1, regex.push(&mut search, *byte)?)))?;
        Some((taken - found.trailing - found.len, found.len, taken))
    }

    #[test]
    fn matches_are_known_with_their_last_byte() {
        assert_eq!(find("temp=[0-9]+", b"boot temp=12 C"), Some((5, 6, 11)));
        assert_eq!(find("l.gin: ", b"ok\r\nlogin: "), Some((4, 7, 11)));
        assert_eq!(find(r"a\xffb", b"a\xfea\xffb"), Some((2, 3, 5)));
        assert_eq!(find("(?i)READY|done", b"not yet, ready"), Some((9, 5, 14)));
        assert_eq!(find("a.b", b"a\nb"), None);
        assert_eq!(find("für", "für".as_bytes()), Some((0, 4, 4)));
    }

    #[test]
    fn what_must_follow_is_waited_for() {
        assert_eq!(find("^ok$", b"okay\r\nok\r\n"), Some((6, 2, 9)));
        assert_eq!(find("^ok$", b"not ok"), None);
        assert_eq!(find(r"\bon\b", b"one on."), Some((4, 2, 7)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let reason = |pattern: &str| StreamRegex::new(pattern).unwrap_err().to_string();
        assert_eq!(reason("a("), "regular expression /a(/: unclosed group");
        assert_eq!(reason("a*"), "regular expression /a*/ matches empty text");
        assert!(reason("a{1000}{1000}{1000}").contains("exceeded limit"));
        assert!(StreamRegex::new(&format!("{}a{}", "(".repeat(99), ")".repeat(99))).is_err());
    }

    #[test]
    fn a_small_memory_suffices() {
        // Thousands of states, over more bytes than are kept.
        let mut stream: Vec<u8> = (0..60_000u32).map(|n| b"ab"[(n * n / 7 % 2) as usize]).collect();
        stream.extend_from_slice(b"xa234567890123z");
        let (offset, len, taken) = find("xa.{12}z", &stream).unwrap();
        assert_eq!((offset, len, taken), (60_000, 15, 60_015));
        assert!(find("a[ab]{30}q", &stream).is_none());
    }

    proptest! {
        /// Compares with a plain search: the first end, and the start of its longest match.
        #[test]
        fn same_as_a_search_in_the_whole(
            stream in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'\n')], 0..60),
        ) {
            for pattern in ["ab+a", "(a|bb)a", "b[^a]*a", "a.a"] {
                let regex = StreamRegex::new(pattern).unwrap();
                let mut cache = regex.regex.create_cache();
                let ends = |end: usize| {
                    let mut starts = 0..end;
                    let whole = |start: usize, cache: &mut Cache| {
                        let input = Input::new(&stream).range(start..end).anchored(Anchored::Yes);
                        regex.regex.reverse().try_search_rev(cache.reverse_mut(), &input).unwrap()
                            .is_some_and(|half| half.offset() == start)
                    };
                    starts.find(|start| whole(*start, &mut cache)).map(|start| (start, end - start, end))
                };
                prop_assert_eq!(find(pattern, &stream), (0..=stream.len()).find_map(ends));
            }
        }
    }
}
