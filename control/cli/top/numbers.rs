// SPDX-License-Identifier: MIT
//! Numbers to text.

/// How a figure is written.
pub(super) type Write = fn(f64) -> String;

/// For people: three digits that count and a unit, `12.3M`. What is less than ten of nothing has one decimal.
pub(super) fn scaled(figure: f64) -> String {
    let mut units = ["", "k", "M", "G", "T"].into_iter();
    let (mut scaled, mut unit) = (figure, units.next().unwrap_or_default());
    // What would be rounded to a thousand has the next unit.
    while scaled >= 999.5
        && let Some(next) = units.next()
    {
        (scaled, unit) = (scaled / 1000.0, next);
    }
    match scaled {
        0.0 => "0".to_owned(),
        _ if unit.is_empty() && scaled < 0.05 => "<0.1".to_owned(),
        _ if unit.is_empty() && scaled < 9.95 && scaled.fract() != 0.0 => format!("{scaled:.1}"),
        _ if unit.is_empty() || scaled >= 99.95 => format!("{scaled:.0}{unit}"),
        _ if scaled >= 9.995 => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.2}{unit}"),
    }
}

/// For scripts: a whole number.
pub(super) fn whole(figure: f64) -> String {
    format!("{figure:.0}")
}

/// A time as `3d 04:05:06`; without days if there is none.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    match days {
        0 => clock,
        _ => format!("{days}d {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        for (figure, text) in [
            (0.0, "0"),
            (0.01, "<0.1"),
            (0.5, "0.5"),
            (7.0, "7"),
            (9.96, "10"),
            (640.4, "640"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (1204.0, "1.20k"),
            (9_996.0, "10.0k"),
            (12_345_678.0, "12.3M"),
            (99_960_000.0, "100M"),
            (999_600_000.0, "1.00G"),
            (4.5e16, "45000T"),
        ] {
            assert_eq!(scaled(figure), text, "{figure}");
        }
        assert_eq!(whole(12_345_678.4), "12345678");
    }

    #[test]
    fn a_time_has_days_if_it_takes_any() {
        assert_eq!(clock(59.9), "00:00:59");
        assert_eq!(clock(3.0 * 86_400.0 + 4.0 * 3600.0 + 306.0), "3d 04:05:06");
    }
}
