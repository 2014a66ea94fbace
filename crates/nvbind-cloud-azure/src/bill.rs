//! Azure's own bill of what carries our tag, by Cost Management.

use crate::arm::{Call, Service};
use crate::id::{COSTS, subscription_id};
use azure_core::time::{OffsetDateTime, parse_rfc3339, to_rfc3339};
use nvbind_cloud::provider::{BillLine, ErrorClass, ProviderError, TAG_DEPLOYMENT, TAG_OWNER};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
struct Report {
    properties: Table,
}

#[derive(Debug, Deserialize)]
struct Table {
    columns: Vec<Column>,
    #[serde(default)]
    rows: Vec<Vec<Value>>,
    #[serde(default, rename = "nextLink")]
    next_link: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
}

/// The bill, day by day. A boot disk carries no tag of its own: it is on the bill where the subscription lets resources inherit the
/// tags of their group (<https://learn.microsoft.com/azure/cost-management-billing/costs/enable-tag-inheritance>). Costs appear 8 to 24
/// hours late.
pub(crate) async fn bill(
    arm: &Service,
    subscription: &str,
    owner: &str,
    from: u64,
    to: u64,
) -> Result<Vec<BillLine>, ProviderError> {
    let path = format!(
        "{}/providers/Microsoft.CostManagement/query",
        subscription_id(subscription)
    );
    let body = json!({
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": { "from": time(from), "to": time(to) },
        "dataset": {
            "granularity": "Daily",
            "aggregation": { "totalCost": { "name": "CostUSD", "function": "Sum" } },
            "grouping": [{ "type": "TagKey", "name": TAG_DEPLOYMENT }],
            "filter": { "tags": { "name": TAG_OWNER, "operator": "In", "values": [owner] } },
        },
    });
    let mut call = Call::post(path, COSTS, Some(body)).reading();
    let mut lines = Vec::new();
    loop {
        let report: Report = arm.send(&call).await?.json()?;
        lines.extend(report.properties.lines()?);
        match report.properties.next_link.filter(|link| !link.is_empty()) {
            Some(link) => call = call.next_page(arm.own_path(&link)?),
            None => return Ok(lines),
        }
    }
}

impl Table {
    fn lines(&self) -> Result<Vec<BillLine>, ProviderError> {
        let usd = self.column(&["CostUSD", "totalCost"])?;
        let (day, deployment) = (
            self.column(&["UsageDate"])?,
            self.column(&["TagValue", TAG_DEPLOYMENT])?,
        );
        let line = |row: &Vec<Value>| {
            Some(BillLine {
                deployment: row.get(deployment)?.as_str().unwrap_or_default().to_owned(),
                day: midnight(row.get(day)?)?,
                usd: row.get(usd)?.as_f64()?,
            })
        };
        self.rows
            .iter()
            .map(|row| line(row).ok_or_else(|| odd("a row without its cost or date")))
            .collect()
    }

    fn column(&self, names: &[&str]) -> Result<usize, ProviderError> {
        let is_it = |column: &Column| names.iter().any(|name| column.name.eq_ignore_ascii_case(name));
        let found = self.columns.iter().position(is_it);
        found.ok_or_else(|| odd(&format!("no column {}", names.join(" or "))))
    }
}

/// A day as Cost Management writes it: the number 20261129.
fn midnight(day: &Value) -> Option<u64> {
    let text = day.as_u64()?.to_string();
    let (year, month, day) = (text.get(..4)?, text.get(4..6)?, text.get(6..8)?);
    let time = parse_rfc3339(&format!("{year}-{month}-{day}T00:00:00Z")).ok()?;
    u64::try_from(time.unix_timestamp()).ok()
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    to_rfc3339(&OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

fn odd(why: &str) -> ProviderError {
    ProviderError::new(
        ErrorClass::Unknown,
        "UnexpectedAnswer",
        format!("Cost Management: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_numbers() {
        assert_eq!(midnight(&json!(20_261_129)), Some(1_795_910_400));
        assert_eq!(midnight(&json!("20261129")), None);
    }
}
