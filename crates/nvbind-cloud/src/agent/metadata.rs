//! The metadata services of the clouds, asked for the notice that this machine is taken back.
//!
//! AWS: docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html (IMDSv2); GCP:
//! cloud.google.com/compute/docs/instances/create-use-preemptible; Azure: learn.microsoft.com/azure/virtual-machines/linux/scheduled-events.

use super::report::{Notice, NoticeKind, now_ms};
use serde::{Deserialize, Serialize};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// Where every cloud has it.
const URL: &str = "http://169.254.169.254";
/// Azure asks for a question each second; the others allow it.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest life of a token of AWS's, in seconds.
const TOKEN_SECONDS: &str = "21600";
/// So long a question to GCP waits for a change.
const LONG_POLL: Duration = Duration::from_secs(60);
/// So long any other may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose notices to listen for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataSource {
    /// AWS.
    Aws,
    /// GCP.
    Gcp,
    /// Azure.
    Azure,
    /// Nobody's.
    #[default]
    None,
}

/// What a watcher tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    Notice(Notice),
    /// It cannot be listened to (any more); `None`: it can again.
    Error(Option<String>),
}

/// Listens in a thread of its own until nobody wants to hear.
pub(super) fn listen(source: MetadataSource, url: Option<&str>, sender: Sender<Heard>) {
    let url = url.unwrap_or(URL).trim_end_matches('/').to_owned();
    let mut service: Box<dyn Service + Send> = match source {
        MetadataSource::Aws => Box::new(Aws { url, token: None }),
        MetadataSource::Gcp => Box::new(Gcp { url, tag: None }),
        MetadataSource::Azure => Box::new(Azure { url }),
        MetadataSource::None => return,
    };
    thread::spawn(move || {
        let client = client();
        let (mut told, mut error) = (Vec::new(), None);
        loop {
            let (notices, now) = match service.ask(&client) {
                Ok(notices) => (notices, None),
                Err(why) => (Vec::new(), Some(why)),
            };
            let fresh: Vec<Notice> = notices.into_iter().filter(|notice| !told.contains(&notice.kind)).collect();
            told.extend(fresh.iter().map(|notice| notice.kind));
            let mut heard: Vec<Heard> = fresh.into_iter().map(Heard::Notice).collect();
            if now != error {
                heard.push(Heard::Error(now.clone()));
                error = now;
            }
            if heard.into_iter().any(|heard| sender.send(heard).is_err()) {
                return;
            }
            if error.is_some() || !service.waits() {
                thread::sleep(PAUSE);
            }
        }
    });
}

/// A client that asks this machine alone: no proxy, no redirection.
fn client() -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_connect(Some(PATIENCE))
        .timeout_global(Some(LONG_POLL + PATIENCE))
        .build();
    config.into()
}

trait Service {
    /// Asks once.
    fn ask(&mut self, client: &Agent) -> Result<Vec<Notice>, String>;

    /// Whether a question is answered only when there is news.
    fn waits(&self) -> bool {
        false
    }
}

/// Status and text of an answer.
fn read(answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<(u16, String, Option<String>), String> {
    let mut answer = answer.map_err(|error| error.to_string())?;
    let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), text, tag))
}

fn odd(status: u16, path: &str) -> String {
    format!("the metadata service answers {status} to {path}")
}

fn notice(kind: NoticeKind, when: String, seconds: u64) -> Notice {
    Notice {
        kind,
        seen_ms: now_ms(),
        when,
        seconds,
    }
}

struct Aws {
    url: String,
    token: Option<String>,
}

/// `spot/instance-action`
#[derive(Deserialize)]
struct InstanceAction {
    time: String,
}

/// `events/recommendations/rebalance`
#[derive(Deserialize)]
struct Recommendation {
    #[serde(rename = "noticeTime")]
    notice_time: String,
}

impl Aws {
    /// The text at a path; `None` where there is none.
    fn get(&mut self, client: &Agent, path: &str) -> Result<Option<String>, String> {
        for _ in 0..2 {
            let token = match &self.token {
                Some(token) => token.clone(),
                None => self.new_token(client)?,
            };
            let request = client.get(format!("{}{path}", self.url)).header("X-aws-ec2-metadata-token", &token);
            match read(request.config().timeout_global(Some(PATIENCE)).build().call())? {
                (200, text, _) => return Ok(Some(text)),
                (404, _, _) => return Ok(None),
                // The token is too old.
                (401, _, _) => self.token = None,
                (status, _, _) => return Err(odd(status, path)),
            }
        }
        Err(odd(401, path))
    }

    fn new_token(&mut self, client: &Agent) -> Result<String, String> {
        let path = "/latest/api/token";
        let request = client
            .put(format!("{}{path}", self.url))
            .header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
        match read(request.config().timeout_global(Some(PATIENCE)).build().send_empty())? {
            (200, token, _) => {
                self.token = Some(token.clone());
                Ok(token)
            }
            (status, _, _) => Err(odd(status, path)),
        }
    }
}

impl Service for Aws {
    fn ask(&mut self, client: &Agent) -> Result<Vec<Notice>, String> {
        let mut notices = Vec::new();
        if let Some(text) = self.get(client, "/latest/meta-data/spot/instance-action")? {
            let when = serde_json::from_str(&text).map_or(text, |action: InstanceAction| action.time);
            notices.push(notice(NoticeKind::Interruption, when, 120));
        }
        if let Some(text) = self.get(client, "/latest/meta-data/events/recommendations/rebalance")? {
            let when = serde_json::from_str(&text).map_or(text, |told: Recommendation| told.notice_time);
            notices.push(notice(NoticeKind::Rebalance, when, 120));
        }
        Ok(notices)
    }
}

struct Gcp {
    url: String,
    /// Of the last answer; without one the answer comes at once.
    tag: Option<String>,
}

impl Service for Gcp {
    fn ask(&mut self, client: &Agent) -> Result<Vec<Notice>, String> {
        let path = "/computeMetadata/v1/instance/preempted";
        let wait = match &self.tag {
            Some(tag) => format!("?wait_for_change=true&timeout_sec={}&last_etag={tag}", LONG_POLL.as_secs()),
            None => String::new(),
        };
        let request = client.get(format!("{}{path}{wait}", self.url)).header("Metadata-Flavor", "Google");
        self.tag = None;
        let (status, text, tag) = read(request.call())?;
        if status != 200 {
            return Err(odd(status, path));
        }
        self.tag = tag;
        match text.trim().eq_ignore_ascii_case("true") {
            true => Ok(vec![notice(NoticeKind::Interruption, String::new(), 30)]),
            false => Ok(Vec::new()),
        }
    }

    fn waits(&self) -> bool {
        self.tag.is_some()
    }
}

struct Azure {
    url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduledEvents {
    events: Vec<ScheduledEvent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduledEvent {
    event_type: String,
    #[serde(default)]
    not_before: String,
}

impl Service for Azure {
    fn ask(&mut self, client: &Agent) -> Result<Vec<Notice>, String> {
        let path = "/metadata/scheduledevents?api-version=2020-07-01";
        let request = client.get(format!("{}{path}", self.url)).header("Metadata", "true");
        // The first question switches the service on, which may take two minutes.
        let (status, text, _) = read(request.call())?;
        if status != 200 {
            return Err(odd(status, path));
        }
        let events: ScheduledEvents = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let ends = |event: &ScheduledEvent| matches!(event.event_type.as_str(), "Preempt" | "Terminate");
        let notices = events.events.into_iter().filter(ends);
        Ok(notices.map(|event| notice(NoticeKind::Interruption, event.not_before, 30)).collect())
    }
}
