//! A WSL2 machine: one node for all GPUs, and the driver in a store that the Windows host shares.

use std::fs;
use std::path::Path;

use crate::Error;
use crate::driver::{make_program, stub};
use crate::elf::Class;
use crate::kernel::{Node, link, make_node, write};
use crate::overlay::Overlay;
use crate::state::{FILE_PREFIX, LIBRARY_FOLDER, State};
use crate::store::Store;

/// Node of Microsoft's paravirtualized GPU driver (drivers/hv/dxgkrnl): a miscellaneous device.
const DXG: &str = "dev/dxg";
const MISC_MAJOR: u32 = 10;
const DXG_MINOR: u32 = 126;

/// Where WSL mounts its own libraries, and the Windows host's driver store.
const WSL_LIBRARIES: &str = "usr/lib/wsl/lib";
const STORE: &str = "usr/lib/wsl/drivers/nv_dispi.inf_amd64_5e9b3c2f0a714d86";

/// The CUDA driver, known to programs by another name.
const CUDA: (&str, &str) = ("libcuda.so.1.1", "libcuda.so.1");
/// Other libraries of the store that nothing is in.
const LIBRARIES: [&str; 11] = [
    "libcuda_loader.so",
    "libnvidia-ptxjitcompiler.so.1",
    "libnvidia-ml_loader.so",
    "libnvdxgdmal.so.1",
    "libnvcuvid.so.1",
    "libnvidia-encode.so.1",
    "libnvidia-opticalflow.so.1",
    "libnvidia-ngx.so.1",
    "libnvoptix.so.1",
    "libnvoptix_loader.so.1",
    "libnvwgf2umx.so",
];

/// Other files of the store.
const FILES: [&str; 3] = ["nvcubins.bin", "nvoptix.bin", "nvldumdx.dll"];
const PROGRAM: &str = "nvidia-smi";

/// Makes the machine's root. `library` is the simulated NVML library, which answers for libdxcore too.
pub(crate) fn make(root: &Path, library: &Path, overlay: Option<&Overlay>, state: &State) -> Result<(), Error> {
    make_node(root, &Node::open_to_all(DXG, MISC_MAJOR, DXG_MINOR))?;
    for (name, soname) in LIBRARIES.map(|name| (name, name)).into_iter().chain([CUDA]) {
        let path = root.join(STORE).join(name);
        write(&path, stub(Class::Elf64, soname, &path)?)?;
    }
    for name in FILES {
        write(
            &root.join(STORE).join(name),
            "a simulated machine's driver has nothing here\n",
        )?;
    }
    put_program(root, overlay)?;
    put_state(root, library, state)?;
    put_wsl_libraries(root, library)
}

/// NVIDIA's own `nvidia-smi` where there is one.
fn put_program(root: &Path, overlay: Option<&Overlay>) -> Result<(), Error> {
    match overlay.and_then(|overlay| overlay.file(PROGRAM)) {
        Some(from) => {
            let to = root.join(STORE).join(PROGRAM);
            fs::copy(&from, to).map(drop).map_err(Error::io("copy", &from))
        }
        None => make_program(root, STORE, PROGRAM),
    }
}

/// NVML with the state beside it. The machine's tools look for the state where other machines have it.
fn put_state(root: &Path, library: &Path, state: &State) -> Result<(), Error> {
    copy(library, &root.join(STORE).join("libnvidia-ml.so.1"))?;
    let name = format!("{FILE_PREFIX}1");
    let path = root.join(STORE).join(&name);
    Store::create(&path, &stub(Class::Elf64, &name, &path)?, state)?;
    let below_usr_lib = STORE.trim_start_matches("usr/lib/");
    link(
        root,
        &format!("{LIBRARY_FOLDER}/{name}"),
        &format!("../{below_usr_lib}/{name}"),
    )
}

/// What WSL itself brings: libdxcore, and links to the store as it lays them out.
fn put_wsl_libraries(root: &Path, library: &Path) -> Result<(), Error> {
    let folder = root.join(WSL_LIBRARIES);
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    copy(library, &folder.join("libdxcore.so"))?;
    let store = format!("../{}", STORE.trim_start_matches("usr/lib/wsl/"));
    for (name, target) in [
        ("libcuda.so.1", "libcuda_loader.so"),
        ("libnvidia-ml.so.1", "libnvidia-ml.so.1"),
        ("nvidia-smi", "nvidia-smi"),
    ] {
        link(root, &format!("{WSL_LIBRARIES}/{name}"), &format!("{store}/{target}"))?;
    }
    Ok(())
}

/// A copy, not a link: a linker that writes the library anew would change it under running programs.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(drop).map_err(Error::io("copy", from))
}
