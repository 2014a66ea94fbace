//! Good accounts and bad ones.

use super::*;
use nvbind_cloud::provider::{ErrorClass, ProviderError};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_good_account_is_named_and_nothing_is_made() {
    let mut cloud = Cloud::start();
    let account = cloud.aws.check().unwrap();
    assert_eq!(account.id, "123456789012");
    assert!(account.identity.starts_with("arn:aws:"), "{account:?}");
    assert_eq!(cloud.emulator.everything(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_bad_account_is_told_why() {
    let mut cloud = Cloud::start();
    for (call, status, code, class) in [
        (
            "GetCallerIdentity",
            403,
            "InvalidClientTokenId",
            ErrorClass::Credentials,
        ),
        ("GetCallerIdentity", 403, "ExpiredToken", ErrorClass::Credentials),
        (
            "GetCallerIdentity",
            403,
            "SignatureDoesNotMatch",
            ErrorClass::Credentials,
        ),
        ("RunInstances", 403, "UnauthorizedOperation", ErrorClass::Permission),
        ("GetParameter", 400, "AccessDeniedException", ErrorClass::Permission),
    ] {
        let message = "You are not authorized to perform: ec2:RunInstances";
        cloud
            .emulator
            .rule(&json!({"call": call, "status": status, "code": code, "message": message, "count": 1}));
        let refusal = cloud.aws.check().unwrap_err();
        assert_eq!((refusal.class, refusal.code.as_str()), (class, code));
        assert_eq!(refusal.message, message);
        // What it has found it keeps; the next round asks anew.
        cloud.aws = provider(&cloud.emulator.url());
    }
}

fn refusal_of(mut command: Command) -> ProviderError {
    let mut aws = Remote::start({
        command.stderr(std::process::Stdio::null());
        command
    })
    .unwrap();
    aws.check().unwrap_err()
}

#[test]
fn without_credentials_the_next_step_is_named() {
    let refusal = refusal_of(command("http://127.0.0.1:1"));
    assert_eq!(
        (refusal.class, refusal.is_ambiguous),
        (ErrorClass::Credentials, false),
        "{refusal:?}"
    );
    assert!(refusal.message.contains("aws sso login"), "{refusal}");
}

#[test]
fn a_single_sign_on_profile_that_is_not_signed_in_is_a_matter_of_credentials() {
    let dir = nvbind_testkit::temp_dir("aws-sso");
    let config = dir.path().join("config");
    let text = "[profile work]\nsso_session = work\nsso_account_id = 123456789012\nsso_role_name = Dev\n\n[sso-session work]\nsso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\nsso_registration_scopes = sso:account:access\n";
    std::fs::write(&config, text).unwrap();
    let mut command = command("http://127.0.0.1:1");
    command
        .env("AWS_CONFIG_FILE", &config)
        .env("AWS_PROFILE", "work")
        .env("HOME", dir.path());
    let refusal = refusal_of(command);
    assert_eq!(refusal.class, ErrorClass::Credentials, "{refusal:?}");
    assert!(refusal.message.contains("aws sso login"), "{refusal}");
}

#[test]
fn a_profile_with_a_process_that_gives_credentials_works() {
    let cloud = Cloud::start();
    let dir = nvbind_testkit::temp_dir("aws-process");
    let config = dir.path().join("config");
    let answer = json!({"Version": 1, "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": SECRET});
    std::fs::write(dir.path().join("answer"), answer.to_string()).unwrap();
    let text = format!(
        "[profile tool]\ncredential_process = /bin/cat {}/answer\n",
        dir.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = command(&cloud.emulator.url());
    command
        .env("AWS_CONFIG_FILE", &config)
        .env("AWS_PROFILE", "tool")
        .env("PATH", "/bin:/usr/bin");
    assert_eq!(Remote::start(command).unwrap().check().unwrap().id, "123456789012");
}

#[test]
fn an_endpoint_that_nobody_serves_is_told_soon() {
    let start = Instant::now();
    let refusal = provider("http://127.0.0.1:1").create(&order(1)).unwrap_err();
    assert_eq!(
        (refusal.class, refusal.is_ambiguous),
        (ErrorClass::Transient, false),
        "{refusal:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn no_answer_tells_the_secret() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    cloud
        .emulator
        .rule(&json!({"call": "*", "status": 403, "code": "SignatureDoesNotMatch", "message": "no", "count": -1}));
    let refusals = [
        cloud.aws.create(&order(2)).unwrap_err(),
        cloud.aws.list(OWNER, &[REGION.to_owned()]).unwrap_err(),
        cloud.aws.check().unwrap_err(),
        cloud.aws.quotas(REGION).unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.class, ErrorClass::Credentials);
        assert!(!format!("{refusal:?}").contains(SECRET));
    }
}
