use super::*;

const FULL: &str = r#"
    name = "train"
    runtime = "native"
    image = "debian:12"
    command = ["nvidia-smi", "-L"]
    gpu = "count=2,model=A100"
    profile = "training"
    volumes = ["data:/data:ro"]
    memory = "8GiB"
    cpus = 2.5
    isolation = "exclusive"
    capabilities = "all"
    [env]
    A = "b"
"#;

fn workload(text: &str) -> Result<Workload, String> {
    let draft = Draft::from_toml(text)?;
    draft
        .into_workload("default-name", &Selector::all())
        .map_err(|error| error.to_string())
}

#[test]
fn a_file_is_a_workload() {
    let train = workload(FULL).unwrap();
    let volume = Volume {
        source: "data".into(),
        target: "/data".into(),
        read_only: true,
    };
    assert_eq!(
        train,
        Workload {
            image: Some(ImageRef::Name("debian:12".into())),
            command: vec!["nvidia-smi".into(), "-L".into()],
            gpu: "count=2,model=A100".parse().unwrap(),
            profile: Profile::Training,
            volumes: vec![volume],
            memory_bytes: Some(8 << 30),
            cpus: Some(2.5),
            isolation: Isolation::Exclusive,
            capabilities: Capabilities::ALL,
            env: vec![("A".into(), "b".into())],
            ..Workload::new("train")
        }
    );
}

#[test]
fn a_table_for_the_cloud_is_passed_over() {
    let with = format!("{FULL}\n[cloud]\ngpus = 4\nscale = {{ max = 3 }}\n");
    assert_eq!(workload(&with), workload(FULL));
    assert_eq!(Draft::from_toml(&with).unwrap().cloud, Some(CloudTable));
    assert_eq!(Draft::from_text(FULL).unwrap().cloud, None);
    let wrong = Draft::from_text("imge = 'x'").unwrap_err();
    assert_eq!(
        (wrong.to_string(), wrong.exit_code()),
        ("workload: unknown key 'imge': did you mean 'image'?".to_owned(), 2)
    );
}

#[test]
fn the_list_of_keys_is_the_struct() {
    for key in KEYS {
        // A table is the wrong type for every key but `env` and `cloud`: an unknown field would be ignored instead of refused.
        let wrong = if key == "cloud" {
            "cloud = 1".to_owned()
        } else {
            format!("[{key}]\nx = 1")
        };
        let taken = toml::from_str::<Draft>(&wrong).is_err();
        assert!(taken, "{key} is no field of Draft");
    }
}

#[test]
fn open_parts_have_defaults() {
    let small = workload("image = 'x'").unwrap();
    assert_eq!(small.name, "default-name");
    assert_eq!(small.gpu, Selector::all());
    assert_eq!(small.capabilities, Capabilities::DEFAULT);
}

#[test]
fn capabilities_come_from_the_most_explicit_wish() {
    let of = |text: &str| workload(text).unwrap().capabilities.to_string();
    let variable = "image='x'\nprofile='gaming'\nenv={NVIDIA_DRIVER_CAPABILITIES='utility'}";
    assert_eq!(of("image='x'\nprofile='gaming'"), Capabilities::ALL.to_string());
    assert_eq!(of(variable), "utility");
    assert_eq!(of(&format!("{variable}\ncapabilities='compute'")), "compute");
}

#[test]
fn mistakes_are_one_line() {
    for (text, error) in [
        ("immage = 'x'", "unknown key 'immage': did you mean 'image'?"),
        ("[enviroment]\nA='1'", "unknown key 'enviroment': did you mean 'env'?"),
        ("image = ", "line 1: "),
        (
            "image='x'\nprofile = 'fast'",
            "line 2: unknown profile 'fast': use default, balanced",
        ),
        ("image='x'\ngpu = 'x'", "line 2: bad GPU selector 'x'"),
        ("gpu='all'", "nothing to run: give an IMAGE or --rootfs DIR"),
        ("image='x'\nname='../x'", "bad name '../x'"),
        ("image='x'\ncpus=-1.0", "bad number of CPUs '-1'"),
        ("image='x'\nworkdir='a'", "bad working directory 'a'"),
        ("image='x'\nmemory='0'", "bad memory limit '0'"),
        ("image='x'\nenv={'A=B'='1'}", "bad environment variable 'A=B'"),
    ] {
        let message = workload(text).unwrap_err();
        assert!(message.starts_with(error), "{text}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn options_win_over_the_file() {
    let file = Draft::from_toml(FULL).unwrap();
    let options = Draft {
        name: Some("other".into()),
        env: Variables(vec![("A".into(), "c".into())]),
        command: vec!["true".into()],
        ..Draft::default()
    };
    let both = options.over(file);
    assert_eq!(both.name.as_deref(), Some("other"));
    assert_eq!(both.command, ["true"]);
    assert_eq!(both.env.0.last(), Some(&("A".to_owned(), "c".to_owned())));
    assert_eq!(both.profile, Some(Profile::Training));
}

#[test]
fn paths_of_a_file_are_relative_to_it() {
    let mut draft = Draft::from_toml("image='./img.tar'\nrootfs='root'\nvolumes=['/a:/a', 'b:/b']").unwrap();
    draft.relative_to(Path::new("/w"));
    assert_eq!(draft.rootfs.as_deref(), Some(Path::new("/w/root")));
    assert_eq!(draft.volumes[0].source, Path::new("/a"));
    assert_eq!(draft.volumes[1].source, Path::new("/w/b"));
    assert!(matches!(draft.image, Some(ImageRef::Layout { path, .. }) if path == Path::new("/w/./img.tar")));
}
