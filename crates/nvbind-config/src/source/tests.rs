use super::*;
use std::os::unix::fs::PermissionsExt;

/// Loads a configuration from the texts of files, variables and flags.
fn load(files: &[&str], variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = Sources::default();
    for (number, text) in files.iter().enumerate() {
        let path = dir.path().join(format!("{number}.toml"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        sources.files.push(path);
    }
    sources.variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let prefix = format!("{}/", dir.path().display());
    sources.load(flags).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        error.to_string().replace(&prefix, "")
    })
}

#[test]
fn nothing_gives_the_defaults() {
    assert_eq!(load(&[], &[], &[]).unwrap(), Config::default());
    assert_eq!(
        load(&["", "# nothing\n"], &[("NVBIND_SIM", "t4"), ("PATH", "/bin")], &[]).unwrap(),
        Config::default()
    );
}

#[test]
fn layers_are_merged_key_by_key() {
    let system = "[host]\ndriver_root = '/a'\nsys_root = '/s'\n[runtime]\nruntimes = ['youki']\nlog = '/l'\n";
    let user = "[host]\ndriver_root = '/b'\n[container]\nruntime = 'podman'\n";
    let variables = [
        ("NVBIND_RUNTIME_RUNTIMES", "/opt/crun, runc"),
        ("NVBIND_RUNTIME_LOG", ""),
    ];
    let config = load(&[system, user], &variables, &[("gpu.default_selection", "all")]).unwrap();
    assert_eq!(config.host.driver_root, Path::new("/b"));
    assert_eq!(config.host.sys_root, Path::new("/s"));
    assert_eq!(config.runtime.runtimes, ["/opt/crun", "runc"]);
    assert_eq!(config.runtime.log, None);
    assert_eq!(config.container.runtime, "podman");
    assert_eq!(config.gpu.default_selection, "all");
}

#[test]
fn every_key_can_be_set_in_every_layer() {
    for key in key::KEYS {
        let value = match key.set {
            key::Setter::Flag(true, _) => "false",
            key::Setter::Flag(false, _) => "true",
            key::Setter::Word(known, _) => known.get(1).copied().unwrap_or("/x"),
            key::Setter::Words(known, _) => known.first().copied().unwrap_or("/x"),
            key::Setter::Usd(_) => "12.5",
            _ => "/x",
        };
        let written = match key.set {
            key::Setter::Flag(..) => value.to_owned(),
            _ if key.is_list() => format!("['{value}']"),
            _ if key.is_number() => value.to_owned(),
            _ => format!("'{value}'"),
        };
        let file = format!("[{}]\n{} = {written}\n", key.section, key.name);
        let variable = format!("NVBIND_{}_{}", key.section, key.name).to_uppercase();
        let from_file = load(&[&file], &[], &[]).unwrap();
        assert_ne!(from_file, Config::default(), "{}", key.dotted());
        assert_eq!(from_file, load(&[], &[(&variable, value)], &[]).unwrap());
        assert_eq!(from_file, load(&[], &[], &[(&key.dotted(), value)]).unwrap());
    }
}

#[test]
fn money_is_a_number_or_a_string() {
    for text in ["50", "50.0", "'50'", "'$50.00'"] {
        let config = load(&[&format!("[cloud]\nbudget_daily = {text}\n")], &[], &[]).unwrap();
        assert_eq!(config.cloud.budget_daily.map(crate::Usd::usd), Some(50.0), "{text}");
    }
    let unset = load(
        &["[cloud]\nbudget_daily = 50\n"],
        &[("NVBIND_CLOUD_BUDGET_DAILY", "")],
        &[],
    );
    assert_eq!(unset.unwrap().cloud.budget_daily, None);
}

#[test]
fn bad_files_are_told_in_a_line() {
    let table = [
        (
            "[host]\ndriver_rot = '/'\n",
            "0.toml:2: unknown key 'host.driver_rot': did you mean 'host.driver_root'?",
        ),
        ("\n[hots]\n", "0.toml:2: unknown key 'hots': did you mean 'host'?"),
        ("host = 3\n", "0.toml:1: 'host' is an integer: it must be a section"),
        (
            "[cdi]\nspec_dirs = '/etc/cdi'\n",
            "0.toml:2: 'cdi.spec_dirs' is a string: it must be a list of strings",
        ),
        (
            "[cdi]\nspec_dirs = [1]\n",
            "0.toml:2: 'cdi.spec_dirs' is a list of other things than strings: it must be a list of strings",
        ),
        (
            "[state]\ndir = true\n",
            "0.toml:2: 'state.dir' is a boolean: it must be a string",
        ),
        (
            "[state]\ndir = 'x'\n",
            "0.toml:2: 'state.dir' does not take 'x': give an absolute path",
        ),
        (
            "[container]\nruntime = 'lxc'\n",
            "0.toml:2: 'container.runtime' does not take 'lxc': use one of auto, native, bolt, docker, podman, containerd",
        ),
        (
            "[cloud]\nbudget_daily = -5\n",
            "0.toml:2: 'cloud.budget_daily' does not take '-5': write an amount in USD, as 50 or 12.5",
        ),
        (
            "[cloud]\nbudget_monthly = ['50']\n",
            "0.toml:2: 'cloud.budget_monthly' is a list: it must be an amount in USD",
        ),
        (
            "[cloud]\nproviders = ['hosts', 'amazon']\n",
            "0.toml:2: 'cloud.providers' does not take 'amazon': use one of aws, gcp, azure, hosts",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            load(&[text], &[], &[]).unwrap_err(),
            format!("configuration: {expected}")
        );
    }
}

#[test]
fn a_half_written_file_names_its_line() {
    let error = load(&["[host]\ndriver_root = '/usr"], &[], &[]).unwrap_err();
    assert!(
        error.starts_with("configuration: 0.toml:2: not valid TOML: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn unknown_variables_of_a_section_are_errors() {
    let error = load(&[], &[("NVBIND_HOOK_PAHT", "/x")], &[]).unwrap_err();
    assert_eq!(
        error,
        "configuration: environment variable NVBIND_HOOK_PAHT: unknown key 'hook.paht': did you mean 'hook.path'?"
    );
    for name in [
        "NVBIND_HOOK",
        "NVBIND_LOG",
        "NVBIND_SIM_LIBRARY",
        "NVBIND_TEST_X",
        "NVBIND_CONFIG",
        "NVBIND_OTHER_X",
    ] {
        assert_eq!(load(&[], &[(name, "x")], &[]).unwrap(), Config::default(), "{name}");
    }
}

#[test]
fn unknown_flags_are_errors() {
    let error = load(&[], &[], &[("driver_root", "/")]).unwrap_err();
    assert_eq!(
        error,
        "configuration: command line: unknown key 'driver_root': did you mean 'host.driver_root'?"
    );
}

#[test]
fn a_named_file_must_exist() {
    let sources = Sources {
        toolkit: None,
        files: vec!["/nonexistent.toml".into()],
        files_must_exist: true,
        variables: Vec::new(),
    };
    let error = sources.load(&[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration: /nonexistent.toml does not exist: correct or unset NVBIND_CONFIG"
    );
    assert_eq!(error.exit_code(), 2);
}
