//! Figures as people read them: three digits and the unit that leaves them short.

/// A time in microseconds: `180 µs`, `1.24 ms`, `10.3 s`.
#[must_use]
pub fn micros(us: f64) -> String {
    match us.abs() {
        size if size < 999.5 => format!("{} µs", digits(us)),
        size if size < 999_500.0 => format!("{} ms", digits(us / 1e3)),
        _ => format!("{} s", digits(us / 1e6)),
    }
}

/// A number or a rate: `950`, `19.9k`, `1.25M`.
#[must_use]
pub fn count(number: f64) -> String {
    match number.abs() {
        size if size < 999.5 => digits(number),
        size if size < 999_500.0 => format!("{}k", digits(number / 1e3)),
        size if size < 999_500_000.0 => format!("{}M", digits(number / 1e6)),
        _ => format!("{}G", digits(number / 1e9)),
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
    format!("{} %", digits(share * 100.0))
}

/// A time in seconds: `10 s`, `1.5 s`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    micros(seconds * 1e6)
}

/// Three digits, without zeros that say nothing behind the point.
fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    if text.contains('.') {
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return if text == "-0" { "0" } else { text }.to_owned();
    }
    text
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
            (999.6, "1 ms"),
            (1_240.0, "1.24 ms"),
            (12_345.0, "12.3 ms"),
            (1_030_000.0, "1.03 s"),
            (-1_500.0, "-1.5 ms"),
        ] {
            assert_eq!(micros(us), text);
        }
        assert_eq!(seconds(10.0), "10 s");
    }

    #[test]
    fn counts() {
        for (number, text) in [
            (950.0, "950"),
            (19_998.0, "20k"),
            (19_940.0, "19.9k"),
            (1_250_000.0, "1.25M"),
            (-0.001, "0"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(999), "999");
        assert_eq!(percent(0.9921), "99.2 %");
    }
}
