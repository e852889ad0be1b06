//! A row of bars, one character each.

/// From nothing to all.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last values that fit into so many columns, each as a bar between zero and the greatest of them. What is no number is a blank.
#[must_use]
pub fn sparkline(values: &[f64], columns: usize) -> String {
    let shown = &values[values.len().saturating_sub(columns)..];
    let greatest = shown
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .fold(0.0, f64::max);
    shown
        .iter()
        .map(|value| match value {
            value if !value.is_finite() => ' ',
            value if *value <= 0.0 || greatest <= 0.0 => BARS[0],
            value => {
                let bar = (value / greatest * BARS.len() as f64).ceil() as usize;
                BARS[bar.clamp(1, BARS.len()) - 1]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_the_values() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 4.0, 8.0], 5), "▁▁▂▄█");
        assert_eq!(sparkline(&[9.0, 1.0, 1.0], 2), "██");
        assert_eq!(sparkline(&[f64::NAN, 1.0], 4), " █");
        assert_eq!(sparkline(&[0.0, 0.0], 4), "▁▁");
        assert_eq!(sparkline(&[], 4), "");
    }
}
