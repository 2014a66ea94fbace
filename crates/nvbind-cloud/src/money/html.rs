//! A report for a browser: one file that needs nothing else.

use super::{CostLine, Costs, DriftLine, Forecast};
use crate::catalog::Day;
use std::fmt::Write;

/// What a report tells.
#[derive(Debug, Clone)]
pub struct Report<'data> {
    /// Costs by day, for the chart.
    pub days: &'data Costs,
    /// Costs of the same period by other things, a table each.
    pub tables: &'data [Costs],
    /// Forecasts by name.
    pub forecasts: &'data [(&'static str, Forecast)],
    /// The providers' bills, where they were asked.
    pub drift: &'data [DriftLine],
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}\
table{border-collapse:collapse;margin:.5em 0 2em}th,td{padding:.2em .9em .2em 0;text-align:left;border-bottom:1px solid #ddd}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%;height:auto}rect{fill:#2f7d32}text{font-size:11px;fill:#555}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}text{fill:#aaa}}";

/// Width and height of the chart, in its own units.
const CHART: (f64, f64) = (900.0, 220.0);
/// Room below the bars for the days, and above them for the highest amount.
const MARGIN: f64 = 20.0;

/// The report as a page.
pub fn html(report: &Report<'_>) -> String {
    let period = report.days.period;
    let day = |ms: i64| Day(ms.div_euclid(super::DAY_MS));
    let title = format!(
        "nvbind cloud costs, {} to {}",
        day(period.from_ms),
        day(period.to_ms - 1)
    );
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>{title}</h1>\n<p>{:.2} USD, {:.1} GPU hours, {} machines, of which {} run now for {:.2} USD an hour. Days are UTC.</p>\n",
        report.days.total.usd,
        report.days.total.gpu_hours,
        report.days.total.machines,
        report.days.total.running,
        report.days.total.running_usd_h,
    );
    page.push_str(&svg(&report.days.lines));
    for costs in report.tables {
        page.push_str(&cost_table(costs));
    }
    page.push_str(&forecast_table(report.forecasts));
    page.push_str(&drift_table(report.drift));
    page.push_str("</body>\n</html>\n");
    page
}

/// Text that is text in HTML whatever is in it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A bar for each day; each says its day and amount when it is pointed at.
fn svg(days: &[CostLine]) -> String {
    let most = days.iter().map(|line| line.usd).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let (width, height) = CHART;
    let step = width / days.len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"USD by day\">\n<text x=\"0\" y=\"12\">{most:.2} USD</text>\n"
    );
    for (index, line) in days.iter().enumerate() {
        let bar = line.usd / most * (height - 2.0 * MARGIN);
        let _ = writeln!(
            svg,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{bar:.2}\"><title>{}: {:.2} USD</title></rect>",
            index as f64 * step + step * 0.1,
            height - MARGIN - bar,
            step * 0.8,
            escape(&line.name),
            line.usd,
        );
    }
    let ends = [(0.0, "start", days.first()), (width, "end", days.last())];
    for (x, anchor, line) in ends {
        let name = line.map(|line| escape(&line.name)).unwrap_or_default();
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{name}</text>",
            height - 5.0
        );
    }
    svg + "</svg>\n"
}

fn cost_table(costs: &Costs) -> String {
    let rows = costs.lines.iter().chain([&costs.total]).map(|line| {
        let cells = [
            format!("{:.2}", line.machines_usd),
            format!("{:.2}", line.extras_usd),
            format!("{:.2}", line.usd),
            format!("{:.1}", line.gpu_hours),
            line.machines.to_string(),
            format!("{:.2}", line.running_usd_h),
        ];
        (line.name.clone(), cells.to_vec())
    });
    let heads = [
        "machines USD",
        "extras USD",
        "USD",
        "GPU hours",
        "machines",
        "USD/h now",
    ];
    table(
        &format!("By {}", costs.by.as_str()),
        costs.by.as_str(),
        &heads,
        rows.collect(),
    )
}

fn forecast_table(forecasts: &[(&'static str, Forecast)]) -> String {
    let rows = forecasts.iter().map(|(name, forecast)| {
        let amounts = [
            forecast.spent_usd,
            forecast.if_running_usd,
            forecast.if_usual_usd,
            forecast.expected_usd,
        ];
        ((*name).to_owned(), amounts.map(|usd| format!("{usd:.2}")).to_vec())
    });
    let heads = ["spent USD", "if it runs on", "if it goes on as usual", "expected USD"];
    table("Forecast", "until the end of the", &heads, rows.collect())
}

fn drift_table(drift: &[DriftLine]) -> String {
    let rows = drift.iter().map(|line| {
        let percent = line
            .drift_percent
            .map_or("-".to_owned(), |percent| format!("{percent:+.1}"));
        let cells = vec![
            format!("{:.2}", line.recorded_usd),
            format!("{:.2}", line.billed_usd),
            format!("{:+.2}", line.drift_usd),
            percent,
        ];
        (format!("{} {} {}", line.day, line.provider, line.deployment), cells)
    });
    let heads = ["recorded USD", "billed USD", "difference USD", "%"];
    table(
        "The providers' bills",
        "day, provider, deployment",
        &heads,
        rows.collect(),
    )
}

/// A table with a heading; nothing when it has no rows. The first column is text, the others are numbers.
fn table(title: &str, first: &str, heads: &[&str], rows: Vec<(String, Vec<String>)>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("<h2>{}</h2>\n<table>\n<tr><th>{}</th>", escape(title), escape(first));
    for head in heads {
        let _ = write!(text, "<th class=\"n\">{}</th>", escape(head));
    }
    text.push_str("</tr>\n");
    for (name, cells) in rows {
        let _ = write!(text, "<tr><td>{}</td>", escape(&name));
        for cell in cells {
            let _ = write!(text, "<td class=\"n\">{}</td>", escape(&cell));
        }
        text.push_str("</tr>\n");
    }
    text + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HOUR, attempt};
    use super::super::{By, Owners, Period, costs, forecast};
    use super::*;
    use crate::catalog::ProviderName::Aws;

    fn page(owner: &str) -> String {
        let now = 50 * HOUR;
        let attempts = [
            attempt("train", Aws, Some(20), Some(28)),
            attempt("serve", Aws, Some(30), None),
        ];
        let owners = Owners::from([(1, owner.to_owned())]);
        let period = Period { from_ms: 0, to_ms: now };
        let days = costs(&attempts, &owners, period, By::Day, now);
        let tables = [By::User, By::Deployment].map(|by| costs(&attempts, &owners, period, by, now));
        html(&Report {
            days: &days,
            tables: &tables,
            forecasts: &[("day", forecast(&attempts, Period::day_of(now), now))],
            drift: &[],
        })
    }

    #[test]
    fn a_report_is_well_formed_and_needs_nothing_else() {
        let page = page("ada");
        for outside in ["http:", "https:", "src=", "href=", "url(", "<script", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for tag in [
            "html", "head", "body", "svg", "table", "rect", "td", "th", "tr", "text", "title",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(page.contains("<title>1970-01-03: 5.00 USD</title>"), "{page}");
        assert!(
            page.contains(
                "<td>train</td><td class=\"n\">16.00</td><td class=\"n\">4.00</td><td class=\"n\">20.00</td>"
            )
        );
    }

    #[test]
    fn what_users_wrote_is_text() {
        let page = page("<script>alert('x')</script>\"&\u{1b}");
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;\u{fffd}"));
    }
}
