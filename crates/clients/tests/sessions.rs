//! Login sessions in a real Redis, and by way of the user service.
#![allow(clippy::unwrap_used, reason = "tests")]

use chrono::{DateTime, Utc};
use clients::sessions::{RedisAddress, RedisSessions, UserServiceSessions};
use clients::{ClientError, SessionStore};
use secrecy::SecretString;
use serde_json::json;
use testkit::redis::Redis;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use url::Url;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const WHO: &str = "0d2f8a4e-2c6b-4f53-9d3e-6a1b7c8d9e0f";

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-23T12:00:00Z").unwrap().with_timezone(&Utc)
}

fn token(text: &str) -> SecretString {
    text.to_owned().into()
}

fn sessions(redis: &Redis, password: Option<&str>) -> RedisSessions {
    RedisSessions::new(&RedisAddress {
        host: "127.0.0.1".to_owned(),
        port: redis.port(),
        database: 0,
        password: password.map(|password| password.to_owned().into()),
    })
    .unwrap()
}

#[tokio::test]
async fn a_session_is_found_until_it_is_removed_or_over() {
    let redis = Redis::start().unwrap();
    let store = sessions(&redis, Some(redis.password()));
    let stored =
        |active: bool, end: &str| json!({ "customer_id": WHO, "is_active": active, "expires_at": end, "ip": "::1" }).to_string();
    redis.set("session:good", &stored(true, "2026-11-23T13:00:00+00:00")).unwrap();
    redis.set("session:over", &stored(true, "2026-11-23T11:00:00+00:00")).unwrap();
    redis.set("session:off", &stored(false, "2026-11-23T13:00:00+00:00")).unwrap();
    redis.set("session:odd", "no JSON").unwrap();
    redis.set("other:good2", &stored(true, "2026-11-23T13:00:00+00:00")).unwrap();
    let found = store.session(&token("good"), now()).await.unwrap().unwrap();
    assert_eq!(found.customer.to_string(), WHO);
    assert!(found.expires_at.is_some());
    for nobody in ["over", "off", "odd", "good2", "nothing", "good\r\nDEL session:good"] {
        assert_eq!(store.session(&token(nobody), now()).await.unwrap(), None, "{nobody:?}");
    }
    redis.remove("session:good").unwrap();
    assert_eq!(store.session(&token("good"), now()).await.unwrap(), None);
}

#[tokio::test]
async fn without_redis_nothing_is_known_and_it_is_found_again() {
    let mut redis = Redis::start().unwrap();
    let store = sessions(&redis, Some(redis.password()));
    assert_eq!(store.session(&token("any"), now()).await.unwrap(), None);
    redis.stop().unwrap();
    for _ in 0..2 {
        let error = store.session(&token("s3cret"), now()).await.unwrap_err();
        assert!(matches!(error, ClientError::Unavailable { .. }) && !error.to_string().contains("s3cret"), "{error}");
    }
    redis.start_again().unwrap();
    assert_eq!(store.session(&token("any"), now()).await.unwrap(), None);
    redis.stop().unwrap();
    redis.start_again().unwrap();
    assert_eq!(store.session(&token("any"), now()).await.unwrap(), None, "a restart that nobody saw");
}

#[tokio::test]
async fn a_login_that_was_refused_once_is_tried_again() {
    let mut redis = Redis::start().unwrap();
    let (store, any) = (sessions(&redis, Some(redis.password())), token("any"));
    redis.stop().unwrap();
    let full = TcpListener::bind(("127.0.0.1", redis.port())).await.unwrap();
    let refuse = async {
        let (mut caller, _) = full.accept().await.unwrap();
        caller.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
    };
    let (asked, ()) = tokio::join!(store.session(&any, now()), refuse);
    asked.unwrap_err();
    drop(full);
    redis.start_again().unwrap();
    assert_eq!(store.session(&any, now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_wrong_password_is_a_store_that_is_away() {
    let redis = Redis::start().unwrap();
    for password in [None, Some("wrong")] {
        let error = sessions(&redis, password).session(&token("any"), now()).await.unwrap_err();
        assert!(matches!(error, ClientError::Unavailable { .. }), "{error}");
    }
}

async fn asked(answer: ResponseTemplate) -> Result<Option<clients::Session>, ClientError> {
    let server = MockServer::start().await;
    let me = Mock::given(method("GET")).and(path("/auth/me")).and(header("authorization", "Bearer abc"));
    me.respond_with(answer).expect(1).mount(&server).await;
    let http = reqwest::Client::builder().build().unwrap();
    UserServiceSessions::new(http, Url::parse(&server.uri()).unwrap()).session(&token("abc"), now()).await
}

#[tokio::test]
async fn the_user_service_knows_who_it_is() {
    for body in [json!({ "id": WHO }), json!({ "id": "7", "customer_id": WHO, "is_active": true, "expires_at": null })] {
        let found = asked(ResponseTemplate::new(200).set_body_json(body)).await.unwrap().unwrap();
        assert_eq!(found.customer.to_string(), WHO);
    }
    for (status, body) in [(200, json!({ "id": WHO, "is_active": false })), (401, json!({})), (403, json!({}))] {
        assert_eq!(asked(ResponseTemplate::new(status).set_body_json(body)).await.unwrap(), None, "{status}");
    }
    for status in [500, 503, 404] {
        asked(ResponseTemplate::new(status)).await.unwrap_err();
    }
}
