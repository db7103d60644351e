//! `GET /docs`

use crate::rig::Rig;

#[tokio::test]
async fn the_page_and_everything_it_names_is_served_from_here() {
    let rig = Rig::start();
    for path in ["/docs", "/docs/"] {
        let page = rig.get(path).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html"), "{path}");
        assert!(page.text.contains(r#"<base href="/docs/" />"#));
        for name in page.text.split(['"', '\'']).filter(|text| text.ends_with(".js") || text.ends_with(".css")) {
            assert!(!name.contains("://"), "{name} is loaded from elsewhere");
            let asset = rig.get(&format!("/docs/{}", name.trim_start_matches("./"))).await;
            assert_eq!(asset.status, 200, "{name}");
        }
    }
    assert!(rig.get("/docs/swagger-initializer.js").await.text.contains("/openapi.json"));
    assert_eq!(rig.get("/docs/nothing.js").await.status, 404);
}
