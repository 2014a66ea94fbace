//! `nvbind-hook create-container`: the OCI hook, see `nvbind_oci::hook`.

use std::process::ExitCode;

fn main() -> ExitCode {
    clear_environment();
    // Not in the container's root, where runc starts hooks.
    if let Err(error) = std::env::set_current_dir("/") {
        eprintln!("nvbind-hook: cannot change to /: {error}");
    }
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    match nvbind_oci::hook::run(&args, std::io::stdin().lock()) {
        Ok(warnings) => {
            warnings
                .lines()
                .iter()
                .for_each(|line| eprintln!("nvbind-hook: warning: {line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nvbind-hook: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Forgets every variable: a hook whose spec gave no environment would have the image's.
fn clear_environment() {
    for (name, _) in std::env::vars_os() {
        // SAFETY: the process has one thread, nothing else can read the environment meanwhile.
        #[allow(unsafe_code)]
        unsafe {
            std::env::remove_var(name);
        }
    }
}
