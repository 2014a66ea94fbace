//! Credentials and settings: right, wrong, missing.

use crate::fixture::{A100, Cloud, OWNER, bare_program, order, program};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{Account, ErrorClass, PriceQuery, Provider, Remote};
use nvbind_testkit::{Emulator, temp_dir};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn an_account_that_works_is_named() {
    let mut cloud = Cloud::start();
    let account = cloud.gcp.check().unwrap();
    assert_eq!(
        account,
        Account {
            id: "nvbind-test".to_owned(),
            identity: "anonymous".to_owned()
        }
    );
    assert_eq!(cloud.emulator.everything().len(), 0);
}

#[test]
fn refused_credentials_are_told_by_every_call() {
    let mut cloud = Cloud::start();
    cloud.emulator.rule(&json!({"call": "*", "do": "error", "status": 401, "code": "authError", "message": "Invalid Credentials", "count": -1}));
    let query = PriceQuery {
        regions: vec!["us-central1".to_owned()],
        instance_types: vec![A100.to_owned()],
    };
    let order = order(A100, Market::Spot);
    let errors = [
        cloud.gcp.check().unwrap_err(),
        cloud.gcp.prices(&query).unwrap_err(),
        cloud.gcp.quotas("us-central1").unwrap_err(),
        cloud.gcp.create(&order).unwrap_err(),
        cloud.gcp.describe(&crate::fixture::reference(&order)).unwrap_err(),
        cloud.gcp.list(OWNER, &[]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            (error.class, error.code.as_str(), error.is_ambiguous),
            (ErrorClass::Credentials, "authError", false),
            "{error:?}"
        );
    }
}

#[test]
fn a_project_that_may_not_be_seen_is_a_matter_of_permission() {
    let emulator = Emulator::start("gcp", &[]);
    let mut command = program(&emulator);
    command.env("GOOGLE_CLOUD_PROJECT", "somebody-elses");
    let error = Remote::start(command).unwrap().check().unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permission, "forbidden")
    );
    assert!(error.message.contains("somebody-elses"), "{error:?}");
}

#[test]
fn a_missing_project_is_told() {
    let error = Remote::start(bare_program()).unwrap().check().unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Credentials, "NoProject")
    );
}

#[test]
fn missing_credentials_are_told_with_what_to_do() {
    let folder = temp_dir("gcp");
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, "{\"type\": \"service_account\"}").unwrap();
    for file in [folder.path().join("none.json"), broken] {
        let mut command = bare_program();
        command.env("GOOGLE_CLOUD_PROJECT", "nvbind-test");
        command.env("GOOGLE_APPLICATION_CREDENTIALS", &file);
        let error = Remote::start(command).unwrap().check().unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Credentials, "NoCredentials"),
            "{error:?}"
        );
        assert!(
            error.message.contains("gcloud auth application-default login"),
            "{error:?}"
        );
    }
}

#[test]
fn an_endpoint_in_plain_text_is_for_loopback_alone() {
    let mut command = bare_program();
    command.env("GOOGLE_CLOUD_PROJECT", "nvbind-test");
    command.env("NVBIND_GCP_ENDPOINT", "http://192.0.2.1:4600");
    let error = Remote::start(command).unwrap().check().unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Invalid, "BadEndpoint"));
}

#[test]
fn nobody_at_the_endpoint_is_told_and_sure() {
    let mut command = bare_program();
    command.env("GOOGLE_CLOUD_PROJECT", "nvbind-test");
    command.env("NVBIND_GCP_ENDPOINT", "http://127.0.0.1:1");
    let mut gcp = Remote::start(command).unwrap();
    let error = gcp.check().unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str(), error.is_ambiguous),
        (ErrorClass::Transient, "Connection", false),
        "{error:?}"
    );
}

#[test]
fn there_is_no_bill_to_be_had() {
    let mut cloud = Cloud::start();
    let error = cloud.gcp.bill(OWNER, 0, 86_400).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::NotOffered, "NoBillingApi")
    );
    assert!(error.message.contains("BigQuery"));
    assert!(cloud.emulator.log().is_empty());
}

#[test]
fn the_program_ends_when_its_input_does() {
    let mut command = bare_program();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "{\"protocol\":1,\"provider\":\"gcp\"}\n");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
