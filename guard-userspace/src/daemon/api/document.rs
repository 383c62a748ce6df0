//! The OpenAPI 3.1 document, from the table of routes.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::peer::Role;
use super::problem::Problem;
use super::routes::{Media, Route};

/// The document of a table.
pub(super) fn document(table: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in table {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(route.method.to_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ProcessGuard",
            "version": "1",
            "summary": "Services kept as their policies say.",
            "description": "HTTP over the unix socket of `processguard daemon`, by default /run/processguard/api.sock. Who \
                may do what follows from who asks, as the kernel says it: root, the daemon's own user and the members of \
                --group may act; --readers says who else may read. Within a version (/v1) fields are only added.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://localhost", "description": "the unix socket" }],
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), json!(operation_id(route)));
    operation.insert("summary".to_owned(), json!(route.summary));
    let role = match route.role {
        Role::Read => "Who may read may ask this.",
        Role::Act => "Only who may act may ask this.",
    };
    operation.insert("description".to_owned(), json!(role));
    let in_path =
        route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
            let schema = if name == "name" {
                json!({ "type": "string" })
            } else {
                json!({ "type": "integer", "minimum": 0 })
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        });
    let mut parameters: Vec<Value> = in_path.collect();
    for parameter in route.query {
        let schema = (parameter.schema)(generator);
        parameters.push(json!({
            "name": parameter.name, "in": "query", "required": false, "description": parameter.doc, "schema": schema,
        }));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = route.body {
        let schema = body(generator);
        operation.insert(
            "requestBody".to_owned(),
            json!({ "content": { "application/json": { "schema": schema } } }),
        );
    }
    let content = match route.media {
        Media::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Media::Text(media) => json!({ media: { "schema": { "type": "string" } } }),
        Media::Events => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
    };
    let problem = generator.subschema_for::<Problem>();
    let answer = if route.status == 202 { "It is begun; the answer shows how it is." } else { "The answer." };
    operation.insert(
        "responses".to_owned(),
        json!({
            route.status.to_string(): { "description": answer, "content": content },
            "default": {
                "description": "Why it was not done: 400 it makes no sense, 403 not allowed, 404 there is no such thing, \
                    409 not now, 422 the policies have errors, 500 it failed, 503 the daemon is stopping or crowded, \
                    504 its loop does not answer.",
                "content": { "application/problem+json": { "schema": problem } },
            },
        }),
    );
    Value::Object(operation)
}

/// `post_services_name_stop`.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/v1/");
    let words = path.split(['/', '.']).map(|part| part.trim_matches(['{', '}']));
    words.fold(route.method.to_lowercase(), |id, word| format!("{id}_{word}"))
}

#[cfg(test)]
mod tests {
    use super::super::routes::TABLE;
    use super::*;

    /// `BLESS=1` writes it anew.
    #[test]
    fn the_document_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let now = format!("{:#}\n", document(TABLE));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == now, "docs/openapi.json is not what the code says: BLESS=1 writes it anew");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(TABLE);
        let text = document.to_string();
        let references: Vec<&str> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 20, "{references:?}");
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        let mut ids: Vec<String> = TABLE.iter().map(operation_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), TABLE.len(), "two operations have the same id");
    }
}
