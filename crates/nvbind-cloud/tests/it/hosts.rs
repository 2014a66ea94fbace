//! The user's own hosts as a provider.

use crate::support::{kit, plan, shell, wait_for_line};
use nvbind_cloud::catalog::{Market, ProviderName};
use nvbind_cloud::host::{HostEntry, HostError, HostsProvider, INSTANCE_TYPE, Node, REGION};
use nvbind_cloud::provider::{ErrorClass, MachineRef, Order, PriceQuery, Provider};
use nvbind_testkit::Machines;
use std::path::Path;

fn provider(config: &Path, hosts: &[&str]) -> HostsProvider {
    let entry = |host: &&str| HostEntry {
        destination: (*host).to_owned(),
        usd_h: 1.25,
        region: REGION.to_owned(),
    };
    let provider = HostsProvider::new(hosts.iter().map(entry).collect(), kit()).unwrap();
    provider.with_ssh_config(config.to_owned()).with_disk(1)
}

fn order(token: &str, host: &str) -> Order {
    Order {
        owner: format!("owner-{}", &token[..1]),
        deployment: "train".into(),
        node: 0,
        attempt: 1,
        token: token.into(),
        name: format!("train-0-{token}"),
        region: REGION.into(),
        zone: Some(host.into()),
        instance_type: INSTANCE_TYPE.into(),
        market: Market::OnDemand,
        disk_gib: 100,
        image: None,
        user: "root".into(),
        public_key: String::new(),
        allow_from: Vec::new(),
        max_run_seconds: None,
    }
}

fn reference(order: &Order) -> MachineRef {
    MachineRef {
        region: order.region.clone(),
        zone: order.zone.clone(),
        name: order.name.clone(),
        token: order.token.clone(),
        id: None,
    }
}

#[test]
fn a_host_has_one_holder_at_a_time() {
    let machines = Machines::new(&[("NVBIND_SIM", "hgx-h100")]);
    let host = machines.boot("m1", "root", None);
    let config = machines.ssh_config("root", &[&host]);
    let tokens = ["a1", "b1", "c1", "d1"];
    let claim = |token: &str| provider(&config, &[&host]).create(&order(token, &host));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = tokens.iter().map(|token| scope.spawn(|| claim(token))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<&str> = tokens.into_iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(token, _)| token).collect();
    let [winner] = winners[..] else { panic!("{answers:?}") };
    let holder = format!("owner-{}", &winner[..1]);
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refused.class, ErrorClass::NoCapacity);
        assert!(refused.message.contains(&holder) && refused.message.contains("'train'"), "{refused}");
    }
    // The same order again, and the same machine by every question.
    let mut hosts = provider(&config, &[&host]);
    let machine = hosts.create(&order(winner, &host)).unwrap();
    assert_eq!(hosts.describe(&reference(&order(winner, &host))).unwrap().unwrap(), machine);
    let resources = hosts.list(&holder, &[]).unwrap();
    assert_eq!((resources.len(), &resources[0].id), (1, &machine.id));
    assert!(hosts.list("somebody", &[]).unwrap().is_empty());
    let other = tokens.into_iter().find(|token| *token != winner).unwrap();
    assert!(hosts.describe(&reference(&order(other, &host))).unwrap().is_none());
    // What is given back twice is no error, and does not take the host from the next holder.
    hosts.delete(&resources[0]).unwrap();
    let next = hosts.create(&order(other, &host)).unwrap();
    hosts.delete(&resources[0]).unwrap();
    assert_eq!(hosts.describe(&reference(&order(other, &host))).unwrap(), Some(next));
}

#[test]
fn a_host_that_is_given_back_runs_nothing_of_ours() {
    let machines = Machines::new(&[("NVBIND_SIM", "hgx-h100")]);
    let host = machines.boot("m1", "root", None);
    let mut hosts = provider(&machines.ssh_config("root", &[&host]), &[&host]);
    let order = order("a1", &host);
    hosts.create(&order).unwrap();
    let mut node = Node::connect(hosts.target(&host).unwrap()).unwrap();
    node.prepare(&kit(), 1).unwrap();
    node.start(&plan("a1", "echo up; sleep 300")).unwrap();
    wait_for_line(&node, "a1", "up");
    let resource = hosts.list("owner-a", &[]).unwrap().remove(0);
    hosts.delete(&resource).unwrap();
    assert_eq!(shell(&mut node, "/opt/nvbind/*/nvbind ps --all --format json").trim(), "[]");
    assert_eq!(shell(&mut node, "ls -A /var/lib/nvbind/cloud/runs; ls /var/lib/nvbind/cloud"), "runs\n");
}

#[test]
fn hosts_tell_what_they_offer() {
    let machines = Machines::new(&[("NVBIND_SIM", "hgx-h100")]);
    let bare = Machines::new(&[]);
    let (good, broken) = (machines.boot("m1", "root", None), bare.boot("m2", "root", None));
    let config = machines.ssh_config("root", &[&good]);
    let stranger = machines.boot("m3", "root", None);
    let mut hosts = provider(&config, &[&good, &broken, &stranger, "ssh://root@127.0.0.1:1"]);
    let probes = hosts.probe();
    let (offer, facts) = probes[0].found.as_ref().unwrap();
    assert_eq!((offer.provider, offer.gpu.name(), offer.gpus), (ProviderName::Hosts, "H100-80GB", 8.0));
    assert_eq!((offer.usd_h, offer.zone.as_deref(), facts.gpus.len()), (1.25, Some(good.as_str()), 8));
    assert!(offer.vcpus >= 1.0 && offer.memory_gib > 0.1 && offer.gpu_memory_gib > 79.0);
    assert!(matches!(&probes[1].found, Err(HostError::HostKey { .. })));
    assert!(matches!(&probes[2].found, Err(HostError::HostKey { .. })));
    assert!(matches!(&probes[3].found, Err(HostError::Unreachable { .. })));
    let prices = hosts.prices(&PriceQuery::default()).unwrap();
    assert_eq!((prices.len(), prices[0].usd_h), (4, 1.25));
    // Those that do not answer do not hide the others.
    assert!(hosts.list("x", &[]).unwrap().is_empty());
    assert_eq!(hosts.unreached().len(), 3);
}

#[test]
fn hosts_that_cannot_be_had_are_refused_by_class() {
    let machines = Machines::new(&[]);
    let config = machines.ssh_config("root", &[]);
    let nowhere = "ssh://root@127.0.0.1:1";
    let stranger = machines.boot("m1", "root", None);
    let mut hosts = provider(&config, &[nowhere, &stranger]);
    let refused = hosts.create(&order("a1", nowhere)).unwrap_err();
    assert_eq!((refused.class, refused.code.as_str()), (ErrorClass::NoCapacity, "Unreachable"));
    let refused = hosts.create(&order("a1", &stranger)).unwrap_err();
    assert_eq!((refused.class, refused.code.as_str()), (ErrorClass::NotOffered, "HostKeyRefused"));
    let refused = hosts.create(&order("a1", "elsewhere")).unwrap_err();
    assert_eq!(refused.class, ErrorClass::NotOffered);
    let silent = hosts.describe(&reference(&order("a1", nowhere))).unwrap_err();
    assert_eq!(silent.class, ErrorClass::Transient);
    assert!(hosts.list("x", &[]).is_err());
    for bad in ["-oProxyCommand=touch /tmp/x", "a\nb", "a'b", "a\"b", ""] {
        let entry = HostEntry {
            destination: bad.into(),
            usd_h: 0.0,
            region: REGION.into(),
        };
        assert!(HostsProvider::new(vec![entry], kit()).is_err(), "{bad:?}");
    }
}
