// SPDX-License-Identifier: MIT
//! Rows to a table for people: plain columns, numbers to the right, nothing that `grep` or `awk` would trip over.

use serde_json::{Map, Value};

/// A table of `rows`, an array of flat objects. The columns are the keys, in the order in which they first come; a
/// row without a key has `-` there, as for `null`. What is no such array is shown as JSON.
pub(crate) fn table(rows: &Value) -> String {
    let Some(rows) = objects(rows) else {
        return format!("{rows:#}\n");
    };
    let columns = columns(&rows);
    if columns.is_empty() {
        return "nothing\n".to_owned();
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|column| cell(row.get(*column)))
                .collect()
        })
        .collect();
    let right: Vec<bool> = columns
        .iter()
        .map(|column| is_numeric(&rows, column))
        .collect();
    let head: Vec<String> = columns.iter().map(|column| visible(column)).collect();
    let width = |i: usize| {
        let body = cells.iter().map(|row| row[i].chars().count());
        body.chain([head[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&cells) {
        line(&mut text, row, &widths, &right);
    }
    text
}

fn objects(rows: &Value) -> Option<Vec<&Map<String, Value>>> {
    rows.as_array()?.iter().map(Value::as_object).collect()
}

fn columns<'a>(rows: &[&'a Map<String, Value>]) -> Vec<&'a str> {
    let mut columns: Vec<&str> = Vec::new();
    for row in rows {
        // Rows of one answer nearly always have the same keys: one comparison then.
        if row.len() == columns.len() && row.keys().zip(&columns).all(|(key, column)| key == column)
        {
            continue;
        }
        for key in row.keys() {
            if !columns.contains(&key.as_str()) {
                columns.push(key);
            }
        }
    }
    columns
}

/// True if a column holds numbers and nothing else, at least one.
fn is_numeric(rows: &[&Map<String, Value>], column: &str) -> bool {
    let mut values = rows
        .iter()
        .filter_map(|row| row.get(column))
        .filter(|value| !value.is_null());
    values.clone().next().is_some() && values.all(Value::is_number)
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => visible(text),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| cell(Some(item)))
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
    }
}

/// Names come from the controller: no control character of theirs reaches the terminal.
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

fn line(text: &mut String, cells: &[String], widths: &[usize], right: &[bool]) {
    for (i, cell) in cells.iter().enumerate() {
        let pad = widths[i] - cell.chars().count();
        let gap = if i == 0 { 0 } else { 2 };
        let before = gap + if right[i] { pad } else { 0 };
        text.extend(std::iter::repeat_n(' ', before));
        text.push_str(cell);
        if !right[i] && i + 1 < cells.len() {
            text.extend(std::iter::repeat_n(' ', pad));
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_keep_their_order_and_numbers_stand_right() {
        let rows = json!([{"port": 0, "name": "uplink", "rx": 5}, {"port": 10, "name": "vm", "rx": 12345}]);
        assert_eq!(
            table(&rows),
            "port  name       rx\n   0  uplink      5\n  10  vm      12345\n"
        );
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let rows = json!([{"a": null, "b": ""}, {"a": "x", "c": [1, 2]}]);
        assert_eq!(table(&rows), "a  b  c\n-  -  -\nx  -  1,2\n");
        assert_eq!(table(&json!([])), "nothing\n");
    }

    #[test]
    fn what_is_no_array_of_objects_is_shown_as_json() {
        assert_eq!(table(&json!({"a": 1})), "{\n  \"a\": 1\n}\n");
    }

    #[test]
    fn control_characters_of_names_do_not_reach_the_terminal() {
        assert_eq!(
            table(&json!([{"name": "\u{1b}[2Jx\n"}])),
            "name\n\\u{1b}[2Jx\\n\n"
        );
    }
}
