//! The client of the billing engine against a stand-in for it, and against answers that it should not get.
#![allow(clippy::unwrap_used, reason = "tests")]

use clients::killbill::{Phase, State};
use clients::{KillBill, KillBillAccess, KillBillError};
use secrecy::SecretString;
use std::time::Duration;
use testkit::services::killbill::{API_KEY, API_SECRET, KillBill as Engine, PASSWORD, USERNAME};
use url::Url;
use uuid::Uuid;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

fn client(url: &str, password: &str) -> KillBill {
    let secret = |text: &str| SecretString::from(text.to_owned());
    let access = KillBillAccess {
        username: USERNAME.to_owned(),
        password: secret(password),
        api_key: secret(API_KEY),
        api_secret: secret(API_SECRET),
    };
    KillBill::new(reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap(), Url::parse(url).unwrap(), access)
}

#[tokio::test]
async fn everything_is_read_as_the_engine_tells_it() {
    let engine = Engine::start().unwrap();
    let asks = client(&format!("{}/", engine.url()), PASSWORD);
    let customer = Uuid::from_u128(7).to_string();
    let account = engine.account(&customer).unwrap();
    let id = engine.subscribe(&account, true).unwrap();
    engine.set_fields(&id, &[("instance_name", " Shop "), ("instance_subdomain", ""), ("other", "x")]);
    let (id, account): (Uuid, Uuid) = (id.parse().unwrap(), account.parse().unwrap());

    let read = asks.subscription(id).await.unwrap();
    assert_eq!((read.account_id, read.state, read.phase_type), (account, State::Active, Some(Phase::Trial)));
    let fields = asks.custom_fields(id).await.unwrap();
    assert_eq!((fields.len(), fields["instance_name"].as_str()), (2, "Shop"), "empty ones are absent");
    assert_eq!(asks.account(account).await.unwrap().external_key, Some(customer));
    let trial = asks.account_invoices(account).await.unwrap();
    assert!(trial[0].is_for(id) && !trial[0].bills(id) && !trial[0].is_unpaid());

    engine.end_trial(&id.to_string());
    let invoice: Uuid = engine.bill(&id.to_string()).unwrap().parse().unwrap();
    let read = asks.invoice(invoice).await.unwrap();
    assert!(read.is_unpaid() && read.bills(id) && !read.is_for(account));
    assert!(!asks.payment_failed(invoice).await.unwrap());
    engine.fail(&invoice.to_string()).unwrap();
    assert!(asks.payment_failed(invoice).await.unwrap());
    engine.pay(&invoice.to_string()).unwrap();
    assert!(!asks.invoice(invoice).await.unwrap().is_unpaid());

    assert!(!asks.overdue(account).await.unwrap().blocks);
    engine.set_overdue(&account.to_string(), true);
    assert!(asks.overdue(account).await.unwrap().blocks);
    assert_eq!(asks.account_bundles(account).await.unwrap()[0].subscriptions[0].subscription_id, id);
    assert_eq!((asks.bundles(0, 100).await.unwrap().len(), asks.bundles(1, 100).await.unwrap().len()), (1, 0));
    engine.cancel(&id.to_string());
    assert!(asks.subscription(id).await.unwrap().state.is_over());
}

#[tokio::test]
async fn what_is_not_answered_is_told_apart() {
    let engine = Engine::start().unwrap();
    let id = Uuid::from_u128(7);
    let absent = client(&engine.url(), PASSWORD).subscription(id).await.unwrap_err();
    assert_eq!(absent, KillBillError::Absent("subscription"));
    let refused = client(&engine.url(), "wrong").subscription(id).await.unwrap_err();
    assert_eq!(refused, KillBillError::Refused(401));
    engine.set_down(true);
    let gone = client(&engine.url(), PASSWORD).subscription(id).await.unwrap_err();
    assert!(matches!(gone, KillBillError::Unreachable(_)) && !gone.to_string().contains("127"), "{gone}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_means_nothing() {
    let unknown =
        format!(r#"{{"subscriptionId": "{0}", "accountId": "{0}", "state": "MELTED", "phaseType": "TRIAL"}}"#, Uuid::nil());
    let large = format!("\"{}\"", "x".repeat(9 << 20));
    for body in ["not json", "[]", "{}", &unknown, &large] {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(200).set_body_string(body)).mount(&server).await;
        let error = client(&server.uri(), PASSWORD).subscription(Uuid::nil()).await.unwrap_err();
        assert_eq!(error, KillBillError::Invalid("subscription"));
    }
    for status in [500, 503, 429, 408] {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(status)).mount(&server).await;
        let error = client(&server.uri(), PASSWORD).subscription(Uuid::nil()).await.unwrap_err();
        assert_eq!(error, KillBillError::Unreachable(format!("status {status}")));
    }
}

#[test]
fn access_is_not_shown() {
    let shown = format!("{:?}", client("http://127.0.0.1:1", PASSWORD));
    assert!(!shown.contains(PASSWORD) && !shown.contains(API_SECRET) && !shown.contains(API_KEY), "{shown}");
}
