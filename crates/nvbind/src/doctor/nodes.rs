//! Are the device nodes there, and the links by which systemd knows them?

use super::{Finding, Remedy, Site};
use nvbind_gpu::{KernelNode, NodeKind, NodeState};

const MEND: &str = "nvbind doctor --fix";

pub(super) fn check(site: &Site) -> Vec<Finding> {
    if site.nodes.is_empty() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = site.nodes.iter().filter_map(|node| node_trouble(site, node)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok(
            "nodes",
            format!("{} device nodes are right", site.nodes.len()),
        ));
    }
    findings.extend(links(site));
    findings
}

fn node_trouble(site: &Site, node: &KernelNode) -> Option<Finding> {
    let path = node.path.display();
    let (check, what) = match node.state(&site.roots) {
        NodeState::Present => return None,
        NodeState::Missing => ("nodes.missing", "is missing"),
        NodeState::Different => ("nodes.different", "has other numbers or rights than the driver tells"),
    };
    let message = format!("{path} {what}: {}", consequence(node));
    Some(Finding::trouble(check, message).command(MEND).remedy(Remedy::MakeNodes))
}

/// What does not work without the node.
fn consequence(node: &KernelNode) -> &'static str {
    let name = node.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (node.kind, name) {
        (NodeKind::Gpu, _) => "programs and containers do not see this GPU",
        (NodeKind::Capability, _) => "containers cannot be given the MIG device that needs it",
        (NodeKind::Control, "nvidiactl") => "no program can use any GPU",
        (NodeKind::Control, "nvidia-uvm") => "nvidia-smi works, but every CUDA program fails with error 999",
        (NodeKind::Control, "nvidia-uvm-tools") => "debuggers and profilers do not work",
        (NodeKind::Control, "nvidia-modeset") => "Vulkan, EGL and displays do without the GPU",
        (NodeKind::Control, _) => "what needs it does not work",
    }
}

/// Where systemd manages cgroups, it looks for `/dev/char/195:0` when it applies a container's device rules anew; without
/// the link the rule is dropped, and the container loses its GPU at the next `systemctl daemon-reload`.
fn links(site: &Site) -> Option<Finding> {
    if !site.has_systemd() {
        return None;
    }
    let is_unlinked =
        |node: &&KernelNode| node.state(&site.roots) != NodeState::Missing && !node.has_char_link(&site.roots);
    let missing: Vec<String> = site
        .nodes
        .iter()
        .filter(is_unlinked)
        .map(|node| node.char_link().0.display().to_string())
        .collect();
    let first = missing.first()?;
    let message = format!(
        "{} link(s) as {first} are missing: containers lose their GPUs at the next systemctl daemon-reload",
        missing.len()
    );
    Some(
        Finding::trouble("nodes.links", message)
            .command(MEND)
            .remedy(Remedy::LinkNodes),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, levels, only};
    use super::super::{Level, Mender};
    use super::*;

    #[test]
    fn missing_nodes_are_told_and_mended() {
        let fake = Fake::with_driver("535.1.1");
        fake.capability(418);
        let findings = check(&fake.site());
        // nvidiactl, modeset, uvm, uvm-tools, one GPU, one capability.
        assert_eq!(levels(&findings, "nodes.missing"), [Level::Trouble; 6]);
        let uvm = findings
            .iter()
            .find(|finding| finding.message.contains("/dev/nvidia-uvm is"));
        assert!(uvm.unwrap().message.contains("999"), "{findings:?}");
        Mender::new(&fake.site(), &fake.config())
            .mend(&Remedy::MakeNodes)
            .unwrap();
        assert_eq!(only(check(&fake.site()), "nodes").level, Level::Ok);
    }

    #[test]
    fn a_file_in_the_place_of_a_node_is_told() {
        let fake = Fake::with_driver("535.1.1");
        Mender::new(&fake.site(), &fake.config())
            .mend(&Remedy::MakeNodes)
            .unwrap();
        fake.remove("dev/nvidia-uvm");
        fake.file("dev/nvidia-uvm", "");
        assert_eq!(only(check(&fake.site()), "nodes.different").level, Level::Trouble);
    }

    #[test]
    fn links_matter_where_systemd_is() {
        let fake = Fake::with_driver("535.1.1");
        Mender::new(&fake.site(), &fake.config())
            .mend(&Remedy::MakeNodes)
            .unwrap();
        assert!(levels(&check(&fake.site()), "nodes.links").is_empty());
        fake.folder("run/systemd/system");
        let finding = only(check(&fake.site()), "nodes.links");
        assert!(finding.message.starts_with("5 link(s)"), "{finding:?}");
        Mender::new(&fake.site(), &fake.config())
            .mend(&Remedy::LinkNodes)
            .unwrap();
        assert!(levels(&check(&fake.site()), "nodes.links").is_empty());
    }
}
