//! Azure Resource Manager: one call, a list with its pages, an operation that goes on after the answer.

use crate::error::{ErrorBody, of_body, refused, retry_after, unanswered};
use crate::waits::Waits;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::{CONTENT_TYPE, HeaderName, Headers};
use azure_core::http::policies::Policy;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::{ClientOptions, Context, Method, Pipeline, PipelineSendOptions, Request, Url};
use nvbind_cloud::provider::{ErrorClass, ProviderError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How often a call is made again at most, and how long a wait is still a quick one.
const TRIES: u32 = 2;
const QUICK: Duration = Duration::from_secs(2);

const IF_NONE_MATCH: HeaderName = HeaderName::from_static("if-none-match");
const OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");

/// A service of Azure, by its pipeline.
#[derive(Debug)]
pub(crate) struct Service {
    pipeline: Pipeline,
    base: Url,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    is_for_absent: bool,
    is_reading: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, version: &str, body: Option<Value>) -> Self {
        Self {
            method,
            path: path.into(),
            query: vec![("api-version", version.to_owned())],
            body,
            is_for_absent: false,
            is_reading: method == Method::Get,
        }
    }

    pub(crate) fn get(path: impl Into<String>, version: &str) -> Self {
        Self::new(Method::Get, path, version, None)
    }

    pub(crate) fn put(path: impl Into<String>, version: &str, body: Value) -> Self {
        Self::new(Method::Put, path, version, Some(body))
    }

    pub(crate) fn post(path: impl Into<String>, version: &str, body: Option<Value>) -> Self {
        Self::new(Method::Post, path, version, body)
    }

    pub(crate) fn delete(path: impl Into<String>, version: &str) -> Self {
        Self::new(Method::Delete, path, version, None)
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// The same of a link that the service gave, with the link's own query.
    pub(crate) fn next_page(mut self, path: String) -> Self {
        (self.path, self.query) = (path, Vec::new());
        self
    }

    /// Makes it only where there is none.
    pub(crate) fn only_if_absent(mut self) -> Self {
        self.is_for_absent = true;
        self
    }

    /// Changes nothing, although it is a POST.
    pub(crate) fn reading(mut self) -> Self {
        self.is_reading = true;
        self
    }
}

/// An answer that is no refusal.
#[derive(Debug)]
pub(crate) struct Answer {
    headers: Headers,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ProviderError::new(ErrorClass::Unknown, "UnexpectedAnswer", error.to_string()))
    }
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    Done,
    Running,
    Failed(ProviderError),
}

#[derive(Debug, Deserialize)]
struct Operation {
    status: String,
    #[serde(default)]
    error: Option<ErrorBody>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    value: Vec<T>,
    #[serde(default, rename = "nextLink")]
    next_link: Option<String>,
}

impl Service {
    /// A service that wants a token of that scope.
    pub(crate) fn signed_in(
        base: Url,
        scope: &str,
        credential: Arc<dyn TokenCredential>,
        options: ClientOptions,
    ) -> Self {
        let policy: Arc<dyn Policy> = Arc::new(BearerTokenAuthorizationPolicy::new(credential, [scope]));
        Self::new(base, options, vec![policy])
    }

    /// A service that asks nobody who they are.
    pub(crate) fn open(base: Url, options: ClientOptions) -> Self {
        Self::new(base, options, Vec::new())
    }

    fn new(base: Url, options: ClientOptions, policies: Vec<Arc<dyn Policy>>) -> Self {
        let (name, version) = (Some("nvbind"), Some(env!("CARGO_PKG_VERSION")));
        let pipeline = Pipeline::new(name, version, options, Vec::new(), policies, None);
        Self { pipeline, base }
    }

    /// Makes a call; a throttled one again, and a reading one that failed for the service's own reasons, while that is quick.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, ProviderError> {
        let mut tries = 0;
        loop {
            let error = match self.send_once(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = error
                .retry_after_seconds
                .map_or_else(|| backoff(tries), Duration::from_secs_f64);
            if tries == TRIES || wait > QUICK || !is_worth_another(call, &error) {
                return Err(error);
            }
            tokio::time::sleep(wait + jitter()).await;
            tries += 1;
        }
    }

    /// As [`Self::send`], with `None` where the thing is not there.
    pub(crate) async fn find(&self, call: &Call) -> Result<Option<Answer>, ProviderError> {
        match self.send(call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.class == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of a list, page by page.
    pub(crate) async fn list<T: DeserializeOwned>(&self, call: &Call) -> Result<Vec<T>, ProviderError> {
        let mut page: Page<T> = self.send(call).await?.json()?;
        let mut all = page.value;
        while let Some(link) = page.next_link.filter(|link| !link.is_empty()) {
            let next = call.clone().next_page(self.own_path(&link)?);
            page = self.send(&next).await?.json()?;
            all.append(&mut page.value);
        }
        Ok(all)
    }

    /// Follows the operation that an answer began until it is done, for as long as `patience`. It is looked at soon, since most take less
    /// than the 10 s and more that `Retry-After` asks for; one that takes longer is looked at when that says.
    pub(crate) async fn follow(&self, answer: &Answer, patience: Duration) -> Result<Progress, ProviderError> {
        let Some(link) = answer.headers.get_optional_string(&OPERATION) else {
            return Ok(Progress::Done);
        };
        let call = Call::get("", "").next_page(self.own_path(&link)?);
        let start = Instant::now();
        let mut waits = Waits::default();
        let mut asked = None;
        while let Some(wait) = waits.next(asked, patience.saturating_sub(start.elapsed())) {
            tokio::time::sleep(wait).await;
            let answer = self.send(&call).await?;
            asked = retry_after(&answer.headers).map(Duration::from_secs_f64);
            let operation: Operation = answer.json()?;
            match operation.status.as_str() {
                "Succeeded" => return Ok(Progress::Done),
                "Failed" | "Canceled" => return Ok(Progress::Failed(of_body(0, &operation.error.unwrap_or_default()))),
                _ => {}
            }
        }
        Ok(Progress::Running)
    }

    /// Path and query of a link that the service gave. Its host is not followed: the token is for this service alone.
    pub(crate) fn own_path(&self, link: &str) -> Result<String, ProviderError> {
        let url = self.base.join(link);
        let url =
            url.map_err(|error| ProviderError::new(ErrorClass::Unknown, "UnexpectedAnswer", error.to_string()))?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(format!("{}{query}", url.path()))
    }

    async fn send_once(&self, call: &Call) -> Result<Answer, ProviderError> {
        let is_mutating = !call.is_reading;
        let mut request = self.request(call)?;
        let options = PipelineSendOptions {
            skip_checks: true,
            ..PipelineSendOptions::default()
        };
        let answer = self.pipeline.send(&Context::new(), &mut request, Some(options)).await;
        let answer = answer.map_err(|error| unanswered(&error, is_mutating))?;
        let (status, headers, body) = answer.deconstruct();
        let body = body.as_ref().to_vec();
        match u16::from(status) {
            200..=299 => Ok(Answer { headers, body }),
            status => Err(refused(status, &headers, &body, is_mutating)),
        }
    }

    fn request(&self, call: &Call) -> Result<Request, ProviderError> {
        let invalid = |error: String| ProviderError::new(ErrorClass::Invalid, "InvalidRequest", error);
        let mut url = self.base.join(&call.path).map_err(|error| invalid(error.to_string()))?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
            // Resource Manager takes `+` in a filter for a plus.
            let encoded = url.query().map(|query| query.replace('+', "%20"));
            url.set_query(encoded.as_deref());
        }
        let mut request = Request::new(url, call.method);
        if let Some(body) = &call.body {
            request.insert_header(CONTENT_TYPE, "application/json");
            request.set_json(body).map_err(|error| invalid(error.to_string()))?;
        }
        if call.is_for_absent {
            request.insert_header(IF_NONE_MATCH, "*");
        }
        Ok(request)
    }
}

/// What a token for a service is asked for with.
pub(crate) fn scope(base: &Url) -> String {
    format!("{}/.default", base.as_str().trim_end_matches('/'))
}

/// Whether the same call may do better at once: it was not carried out, or it changes nothing.
fn is_worth_another(call: &Call, error: &ProviderError) -> bool {
    match error.class {
        ErrorClass::Throttled => true,
        ErrorClass::Transient => call.is_reading || error.code == "ConnectionFailed",
        _ => false,
    }
}

/// 0.2 s, 0.4 s, 0.8 s, 1.6 s, then 2 s.
fn backoff(tries: u32) -> Duration {
    Duration::from_millis(200 << tries.min(4)).min(Duration::from_secs(2))
}

/// Up to 0.1 s, so that those who were refused together do not come back together.
fn jitter() -> Duration {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Duration::from_micros(u64::from(now.subsec_nanos() % 100_000))
}
