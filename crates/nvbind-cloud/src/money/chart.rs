//! Bars of text.

/// Eighths of a cell, from nothing to all of it (Unicode block elements, U+258F to U+2588).
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// Starts and ends the colour of a bar (ECMA-48, select graphic rendition: green, default).
const COLOR: [&str; 2] = ["\x1b[32m", "\x1b[39m"];
/// The least that a bar is given.
const LEAST: usize = 8;

/// A bar for each row, at most `columns` wide in all, with its name before and its USD behind it.
pub fn chart(rows: &[(String, f64)], columns: usize, has_color: bool) -> String {
    let most = rows.iter().map(|(_, usd)| *usd).fold(0.0, f64::max);
    let names = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let amounts: Vec<String> = rows.iter().map(|(_, usd)| format!("{usd:.2}")).collect();
    let amount = amounts.iter().map(String::len).max().unwrap_or(0);
    let width = columns.saturating_sub(names + amount + 4).max(LEAST);
    let [on, off] = if has_color { COLOR } else { [""; 2] };
    rows.iter()
        .zip(&amounts)
        .map(|((name, usd), text)| {
            let share = if most > 0.0 { usd / most } else { 0.0 };
            format!("{name:<names$}  {text:>amount$}  {on}{}{off}", bar(share, width))
                .trim_end()
                .to_owned()
                + "\n"
        })
        .collect()
}

/// A bar that fills that share of its width, to an eighth of a cell.
fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let rest = Some(EIGHTHS[eighths % 8]).filter(|part| *part != ' ');
    std::iter::repeat_n(EIGHTHS[8], eighths / 8).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_fills_the_width() {
        let rows =
            [("2026-11-01", 10.0), ("2026-11-02", 5.25), ("2026-11-03", 0.0)].map(|(day, usd)| (day.to_owned(), usd));
        let text = chart(&rows, 34, false);
        let expected = "2026-11-01  10.00  ███████████████\n2026-11-02   5.25  ███████▉\n2026-11-03   0.00\n";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 34));
    }

    #[test]
    fn nothing_spent_is_no_bar_and_colours_are_closed() {
        assert_eq!(chart(&[("a".to_owned(), 0.0)], 80, false), "a  0.00\n");
        assert_eq!(chart(&[], 80, true), "");
        assert_eq!(
            chart(&[("a".to_owned(), 1.0)], 0, true),
            "a  1.00  \x1b[32m████████\x1b[39m\n"
        );
    }
}
