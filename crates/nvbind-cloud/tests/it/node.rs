//! Hosts made ready.

use crate::support::{fresh, kit, kit_folder, prepared, shell};
use nvbind_cloud::host::{Node, Prepared};
use nvbind_testkit::Machines;
use std::time::Instant;

fn told(what: &str, prepared: &Prepared) {
    let steps: Vec<String> = prepared
        .steps
        .iter()
        .map(|step| format!("{} {:.2} s", step.name, step.seconds))
        .collect();
    eprintln!("{what}: {}", steps.join(", "));
}

#[test]
fn a_bare_host_is_prepared_once() {
    let machines = Machines::new(&[("NVBIND_SIM", "hgx-h100")]);
    let start = Instant::now();
    let address = machines.boot("m1", "root", None);
    eprintln!("a machine is up after {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mut node = Node::connect(fresh(&machines, &address, "m1")).unwrap();
    eprintln!("logged in after {:.2} s", start.elapsed().as_secs_f64());
    let cold = node.prepare(&kit(), 1).unwrap();
    told("cold", &cold);
    assert!(!cold.was_there);
    assert_eq!(
        (cold.facts.gpus.len(), cold.facts.gpus[0].name.as_str()),
        (8, "NVIDIA H100 80GB HBM3")
    );
    assert!(cold.facts.vcpus > 0 && cold.facts.memory_mib > 100 && cold.facts.disk_free_mib > 1);
    let again = node.prepare(&kit(), 1).unwrap();
    told("again", &again);
    assert!(again.was_there && again.steps.iter().all(|step| step.name != "copy"));
    // What was changed there is not taken for ours.
    shell(
        &mut node,
        "for file in /opt/nvbind/*/nvbind-hook; do echo >>$file; done",
    );
    assert!(!node.prepare(&kit(), 1).unwrap().was_there);
    assert_eq!(shell(&mut node, "ls -A /opt/nvbind | wc -l").trim(), "1");
}

#[test]
fn an_image_with_nvbind_needs_no_copy() {
    let image = nvbind_testkit::temp_dir("image");
    let bin = image.path().join("usr/local/bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["nvbind", "nvbind-runtime", "nvbind-hook", "libnvbind_sim_nvml.so"] {
        std::fs::copy(kit_folder().join(name), bin.join(name)).unwrap();
    }
    let machines = Machines::with_images(&[("NVBIND_SIM", "hgx-h100")], &[image.path()]);
    let address = machines.boot("m1", "root", None);
    let mut node = Node::connect(fresh(&machines, &address, "m1")).unwrap();
    let baked = node.prepare(&kit(), 1).unwrap();
    told("baked", &baked);
    assert!(baked.was_there);
    assert_eq!(shell(&mut node, "ls /opt/nvbind"), "");
}

#[test]
fn an_ordinary_user_prepares_its_own_folder() {
    let machines = Machines::new(&[("NVBIND_SIM", "hgx-h100")]);
    let address = machines.boot("m1", "ubuntu", None);
    let known = machines.dir().join("known");
    let target = nvbind_cloud::host::Target::fresh("ubuntu", &address, machines.key(), known, "m1").unwrap();
    let mut node = Node::connect(target).unwrap();
    node.prepare(&kit(), 1).unwrap();
    let has_sudo = shell(&mut node, "sudo -n true && echo yes").contains("yes");
    let home = shell(&mut node, "ls ~/.local/share/nvbind");
    assert_eq!(home.contains("nvbind-"), !has_sudo, "{home}");
}

#[test]
fn a_host_that_will_not_do_is_refused_with_the_reason() {
    let machines = Machines::new(&[]);
    let address = machines.boot("m1", "root", None);
    let mut node = Node::connect(fresh(&machines, &address, "m1")).unwrap();
    let error = node.prepare(&kit(), 1).unwrap_err().to_string();
    assert!(error.contains(&address) && error.contains("driver"), "{error}");
    let (_machines, mut node) = prepared("hgx-h100", None);
    let error = node.prepare(&kit(), 1 << 40).unwrap_err().to_string();
    assert!(error.contains("MiB of disk are free"), "{error}");
    shell(&mut node, "/opt/nvbind/*/nvbind sim lose 3");
    let error = node.prepare(&kit(), 1).unwrap_err().to_string();
    assert!(error.contains("GPU 3 is lost"), "{error}");
}
