//! Figures as people read them: three digits and the unit that leaves them short.
//!
//! In text and tables the third digit stays even if it is a zero: it was measured, and columns line up. On axes it goes.

/// A time in microseconds: `180 µs`, `1.20 ms`, `10.3 s`.
#[must_use]
pub fn micros(us: f64) -> String {
    with_time_unit(us, digits)
}

/// A time in microseconds that is round: `2 ms`.
#[must_use]
pub fn round_micros(us: f64) -> String {
    with_time_unit(us, |number| trimmed(digits(number)))
}

/// A time in seconds that is round: `10 s`, `1.5 s`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    round_micros(seconds * 1e6)
}

/// A rate: `950`, `20.0k`, `1.25M`.
#[must_use]
pub fn count(number: f64) -> String {
    with_factor(number, digits)
}

/// A number or a rate that is round: `20k`, `3`.
#[must_use]
pub fn round_count(number: f64) -> String {
    with_factor(number, |number| trimmed(digits(number)))
}

/// CPUs that something was pinned to: `CPU 1`, `CPUs 1, 3`, or `any CPU`.
#[must_use]
pub fn cpus(numbers: &[u32]) -> String {
    let list: Vec<String> = numbers.iter().map(u32::to_string).collect();
    match numbers {
        [] => "any CPU".to_owned(),
        [only] => format!("CPU {only}"),
        _ => format!("CPUs {}", list.join(", ")),
    }
}

/// A whole number in full: `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage: `99.2 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percentage = share * 100.0;
    if percentage > 0.0 && percentage < 0.005 {
        return "under 0.01 %".to_owned();
    }
    format!("{} %", trimmed(digits(percentage)))
}

fn with_time_unit(us: f64, digits: impl Fn(f64) -> String) -> String {
    match us.abs() {
        0.0 => "0 µs".to_owned(),
        size if size < 999.5 => format!("{} µs", digits(us)),
        size if size < 999_500.0 => format!("{} ms", digits(us / 1e3)),
        _ => format!("{} s", digits(us / 1e6)),
    }
}

fn with_factor(number: f64, digits: impl Fn(f64) -> String) -> String {
    match number.abs() {
        size if size < 999.5 => trimmed(digits(number)),
        size if size < 999_500.0 => format!("{}k", digits(number / 1e3)),
        size if size < 999_500_000.0 => format!("{}M", digits(number / 1e6)),
        _ => format!("{}G", digits(number / 1e9)),
    }
}

/// Three digits.
fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// Without zeros at the end of a fraction.
fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (us, text) in [
            (0.0, "0 µs"),
            (0.25, "0.25 µs"),
            (180.4, "180 µs"),
            (999.4, "999 µs"),
            (999.6, "1.00 ms"),
            (1_240.0, "1.24 ms"),
            (12_345.0, "12.3 ms"),
            (1_030_000.0, "1.03 s"),
            (-1_500.0, "-1.50 ms"),
        ] {
            assert_eq!(micros(us), text);
        }
        assert_eq!(seconds(10.0), "10 s");
        assert_eq!(round_micros(2_000.0), "2 ms");
        assert_eq!(round_micros(0.5), "0.5 µs");
    }

    #[test]
    fn counts() {
        for (number, text) in [
            (950.0, "950"),
            (19_998.0, "20.0k"),
            (19_940.0, "19.9k"),
            (1_250_000.0, "1.25M"),
            (-0.001, "0"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(round_count(19_998.0), "20k");
        assert_eq!(percent(0.000_01), "under 0.01 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(999), "999");
        assert_eq!(percent(0.9921), "99.2 %");
    }
}
