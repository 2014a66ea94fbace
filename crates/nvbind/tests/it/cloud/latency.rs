//! Round trips are measured by connecting, kept with their day, and placement goes by them.

use super::client::Client;
use crate::support::{stderr, stdout};
use nvbind_testkit::temp_dir;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Linux sends a lost first packet again after a second (RFC 6298, 2.1).
const AGAIN_MS: f64 = 1000.0;

/// A port whose queue is full for a while, so that the first packet of a connection is lost and the second one, a second later, is not: the
/// address, and what must be kept until then.
fn far_away() -> (String, Vec<TcpStream>) {
    let far = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&far, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bind");
    listen(&far, 0).expect("listen");
    let address: SocketAddrV4 = getsockname(&far).expect("name").try_into().expect("IPv4");
    let filler = TcpStream::connect(address).expect("the one that waits");
    let listener = TcpListener::from(far);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        for taken in listener.incoming() {
            drop(taken);
        }
    });
    (address.to_string(), vec![filler])
}

#[test]
fn the_far_region_is_refused_and_the_near_one_chosen() {
    let dir = temp_dir("latency");
    let client = Client {
        programs: PathBuf::from(env!("CARGO_BIN_EXE_nvbind")).with_file_name(""),
        dir: dir.path().to_owned(),
        variables: vec![("NVBIND_CLOUD_PROVIDERS", "aws".to_owned())],
    };
    let needs = [
        "explain",
        "--gpu-type",
        "T4",
        "--region",
        "us-east-1,us-central1",
        "--max-latency",
        "300",
        "--format",
        "json",
    ];
    let unknown = client.cloud(&needs);
    assert_eq!(unknown.status.code(), Some(4), "{}", stdout(&unknown));
    let told = "no offer meets latency of at most 300 ms: no round trip was measured: `nvbind cloud latency` does it";
    assert!(stderr(&unknown).contains(told), "{}", stderr(&unknown));

    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = format!("gcp/us-central1={}", listener.local_addr().expect("address"));
    let (address, _filler) = far_away();
    let far = format!("aws/us-east-1={address}");
    let printed = client.ok(&[
        "latency",
        "--site",
        "office",
        "--tries",
        "1",
        "--endpoint",
        &near,
        "--endpoint",
        &far,
        "--format",
        "json",
    ]);
    let rows: Value = serde_json::from_str(&printed).expect("JSON");
    let ms = |row: usize| rows[row]["ms"].as_f64().expect("ms");
    eprintln!("round trips: {:.2} ms and {:.1} ms", ms(0), ms(1));
    assert_eq!(
        (&rows[0]["region"], &rows[1]["region"]),
        (&json!("us-central1"), &json!("us-east-1")),
        "{rows:#}"
    );
    assert!(ms(0) < 300.0 && (AGAIN_MS..AGAIN_MS * 1.9).contains(&ms(1)), "{rows:#}");

    let kept: Value = serde_json::from_str(&client.ok(&["latency", "--show", "--format", "json"])).expect("JSON");
    assert_eq!(kept, rows, "it is kept, with its time");
    let explained: Value = serde_json::from_str(&client.ok(&needs)).expect("JSON");
    let choices = explained["choices"].as_array().expect("choices");
    assert!(
        !choices.is_empty() && choices.iter().all(|choice| choice["region"] == "us-central1"),
        "{explained:#}"
    );
    let refused = explained["refused"].as_array().expect("refused");
    let far: Vec<&Value> = refused
        .iter()
        .filter(|refused| refused["region"] == "us-east-1" && refused["gpu"] == "T4")
        .collect();
    let is_for_distance = |refused: &&&Value| refused["why"].as_str().is_some_and(|why| why.contains("office"));
    assert!(far.iter().any(|refused| is_for_distance(&refused)), "{far:#?}");

    // What was measured elsewhere is taken over, under its own name.
    let file = dir.path().join("elsewhere.json");
    std::fs::write(&file, printed.replace("office", "lab")).expect("write a file");
    client.ok(&["latency", "--add", &file.display().to_string()]);
    let kept: Value = serde_json::from_str(&client.ok(&["latency", "--show", "--format", "json"])).expect("JSON");
    assert_eq!(kept.as_array().map(Vec::len), Some(4), "{kept:#}");
}

#[test]
fn who_answers_nowhere_is_told() {
    let dir = temp_dir("latency");
    let client = Client {
        programs: PathBuf::from(env!("CARGO_BIN_EXE_nvbind")).with_file_name(""),
        dir: dir.path().to_owned(),
        variables: Vec::new(),
    };
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("listen")
        .local_addr()
        .expect("address");
    let output = client.cloud(&["latency", "--endpoint", &format!("gcp/us-central1={closed}")]);
    assert_eq!(output.status.code(), Some(1));
    let told = format!("no round trip was measured: {closed} does not answer: ");
    assert!(stderr(&output).contains(&told), "{}", stderr(&output));
    let output = client.cloud(&["latency", "--endpoint", "us-central1=1.2.3.4"]);
    assert_eq!(output.status.code(), Some(2));
    let file = dir.path().join("other.json");
    std::fs::write(&file, r#"[{"ms": null}]"#).expect("write a file");
    let output = client.cloud(&["latency", "--add", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("has no round trip"), "{}", stderr(&output));
}
