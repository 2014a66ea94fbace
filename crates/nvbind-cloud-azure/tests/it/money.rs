//! Quotas, prices, the bill, and whose account it is.

use crate::cloud::{A100, Cloud, OWNER, REGION, T4, azure_with, order, refusal, spot};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{ErrorClass, MachineState, PriceQuery, Provider, QuotaUnit};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

fn query(region: &str, instance_types: &[&str]) -> PriceQuery {
    PriceQuery {
        regions: vec![region.to_owned()],
        instance_types: instance_types.iter().map(|&name| name.to_owned()).collect(),
    }
}

#[test]
fn quotas_are_by_family_and_market() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    cloud.create(&spot(2));
    let quotas = cloud.azure.quotas(REGION).unwrap();
    let find = |name: &str| {
        quotas
            .iter()
            .find(|quota| quota.name == name)
            .unwrap_or_else(|| panic!("{name}: {quotas:?}"))
    };
    // Microsoft's lists write it with and without spaces.
    let t4 = find("StandardNCASv3_T4Family");
    assert!(t4.instance_types.contains(&T4.to_owned()) && !t4.instance_types.contains(&A100.to_owned()));
    assert_eq!(
        (t4.market, t4.unit, t4.used),
        (Some(Market::OnDemand), QuotaUnit::Vcpus, 4.0)
    );
    let low = find("lowPriorityCores");
    assert_eq!((low.market, low.used), (Some(Market::Spot), 4.0));
    let cores = find("cores");
    assert_eq!(
        (cores.market, cores.used, cores.region.as_str()),
        (Some(Market::OnDemand), 4.0, REGION)
    );
    assert!(cores.instance_types.contains(&A100.to_owned()) && low.instance_types.contains(&A100.to_owned()));
    assert!(quotas.iter().all(|quota| quota.name != "virtualMachines"));
}

#[test]
fn prices_are_those_of_linux_on_demand_and_spot() {
    let mut cloud = Cloud::start();
    let query = query(REGION, &[T4, A100, "Standard_NC6s_v3"]);
    let prices = cloud.azure.prices(&query).unwrap();
    let usd = |name: &str, market| {
        let mut found = prices
            .iter()
            .filter(|price| price.instance_type == name && price.market == market);
        let price = found.next().map(|price| price.usd_h);
        assert_eq!(found.next(), None);
        price
    };
    assert_eq!(usd(T4, Market::OnDemand), Some(0.526));
    assert_eq!(usd(T4, Market::Spot), Some(0.062699));
    assert_eq!(usd(A100, Market::OnDemand), Some(3.673));
    // The list still has a price for what is no longer rented out; the machine types do not have it.
    assert_eq!(usd("Standard_NC6s_v3", Market::OnDemand), None);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(prices.iter().all(|price| price.region == REGION && now - price.at < 60));
}

#[test]
fn all_machine_types_are_asked_for_page_by_page() {
    let mut cloud = Cloud::start();
    let names = known();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let prices = cloud.azure.prices(&query("eastus2", &names)).unwrap();
    let of = |name: &str| prices.iter().filter(|price| price.instance_type == name).count();
    assert_eq!(of("Standard_ND96isr_H100_v5"), 2);
    assert_eq!(
        of("Standard_ND96isr_H200_v5"),
        0,
        "restricted for the subscription in this region"
    );
    assert!(cloud.emulator.calls("GET prices") > 4);
    assert_eq!(cloud.emulator.calls("GET skus"), 1);
}

fn known() -> Vec<String> {
    let catalog = nvbind_cloud::catalog::Catalog::embedded().unwrap_or_else(|error| panic!("{error}"));
    let azure = catalog
        .instances()
        .iter()
        .filter(|instance| instance.provider.as_str() == "azure");
    azure.map(|instance| instance.instance_type.clone()).collect()
}

#[test]
fn prices_need_no_account() {
    let cloud = Cloud::start();
    let mut nobody = azure_with(&cloud.emulator, &[("AZURE_SUBSCRIPTION_ID", "")]);
    assert_eq!(nobody.prices(&query(REGION, &[T4])).unwrap().len(), 2);
    assert_eq!(cloud.emulator.calls("POST token"), 0);
}

#[test]
fn the_bill_is_by_day_and_deployment() {
    let mut cloud = Cloud::start();
    let mut other = order(2);
    other.deployment = "serve".to_owned();
    cloud.create(&order(1));
    cloud.create(&other);
    cloud.wait_for(&order(1), MachineState::Running);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let lines = cloud.azure.bill(OWNER, now - 86_400, now + 86_400).unwrap();
    let mut deployments: Vec<&str> = lines.iter().map(|line| line.deployment.as_str()).collect();
    deployments.sort_unstable();
    assert_eq!(deployments, ["serve", "train"]);
    assert!(
        lines
            .iter()
            .all(|line| line.usd > 0.0 && line.day % 86_400 == 0 && now - line.day < 2 * 86_400),
        "{lines:?}"
    );
    assert_eq!(
        cloud.azure.bill("somebody-else", now - 86_400, now + 86_400),
        Ok(Vec::new())
    );
    cloud.rule(&refusal("POST query", 403, "AuthorizationFailed", "no costs for you"));
    assert_eq!(
        cloud.azure.bill(OWNER, 0, now).unwrap_err().class,
        ErrorClass::Permission
    );
}

#[test]
fn a_check_tells_who_asks_and_makes_nothing() {
    let mut cloud = Cloud::start();
    let account = cloud.azure.check().unwrap();
    assert_eq!(account.id, "00000000-0000-0000-0000-000000000001");
    assert_eq!(account.identity, "application 00000000-0000-0000-0000-000000000003");
    assert_eq!(cloud.emulator.everything().len(), 0);
    cloud.rule(&refusal(
        "GET subscriptions",
        404,
        "SubscriptionNotFound",
        "The subscription could not be found.",
    ));
    let error = cloud.azure.check().unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permission, "SubscriptionNotFound")
    );
}

#[test]
fn a_check_names_what_is_not_allowed() {
    let mut cloud = Cloud::start();
    cloud
        .emulator
        .post("/_x/allow", &json!({ "actions": ["*/read", "Microsoft.Compute/*"] }));
    let error = cloud.azure.check().unwrap_err();
    assert_eq!(error.class, ErrorClass::Permission);
    assert!(
        error.message.contains("Microsoft.Network/virtualNetworks/write"),
        "{error}"
    );
    assert!(
        !error.message.contains("Microsoft.Compute/virtualMachines/write"),
        "{error}"
    );
}

#[test]
fn a_list_is_of_an_owner_and_of_regions() {
    let mut cloud = Cloud::start();
    let mut west = order(2);
    west.region = "westus".to_owned();
    let mut others = order(3);
    others.owner = "f".repeat(16);
    for order in [&order(1), &west, &others] {
        cloud.create(order);
    }
    let names = |regions: &[&str], cloud: &mut Cloud| {
        let regions: Vec<String> = regions.iter().map(|&region| region.to_owned()).collect();
        let listed = cloud.azure.list(OWNER, &regions).unwrap();
        let machines = listed.into_iter().filter(|resource| resource.instance_type.is_some());
        let mut names: Vec<String> = machines.map(|machine| machine.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&[REGION], &mut cloud), ["nvbind-train-0-1"]);
    assert_eq!(
        names(&[REGION, "westus"], &mut cloud),
        ["nvbind-train-0-1", "nvbind-train-0-2"]
    );
    assert_eq!(names(&[], &mut cloud).len(), 2);
}

#[test]
fn long_lists_come_page_by_page() {
    let mut cloud = Cloud::start();
    for attempt in 1..=7 {
        cloud.create(&order(attempt));
    }
    for attempt in 1..=7 {
        assert!(cloud.describe(&order(attempt)).is_some(), "{attempt}");
    }
    // Machines with disk, address and interface each; firewall, network and group.
    assert_eq!(cloud.list().len(), 7 * 4 + 3);
    assert_eq!(cloud.delete_all(), 0);
}
