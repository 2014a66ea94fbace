//! A fake driver with two GPUs, bundles for containers that want it, and the programs under test.

use nvbind_testkit::{check, small_rootfs, temp_dir};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_nvbind-runtime");
pub(crate) const HOOK: &str = env!("CARGO_BIN_EXE_nvbind-hook");

/// Where the driver's library lies in containers: a folder that no loader looks into by itself.
pub(crate) const LIBRARY_DIR: &str = "/opt/driver/lib";

pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(crate) fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    write(path, format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An ELF header of that class and machine, enough for what reads libraries for the cache.
pub(crate) fn elf(class: u8, machine: u8) -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..4].copy_from_slice(b"\x7fELF");
    header[4..7].copy_from_slice(&[class, 1, 1]);
    header[16] = 3;
    header[18] = machine;
    header
}

pub(crate) const X86_64: (u8, u8) = (2, 62);
pub(crate) const I386: (u8, u8) = (1, 3);

/// A host with a driver of one library, two GPUs and a control node, described by a CDI spec.
pub(crate) struct Host {
    pub(crate) dir: TempDir,
}

impl Host {
    /// A host whose spec names nvbind's hook.
    pub(crate) fn new() -> Self {
        Self::with_hook(&json!([own_hook(HOOK)]))
    }

    pub(crate) fn with_hook(hooks: &Value) -> Self {
        let host = Self { dir: temp_dir("oci") };
        for (name, minor) in [("nvidia0", 0), ("nvidia1", 1), ("nvidiactl", 255)] {
            let node = host.path(&format!("dev/{name}"));
            std::fs::create_dir_all(node.parent().unwrap()).unwrap();
            check(
                Command::new("mknod")
                    .args(["-m", "666"])
                    .arg(node)
                    .args(["c", "195", &minor.to_string()]),
            );
        }
        // A library that really loads, under the driver's name.
        let libm = small_rootfs().join("usr/lib/x86_64-linux-gnu/libc.so.6");
        std::fs::create_dir_all(host.path("lib")).unwrap();
        std::fs::copy(libm, host.path("lib/libcuda.so.535.1")).unwrap();
        host.write_spec(hooks);
        write(
            &host.path("config.toml"),
            format!("[cdi]\nspec_dirs = [\"{}\"]\n", host.path("cdi").display()),
        );
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn spec(&self, hooks: &Value) -> Value {
        let node =
            |name: &str| json!({ "path": format!("/dev/{name}"), "hostPath": self.path(&format!("dev/{name}")) });
        let device = |name: &str, nodes: &[&str]| {
            let nodes: Vec<Value> = nodes.iter().map(|name| node(name)).collect();
            json!({ "name": name, "containerEdits": { "deviceNodes": nodes } })
        };
        json!({ "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": [device("0", &["nvidia0"]), device("1", &["nvidia1"]), device("GPU-1", &["nvidia1"]),
                device("all", &["nvidia0", "nvidia1"])],
            "containerEdits": {
                "env": ["NVIDIA_VISIBLE_DEVICES=void"],
                "deviceNodes": [node("nvidiactl")],
                "mounts": [{ "hostPath": self.path("lib/libcuda.so.535.1"), "containerPath": format!("{LIBRARY_DIR}/libcuda.so.535.1"),
                    "options": ["ro", "nosuid", "nodev", "rbind", "rprivate"] }],
                "hooks": hooks } })
    }

    fn write_spec(&self, hooks: &Value) {
        write(&self.path("cdi/nvidia.json"), self.spec(hooks).to_string());
    }

    /// A copy of the small Debian root, to be written to.
    pub(crate) fn rootfs(&self) -> PathBuf {
        let rootfs = self.path("bundle/rootfs");
        std::fs::create_dir_all(self.path("bundle")).unwrap();
        check(Command::new("cp").arg("-a").arg(small_rootfs()).arg(&rootfs));
        rootfs
    }

    /// A bundle of runc's own making for a shell command, with these variables besides.
    pub(crate) fn bundle(&self, command: &str, env: &[&str]) -> PathBuf {
        let bundle = self.path("bundle");
        std::fs::create_dir_all(&bundle).unwrap();
        if !bundle.join("rootfs").exists() {
            self.rootfs();
        }
        let file = bundle.join("config.json");
        let _ = std::fs::remove_file(&file);
        check(Command::new("runc").args(["spec", "--bundle"]).arg(&bundle));
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = json!(["/bin/sh", "-c", command]);
        config["process"]["env"]
            .as_array_mut()
            .unwrap()
            .extend(env.iter().map(|entry| Value::from(*entry)));
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set]
                .as_array_mut()
                .unwrap()
                .push("CAP_MKNOD".into());
        }
        config["root"]["readonly"] = false.into();
        write(&file, serde_json::to_vec(&config).unwrap());
        bundle
    }

    pub(crate) fn config(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("bundle/config.json")).unwrap()).unwrap()
    }

    /// The shim on this host.
    pub(crate) fn shim(&self) -> Command {
        let mut shim = Command::new(SHIM);
        shim.env("NVBIND_CONFIG", self.path("config.toml"))
            .env("NVBIND_STATE_DIR", self.path("state-of-nvbind"))
            .stdin(Stdio::null());
        shim
    }

    /// Runs a container to its end by the shim and runc.
    pub(crate) fn run(&self, command: &str, env: &[&str]) -> Output {
        let bundle = self.bundle(command, env);
        self.run_command(&bundle).output().unwrap()
    }

    pub(crate) fn run_command(&self, bundle: &Path) -> Command {
        let mut shim = self.shim();
        let id = self.dir.path().file_name().unwrap();
        shim.arg("--root")
            .arg(self.path("state"))
            .args(["run", "--bundle"])
            .arg(bundle)
            .arg(id);
        shim
    }
}

/// The hook as nvbind's specs have it, for the fake driver.
pub(crate) fn own_hook(program: &str) -> Value {
    json!({ "hookName": "createContainer", "path": program,
        "args": ["nvbind-hook", "create-container",
            format!("--link=libcuda.so.535.1::{LIBRARY_DIR}/libcuda.so.1"),
            format!("--link=libcuda.so.1::{LIBRARY_DIR}/libcuda.so"),
            format!("--library={LIBRARY_DIR}/libcuda.so.1")],
        "env": ["NVBIND_HOOK=create-container"] })
}

/// An argument that the shim does not know, as of a newer hook: it leaves the work to the hook.
pub(crate) const NEEDED: &str = "--of-a-newer-hook=1";

/// The hook with work that the shim cannot do for it.
pub(crate) fn needed_hook(program: &str) -> Value {
    let mut hook = own_hook(program);
    hook["args"].as_array_mut().unwrap().push(NEEDED.into());
    hook
}

/// A root that an image brought along, and a folder of the host that must not change.
pub(crate) struct Image {
    pub(crate) dir: TempDir,
}

impl Image {
    /// A root with the driver's library mounted in the usual place.
    pub(crate) fn new() -> Self {
        let image = Self { dir: temp_dir("image") };
        write(
            &image.root("usr/lib/x86_64-linux-gnu/libcuda.so.535.1"),
            elf(X86_64.0, X86_64.1),
        );
        write(&image.root("etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
        write(&image.canary("file"), "untouched");
        let config = json!({ "root": { "path": "rootfs" } });
        write(&image.dir.path().join("config.json"), config.to_string());
        image
    }

    pub(crate) fn root(&self, path: &str) -> PathBuf {
        self.dir.path().join("rootfs").join(path)
    }

    pub(crate) fn canary(&self, name: &str) -> PathBuf {
        self.dir.path().join("canary").join(name)
    }

    /// Replaces whatever is at a path of the root by a link.
    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) {
        let link = self.root(path);
        let _ = std::fs::remove_dir_all(&link);
        let _ = std::fs::remove_file(&link);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
    }

    /// The arguments of a spec for that driver.
    pub(crate) fn arguments() -> [&'static str; 5] {
        [
            "create-container",
            "--link=libcuda.so.535.1::/usr/lib/x86_64-linux-gnu/libcuda.so.1",
            "--link=libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so",
            "--link=../libcuda.so.1::/usr/lib/x86_64-linux-gnu/gbm/nvidia-drm_gbm.so",
            "--library=/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        ]
    }

    /// Runs the hook as a runtime does.
    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Output {
        self.run_as(Command::new(HOOK).args(args))
    }

    pub(crate) fn run_as(&self, command: &mut Command) -> Output {
        let state =
            json!({ "ociVersion": "1.0.2", "id": "x", "status": "creating", "pid": 1, "bundle": self.dir.path() });
        with_input(
            command.env_clear().env("NVBIND_HOOK", "create-container"),
            state.to_string().as_bytes(),
        )
    }

    /// Runs the shim on the image as an engine does, with a spec that has the hook.
    pub(crate) fn run_shim(&self) -> Output {
        let args = ["nvbind-hook"]
            .iter()
            .chain(&Self::arguments())
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let config = json!({ "root": { "path": "rootfs" }, "process": { "env": ["NVIDIA_VISIBLE_DEVICES=all"] } });
        write(&self.dir.path().join("config.json"), config.to_string());
        let spec = json!({ "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": [{ "name": "all", "containerEdits": { "env": ["A=b"],
                "mounts": [{ "hostPath": self.driver(), "containerPath": "/usr/lib/x86_64-linux-gnu/libcuda.so.535.1" }],
                "hooks": [{ "hookName": "createContainer", "path": HOOK, "args": args, "env": ["NVBIND_HOOK=create-container"] }] } }] });
        write(&self.dir.path().join("cdi/nvidia.json"), spec.to_string());
        write(&self.driver(), elf(X86_64.0, X86_64.1));
        let mut shim = Command::new(SHIM);
        shim.env_clear()
            .env("NVBIND_STATE_DIR", self.dir.path().join("state"))
            .env("NVBIND_CDI_SPEC_DIRS", self.dir.path().join("cdi"))
            .env("NVBIND_RUNTIME_RUNTIMES", "/bin/true")
            .args(["create", "--bundle"])
            .arg(self.dir.path());
        with_input(shim.arg("x"), b"")
    }

    /// The driver's library on the host.
    fn driver(&self) -> PathBuf {
        self.dir.path().join("driver/libcuda.so.535.1")
    }

    /// Whether nothing of the host changed, and no temporary file was left in the root.
    pub(crate) fn assert_unharmed(&self, what: &str) {
        let canary: Vec<_> = std::fs::read_dir(self.canary(""))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(canary, ["file"], "{what}");
        assert_eq!(
            std::fs::read_to_string(self.canary("file")).unwrap(),
            "untouched",
            "{what}"
        );
        assert!(
            std::fs::symlink_metadata(self.canary("file")).unwrap().is_file(),
            "{what}"
        );
        let left = check(Command::new("find").arg(self.dir.path()).args(["-name", ".nvbind-*"]));
        assert_eq!(left, "", "{what}");
    }
}

pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends early closes its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}
