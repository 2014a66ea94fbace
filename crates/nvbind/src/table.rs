//! Text tables: left-aligned columns, two spaces apart.

use crate::containers::now;

/// Lays out rows under a header; every row has as many cells as the header.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(header.get(column).map(|title| title.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = line(header.iter().copied(), &widths);
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str), &widths));
    }
    text
}

fn line<'cell>(cells: impl Iterator<Item = &'cell str>, widths: &[usize]) -> String {
    let padded: Vec<String> = cells
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    format!("{}\n", padded.join("  ").trim_end())
}

/// How long ago a time, in seconds since 1970, was.
pub(crate) fn age(time: u64) -> String {
    format!("{} ago", duration(now().saturating_sub(time)))
}

/// A length of time in its largest unit.
fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length).unwrap_or(&UNITS[3]);
    format!("{} {}", seconds / unit.0, unit.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let rows = [
            vec!["gpu0".to_owned(), "T4".to_owned()],
            vec!["gpu10".to_owned(), String::new()],
        ];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID     NAME\ngpu0   T4\ngpu10\n");
    }

    #[test]
    fn times_are_short() {
        let texts = [0, 59, 60, 7200, 200_000].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 min", "2 h", "2 d"]);
    }
}
