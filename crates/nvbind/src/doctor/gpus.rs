//! How do the GPUs do?

use super::{Finding, Site};
use nvbind_gpu::{Condition, Gpu, Health, Xid};
use std::collections::BTreeMap;
use std::path::Path;

/// Xid codes that an application brings about: the GPU is well (NVIDIA's device plugin ignores the same).
const OF_APPLICATIONS: [u32; 7] = [13, 31, 43, 45, 68, 69, 109];

/// Xid codes whose meaning helps, with what to do (NVIDIA, "XID Errors").
const KNOWN: [(u32, &str, &str); 12] = [
    (48, "an uncorrectable memory error", "nvidia-smi --gpu-reset"),
    (61, "an internal microcontroller halted", "nvidia-smi --gpu-reset"),
    (62, "an internal microcontroller halted", "nvidia-smi --gpu-reset"),
    (63, "a memory row is to be replaced", "nvidia-smi --gpu-reset"),
    (
        64,
        "a memory row could not be replaced",
        "run NVIDIA's field diagnostics: the board may have to be replaced",
    ),
    (
        74,
        "an NVLink error",
        "check the cables and nvidia-smi nvlink -e, then nvidia-smi --gpu-reset",
    ),
    (
        79,
        "the GPU has fallen off the bus",
        "reboot; if it comes again, check power, cooling and seating",
    ),
    (92, "many corrected memory errors", "run NVIDIA's field diagnostics"),
    (
        94,
        "a contained memory error: one application was ended",
        "nvidia-smi --gpu-reset when it is idle",
    ),
    (95, "an uncontained memory error", "nvidia-smi --gpu-reset"),
    (
        119,
        "the GPU's system processor does not answer",
        "nvidia-smi --gpu-reset, else reboot",
    ),
    (
        120,
        "the GPU's system processor failed",
        "nvidia-smi --gpu-reset, else reboot",
    ),
];

pub(super) fn check(site: &Site) -> Vec<Finding> {
    if !site.has_driver() {
        return Vec::new();
    }
    if site.host.gpus.is_empty() {
        return vec![
            Finding::trouble("gpus.found", "the driver is loaded and has no GPU")
                .command("lspci -d 10de: ; dmesg | grep NVRM"),
        ];
    }
    let mut findings: Vec<Finding> = site.host.gpus.iter().filter_map(lost).collect();
    if findings.is_empty() {
        findings.push(Finding::ok(
            "gpus.found",
            format!("{} GPU(s) answer", site.host.gpus.len()),
        ));
    }
    findings.extend(xids(site));
    findings.extend(site.conditions.iter().flat_map(memory));
    findings.extend(persistence(site));
    findings.extend(site.host.gpus.iter().filter_map(uncut));
    findings.extend(fabric(site));
    findings.extend(order(site));
    findings
}

fn lost(gpu: &Gpu) -> Option<Finding> {
    let message = format!(
        "GPU {} ({}) is lost: it does not answer any more",
        gpu.index, gpu.pci_bus_id
    );
    let command = format!("nvidia-smi --gpu-reset -i {}; if that fails, reboot", gpu.index);
    (gpu.health == Health::Lost).then(|| Finding::trouble("gpus.lost", message).command(command))
}

/// One finding for each code of each GPU.
fn xids(site: &Site) -> Vec<Finding> {
    let mut counts: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    for Xid { pci_bus_id, code, .. } in site.xids.iter().flatten() {
        *counts.entry((pci_bus_id, *code)).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|((bus, code), count)| xid(bus, code, count))
        .collect()
}

fn xid(bus: &str, code: u32, count: usize) -> Finding {
    let times = format!("Xid {code} on the GPU at {bus}, {count} time(s) since boot");
    if OF_APPLICATIONS.contains(&code) {
        return Finding::advice(
            "gpus.xid",
            format!("{times}: an application's own fault; the GPU is well"),
        );
    }
    match KNOWN.iter().find(|(known, ..)| *known == code) {
        Some((_, what, command)) => Finding::trouble("gpus.xid", format!("{times}: {what}")).command(*command),
        None => Finding::trouble(
            "gpus.xid",
            format!("{times}: NVIDIA's page 'XID Errors' tells what it means"),
        ),
    }
}

fn memory(condition: &Condition) -> Vec<Finding> {
    let index = condition.index;
    let reset = format!("nvidia-smi --gpu-reset -i {index}");
    let mut findings = Vec::new();
    if let Some(errors) = condition.ecc_uncorrected.filter(|errors| *errors > 0) {
        let message = format!("GPU {index} had {errors} uncorrected memory error(s): results may be wrong");
        findings.push(Finding::trouble("gpus.ecc", message).command(reset.clone()));
    }
    if condition.rows_pending == Some(true) {
        let message = format!("GPU {index} waits for a reset to replace a row of memory");
        findings.push(Finding::trouble("gpus.rows", message).command(reset));
    }
    if condition.rows_failed == Some(true) {
        let message = format!("GPU {index} could not replace a row of memory: the board is to be replaced");
        findings.push(Finding::trouble("gpus.rows", message).command("run NVIDIA's field diagnostics"));
    }
    findings
}

fn persistence(site: &Site) -> Option<Finding> {
    let off: Vec<String> = site
        .conditions
        .iter()
        .filter(|condition| condition.persistence == Some(false))
        .map(|condition| condition.index.to_string())
        .collect();
    let message = format!(
        "persistence mode is off on GPU {}: the first program after a pause waits 1 to 3 s for each GPU",
        off.join(", ")
    );
    // In WSL2 it is Windows that keeps the GPU awake.
    (!off.is_empty() && !site.is_wsl()).then(|| {
        Finding::advice("gpus.persistence", message)
            .command("systemctl enable --now nvidia-persistenced, or nvidia-smi -pm 1")
    })
}

/// A GPU in MIG mode that nothing was cut from can be given to no one.
fn uncut(gpu: &Gpu) -> Option<Finding> {
    let message = format!(
        "GPU {} is in MIG mode and has no MIG device: nobody can use it",
        gpu.index
    );
    let command = format!(
        "nvidia-smi mig -i {} -cgi 0 -C, or nvidia-smi -i {} -mig 0",
        gpu.index, gpu.index
    );
    (gpu.mig.enabled && gpu.mig.devices.is_empty()).then(|| Finding::trouble("gpus.mig", message).command(command))
}

/// GPUs behind NVSwitches wait for the fabric manager before CUDA starts on them.
fn fabric(site: &Site) -> Option<Finding> {
    let has_switch = site.roots.dev_path(Path::new("/dev/nvidia-nvswitchctl")).exists();
    let sockets = [
        "/run/nvidia-fabricmanager/socket",
        "/var/run/nvidia-fabricmanager/socket",
    ];
    let has_manager = sockets
        .iter()
        .any(|socket| site.roots.driver_path(Path::new(socket)).exists());
    (has_switch && !has_manager).then(|| {
        Finding::trouble(
            "gpus.fabric",
            "this machine has NVSwitches and no fabric manager runs: CUDA fails with error 802",
        )
        .command("systemctl enable --now nvidia-fabricmanager")
    })
}

fn order(site: &Site) -> Option<Finding> {
    let differs = |gpu: &&Gpu| gpu.index != gpu.minor;
    let example = site.host.gpus.iter().find(differs)?;
    let message = format!(
        "GPU indices are not the numbers of /dev/nvidia*: GPU {} is /dev/nvidia{}; name GPUs by UUID in what is to last",
        example.index, example.minor
    );
    Some(Finding::advice("gpus.order", message).command("nvbind info"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::{Fake, levels, only};
    use super::*;

    #[test]
    fn xids_are_counted_and_told_apart() {
        let fake = Fake::with_driver("535.1.1");
        let record = |code: u32| format!("3,1,1,-;NVRM: Xid (PCI:0000:07:00): {code}, pid=1\n");
        fake.file("dev/kmsg", &[79, 13, 79, 12345].map(record).concat());
        let findings: Vec<Finding> = check(&fake.site())
            .into_iter()
            .filter(|f| f.check == "gpus.xid")
            .collect();
        let told: Vec<(Level, bool)> = findings
            .iter()
            .map(|finding| (finding.level, finding.message.contains("2 time(s)")))
            .collect();
        use Level::{Advice, Trouble};
        assert_eq!(told, [(Advice, false), (Trouble, true), (Trouble, false)]);
        assert!(findings[1].message.contains("fallen off the bus"));
    }

    #[test]
    fn memory_that_fails_is_told() {
        let condition = |ecc, pending, failed| Condition {
            index: 2,
            persistence: None,
            ecc_uncorrected: Some(ecc),
            rows_pending: Some(pending),
            rows_failed: Some(failed),
        };
        let checks = |condition: &Condition| memory(condition).iter().map(|f| f.check).collect::<Vec<_>>();
        assert!(checks(&condition(0, false, false)).is_empty());
        assert_eq!(checks(&condition(3, true, false)), ["gpus.ecc", "gpus.rows"]);
        assert_eq!(checks(&condition(0, false, true)), ["gpus.rows"]);
    }

    #[test]
    fn switches_need_their_manager_and_numbers_are_explained() {
        let fake = Fake::with_driver("535.1.1");
        fake.file("dev/nvidia-nvswitchctl", "");
        let findings = check(&fake.site());
        assert_eq!(levels(&findings, "gpus.fabric"), [Level::Trouble]);
        // The fake GPU is the first and has minor 3.
        assert!(only(findings, "gpus.order").message.contains("GPU 0 is /dev/nvidia3"));
        fake.file("run/nvidia-fabricmanager/socket", "");
        assert!(levels(&check(&fake.site()), "gpus.fabric").is_empty());
    }
}
