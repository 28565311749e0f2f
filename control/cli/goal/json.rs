// SPDX-License-Identifier: MIT
//! Two looks at JSON text without making values of it: what the outermost fields are, and where in it a place is.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// `[...]`
    List,
    /// `{...}`
    Map,
    /// Anything else.
    Plain,
}

/// An outermost field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: String,
    /// What its value is.
    pub(super) shape: Shape,
}

/// The fields of the object that `text` is.
///
/// # Errors
/// It is no JSON object.
pub(super) fn outline(text: &str) -> Result<Vec<Field>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = deserializer.deserialize_map(Fields)?;
    deserializer.end()?;
    Ok(fields)
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object, the goal state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Field>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, shape)) = map.next_entry()? {
            fields.push(Field { name, shape });
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

/// The methods of a visitor for plain values.
macro_rules! plain {
    ($($method:ident($($value:ty)?),)+) => {
        $(fn $method<E>(self $(, _: $value)?) -> Result<Shape, E> {
            Ok(Shape::Plain)
        })+
    };
}

impl<'de> Visitor<'de> for Any {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shape::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Shape::Map)
    }

    plain! {
        visit_bool(bool),
        visit_i64(i64),
        visit_u64(u64),
        visit_f64(f64),
        visit_str(&str),
        visit_unit(),
    }
}

/// A value that the place is in, or was last in.
enum Level {
    /// An object, at the field of this name.
    Object(String),
    /// A list, at this item.
    List(usize),
}

/// The path of the value at `line` and `column` (from 1, in bytes) of `text`, as in `port_states[3].configuration.id`.
/// `text` may be broken from there on.
pub(super) fn path_at(text: &str, line: usize, column: usize) -> String {
    let mut levels: Vec<Level> = Vec::new();
    let mut chars = text[..offset(text, line, column)].chars();
    // In an object: the next string is a name.
    let mut names = false;
    while let Some(c) = chars.next() {
        match c {
            '{' => {
                levels.push(Level::Object(String::new()));
                names = true;
            }
            '[' => {
                levels.push(Level::List(0));
                names = false;
            }
            '}' | ']' => {
                levels.pop();
                names = false;
            }
            ',' => match levels.last_mut() {
                Some(Level::List(item)) => *item += 1,
                Some(Level::Object(_)) => names = true,
                None => {}
            },
            '"' => {
                let string = string(&mut chars);
                if let (true, Some(Level::Object(name))) = (names, levels.last_mut()) {
                    *name = string;
                    names = false;
                }
            }
            _ => {}
        }
    }
    written(&levels)
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    text.floor_char_boundary(before + column)
}

/// Reads a string to its closing quote. Escapes are left as they are.
fn string(chars: &mut std::str::Chars<'_>) -> String {
    let mut string = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => {
                string.push(c);
                string.extend(chars.next());
            }
            c => string.push(c),
        }
    }
    string
}

fn written(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        // Writing to a String cannot fail.
        let _ = match level {
            Level::List(item) => write!(path, "[{item}]"),
            Level::Object(name) if name.is_empty() => Ok(()),
            Level::Object(name) if path.is_empty() => write!(path, "{name}"),
            // A key that is no field name, of a map.
            Level::Object(name) if name.contains(|c: char| !c.is_alphanumeric() && c != '_') => {
                write!(path, "[\"{name}\"]")
            }
            Level::Object(name) => write!(path, ".{name}"),
        };
    }
    if path.is_empty() {
        "the goal state".to_owned()
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_names_outermost_fields_and_their_shape() {
        let fields = outline(r#"{"a": [{"b": 1}], "c": {}, "d": "[", "e": null}"#).unwrap();
        let shapes: Vec<Shape> = fields.iter().map(|field| field.shape).collect();
        assert_eq!(
            shapes,
            [Shape::List, Shape::Map, Shape::Plain, Shape::Plain]
        );
        assert!(outline("[]").is_err() && outline("{} x").is_err() && outline("").is_err());
    }

    #[test]
    fn a_place_has_the_path_of_its_value() {
        let text = "{\"a\": [1, {\"b\": \"x, {\",\n \"c\": 5}],\n \"L2/port-1\": {\"d\": {\"e\": 7";
        assert_eq!(path_at(text, 2, 7), "a[1].c");
        assert_eq!(path_at(text, 1, 8), "a[0]");
        assert_eq!(path_at(text, 3, 30), "L2/port-1.d.e");
        assert_eq!(path_at("{\"m\": {\"L2/x\": 1", 1, 99), "m[\"L2/x\"]");
        assert_eq!(path_at("", 1, 1), "the goal state");
    }
}
