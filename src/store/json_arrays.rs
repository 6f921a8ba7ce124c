//! Columns that hold a JSON array as text, or NULL, or, in old rows, anything: reading one never fails.

use serde_json::Value;

/// SQL that is `column` where `json_each` can read it, else NULL: its rows are then none. JSON5 is readable too.
macro_rules! readable {
    ($column:literal) => {
        concat!("CASE WHEN json_valid(", $column, ", 2) THEN ", $column, " END")
    };
}
pub(super) use readable;

/// The strings of an array; none where the text is something else.
pub(crate) fn strings(text: &str) -> Vec<String> {
    let Ok(Value::Array(items)) = serde_json::from_str(text) else { return Vec::new() };
    items.into_iter().filter_map(|item| if let Value::String(text) = item { Some(text) } else { None }).collect()
}

/// An array of paths, each without everything up to and including the first `/<project>/`. Text that is no
/// array of strings stays as it is.
pub(super) fn relative_paths(text: &str, project: &str) -> Option<String> {
    let Ok(Value::Array(mut items)) = serde_json::from_str(text) else { return None };
    let mark = format!("/{project}/");
    for item in &mut items {
        let Value::String(path) = item else { return None };
        if let Some(at) = path.find(&mark) {
            path.drain(..at + mark.len());
        }
    }
    serde_json::to_string(&items).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_project() {
        let relative = |text| relative_paths(text, "app");
        assert_eq!(relative(r#"["/home/app/src/app/a.ts","b.ts"]"#).as_deref(), Some(r#"["src/app/a.ts","b.ts"]"#));
        assert_eq!(relative("[]").as_deref(), Some("[]"));
        for odd in ["", "null", "\"/home/app/x\"", "{\"0\":\"/app/x\"}", "[\"/app/x\",1]", "[\"/app/x\"", "{oops"] {
            assert_eq!(relative(odd), None, "{odd}");
        }
    }

    #[test]
    fn strings_of_anything() {
        assert_eq!(strings(r#"["a",1,null,"b"]"#), ["a", "b"]);
        for odd in ["", "null", "\"a\"", "{\"0\":\"a\"}", "[\"a\"", "{oops"] {
            assert!(strings(odd).is_empty(), "{odd}");
        }
    }
}
