//! Devices that are no GPUs: GPUDirect Storage, InfiniBand, GDRCopy, NVSwitches, IMEX channels. A mode each.

use super::common::mount;
use super::device::{add_node, sort};
use super::{ALL, GenerateOptions, Mode, merged, new_device, new_spec};
use crate::mount_options;
use crate::{Device, Edits, Error, Spec};
use nvbind_config::Roots;
use std::path::{Path, PathBuf};

/// Folder of the nodes of IMEX channels, and how their names begin.
const IMEX_FOLDER: &str = "/dev/nvidia-caps-imex-channels";
const IMEX_NODE: &str = "channel";

/// What a mode looks for.
struct Extra {
    mode: Mode,
    /// Folder and start of the name of nodes.
    nodes: &'static [(&'static str, &'static str)],
    /// Files and folders of the host that come with the nodes, where they are there.
    mounts: &'static [&'static str],
    /// What is to be done when there is no node.
    advice: &'static str,
}

/// The modes, as `nvidia-ctk cdi generate` has them.
const EXTRAS: [Extra; 4] = [
    Extra {
        mode: Mode::Gds,
        nodes: &[("/dev", "nvidia-fs")],
        mounts: &["/run/udev", "/etc/cufile.json"],
        advice: "load the kernel module nvidia-fs",
    },
    Extra {
        mode: Mode::Mofed,
        nodes: &[("/dev/infiniband", "uverbs"), ("/dev/infiniband", "rdma_cm")],
        mounts: &[],
        advice: "load the kernel modules ib_uverbs and rdma_ucm",
    },
    Extra {
        mode: Mode::Gdrcopy,
        nodes: &[("/dev", "gdrdrv")],
        mounts: &[],
        advice: "load the kernel module gdrdrv",
    },
    Extra {
        mode: Mode::Nvswitch,
        nodes: &[("/dev", "nvidia-nvswitch")],
        mounts: &[],
        advice: "load the NVIDIA driver on a machine with NVSwitches",
    },
];

/// The spec of a mode of the table, or of IMEX channels; `None` for other modes.
pub(super) fn generate(roots: &Roots, options: &GenerateOptions) -> Option<Result<Spec, Error>> {
    if options.mode == Mode::Imex {
        return Some(imex(roots, options));
    }
    let extra = EXTRAS.iter().find(|extra| extra.mode == options.mode)?;
    Some(one_device(roots, extra, options))
}

fn one_device(roots: &Roots, extra: &Extra, options: &GenerateOptions) -> Result<Spec, Error> {
    if let Some(id) = options.device_ids.iter().find(|id| *id != ALL) {
        return Err(Error::UnknownDevice {
            id: id.clone(),
            hint: format!("there is only {ALL}"),
        });
    }
    let mut edits = Edits::default();
    for (folder, start) in extra.nodes {
        add_nodes(&mut edits, roots, nodes(roots, folder, start), options);
    }
    if edits.device_nodes.is_empty() {
        let wanted: Vec<String> = extra
            .nodes
            .iter()
            .map(|(folder, start)| format!("{folder}/{start}*"))
            .collect();
        return Err(nothing(options.mode, &wanted.join(", "), extra.advice));
    }
    sort(&mut edits);
    for path in extra.mounts.iter().map(Path::new) {
        let host = roots.driver_path(path);
        if host.exists() {
            edits.mounts.push(mount(&host, path, mount_options::FILE));
        }
    }
    new_spec(options, vec![new_device(ALL.to_owned(), edits)], Edits::default())
}

/// A device for each channel, named by its number, and one for all together.
fn imex(roots: &Roots, options: &GenerateOptions) -> Result<Spec, Error> {
    let mut channels: Vec<(u32, PathBuf)> = nodes(roots, IMEX_FOLDER, IMEX_NODE)
        .into_iter()
        .filter_map(|path| Some((channel_of(path.file_name()?.to_str()?)?, path)))
        .collect();
    channels.sort_unstable();
    if channels.is_empty() {
        let advice = "make them with nvidia-modprobe -i, on a machine with a multi-node NVLink domain";
        return Err(nothing(Mode::Imex, &format!("{IMEX_FOLDER}/{IMEX_NODE}*"), advice));
    }
    let is_asked = |number: u32| {
        options
            .device_ids
            .iter()
            .any(|id| id == ALL || channel_of(id) == Some(number))
    };
    let is_there = |id: &&String| *id == ALL || channels.iter().any(|(number, _)| channel_of(id) == Some(*number));
    if let Some(id) = options.device_ids.iter().find(|id| !is_there(id)) {
        let known: Vec<String> = channels.iter().take(16).map(|(number, _)| number.to_string()).collect();
        return Err(Error::UnknownDevice {
            id: id.clone(),
            hint: format!("there are the IMEX channels {}", known.join(", ")),
        });
    }
    let mut devices: Vec<Device> = Vec::new();
    for (number, path) in channels.into_iter().filter(|(number, _)| is_asked(*number)) {
        let mut edits = Edits::default();
        add_nodes(&mut edits, roots, vec![path], options);
        devices.push(new_device(number.to_string(), edits));
    }
    if !options.no_all_device {
        devices.push(merged(&devices));
    }
    new_spec(options, devices, Edits::default())
}

/// The number in `5` or `channel5`.
fn channel_of(id: &str) -> Option<u32> {
    id.strip_prefix(IMEX_NODE).unwrap_or(id).parse().ok()
}

pub(super) fn add_nodes(edits: &mut Edits, roots: &Roots, paths: Vec<PathBuf>, options: &GenerateOptions) {
    for path in paths {
        add_node(edits, &path, &roots.dev_path(&path), options);
    }
}

/// The nodes of a folder below the device root whose names begin like that, as paths in a container.
pub(super) fn nodes(roots: &Roots, folder: &str, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(roots.dev_path(Path::new(folder)));
    let entries = entries.into_iter().flatten().flatten();
    let is_node = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_dir());
    let named = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()));
    named
        .filter(is_node)
        .map(|entry| Path::new(folder).join(entry.file_name()))
        .collect()
}

fn nothing(mode: Mode, wanted: &str, advice: &'static str) -> Error {
    Error::NoExtra {
        mode: mode.word(),
        wanted: wanted.to_owned(),
        advice,
    }
}
