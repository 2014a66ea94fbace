//! AWS's own bill of what carries our tag, by Cost Explorer.

use crate::answer;
use crate::client::Clients;
use aws_sdk_costexplorer::types::{
    DateInterval, Expression, Granularity, GroupDefinition, GroupDefinitionType, ResultByTime, TagValues,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use nvbind_cloud::provider::{BillLine, ErrorClass, ProviderError, TAG_DEPLOYMENT, TAG_OWNER};

const DAY_SECONDS: u64 = 86_400;
/// What was really paid for each day, before anything is spread over months.
const METRIC: &str = "UnblendedCost";

/// What each deployment cost on each day. Cost Explorer lags by up to a day and knows tags once they are activated for billing.
pub(crate) async fn bill(clients: &Clients, owner: &str, from: u64, to: u64) -> Result<Vec<BillLine>, ProviderError> {
    let first = from / DAY_SECONDS * DAY_SECONDS;
    let last = to.div_ceil(DAY_SECONDS) * DAY_SECONDS;
    let period = DateInterval::builder()
        .start(date(first))
        .end(date(last.max(first + DAY_SECONDS)));
    let period = period.build().map_err(|error| bad(&error.to_string()))?;
    let ours = TagValues::builder().key(TAG_OWNER).values(owner).build();
    let by_deployment = GroupDefinition::builder()
        .r#type(GroupDefinitionType::Tag)
        .key(TAG_DEPLOYMENT)
        .build();
    let call = clients
        .costs()
        .get_cost_and_usage()
        .time_period(period)
        .granularity(Granularity::Daily)
        .metrics(METRIC)
        .filter(Expression::builder().tags(ours).build())
        .group_by(by_deployment);
    let (mut lines, mut page) = (Vec::new(), None);
    loop {
        let answer = call
            .clone()
            .set_next_page_token(page)
            .send()
            .await
            .map_err(answer::read)?;
        lines.extend(answer.results_by_time().iter().flat_map(lines_of));
        page = answer.next_page_token;
        if page.is_none() {
            return Ok(lines);
        }
    }
}

fn lines_of(day: &ResultByTime) -> Vec<BillLine> {
    let start = day.time_period().and_then(|period| seconds(period.start()));
    let Some(start) = start else {
        return Vec::new();
    };
    let groups = day.groups().iter();
    groups
        .filter_map(|group| {
            let amount = group.metrics()?.get(METRIC)?.amount()?;
            // `nvbind-deployment$NAME`; nothing after the sign where the tag is missing.
            let (_, deployment) = group.keys().first()?.split_once('$')?;
            Some(BillLine {
                deployment: deployment.to_owned(),
                day: start,
                usd: amount.parse().ok()?,
            })
        })
        .collect()
}

/// `2026-11-29`.
fn date(seconds: u64) -> String {
    let time = DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let text = time.fmt(Format::DateTime).unwrap_or_default();
    text.chars().take(10).collect()
}

fn seconds(date: &str) -> Option<u64> {
    // Daily results have the date alone, hourly ones the time as well.
    let day: String = date.chars().take(10).collect();
    let time = DateTime::from_str(&format!("{day}T00:00:00Z"), Format::DateTime).ok()?;
    u64::try_from(time.secs()).ok()
}

fn bad(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, "BadCall", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_of_utc() {
        assert_eq!(date(1_795_910_400), "2026-11-29");
        assert_eq!(seconds("2026-11-29"), Some(1_795_910_400));
        assert_eq!(seconds("soon"), None);
    }
}
