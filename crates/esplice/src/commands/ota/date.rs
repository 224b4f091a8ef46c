//! Times in releases, in seconds since 1970.

/// Reads a day such as `2027-01-31`, which is its start in UTC, or a number of seconds since 1970.
pub fn parse(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let wrong = || format!("{text:?} is not a day such as 2027-01-31, nor seconds since 1970");
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return Err(wrong()) };
    let number = |text: &str, len: usize| {
        let is_number = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_number)
    };
    let (year, month, day) = number(year, 4)
        .zip(number(month, 2))
        .zip(number(day, 2))
        .map(|((year, month), day)| (year, month, day))
        .ok_or_else(wrong)?;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_day = (1970..).contains(&year)
        && (1..=12).contains(&month)
        && (1..=lengths[month as usize - 1]).contains(&day);
    if !is_day {
        return Err(wrong());
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = lengths[..month as usize - 1].iter().sum();
    Ok((years + months + day - 1) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date -u -d 2027-01-31 +%s`
    #[test]
    fn days_are_those_of_date() {
        assert_eq!(parse("1970-01-01"), Ok(0));
        assert_eq!(parse("2027-01-31"), Ok(1_801_353_600));
        assert_eq!(parse("2028-02-29"), Ok(1_835_395_200));
        assert_eq!(parse("1800000000"), Ok(1_800_000_000));
        for wrong in
            ["2027-02-29", "2027-13-01", "2027-1-01", "1969-01-01", "2027-00-10", "soon", "-5"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
