// SPDX-License-Identifier: MIT
//! `help`: the command table, for people.

use super::argument::Argument;
use super::parse::nearest;
use super::table::{GROUPS, Group, Part, Spec, When, rows};

/// Width that explanations are wrapped at.
const WIDTH: usize = 100;

/// No command begins with the words that help is asked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no command begins with `{topic}`{}", .nearest.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default())]
pub(crate) struct NoSuchTopic {
    /// The words.
    pub(crate) topic: String,
    /// The command word that the first unknown one is most like.
    pub(crate) nearest: Option<&'static str>,
}

/// What `help` answers: without words the list of all commands, else those that begin with the words; one alone is
/// explained at length.
///
/// # Errors
/// No command begins so.
pub(crate) fn help(topic: &[String]) -> Result<String, NoSuchTopic> {
    let specs: Vec<&Spec> = rows().filter(|spec| begins(spec, topic)).collect();
    match specs.as_slice() {
        [] => Err(unknown(topic)),
        [spec] => Ok(at_length(spec)),
        specs if topic.is_empty() => {
            let width = width(specs);
            let group =
                |group: &Group| format!("{}:\n{}\n", group.title, list(group.rows.iter(), width));
            let text: String = GROUPS.iter().map(group).collect();
            Ok(text + "`help COMMAND` explains one, for instance `help port attach`.\n")
        }
        specs => Ok(list(specs.iter().copied(), width(specs))),
    }
}

/// True if the words of `spec` begin with `topic`; any word does for an argument.
fn begins(spec: &Spec, topic: &[String]) -> bool {
    topic.len() <= spec.parts.len()
        && topic.iter().zip(spec.parts).all(|(word, part)| match part {
            Part::Is(is) => is == word,
            Part::Arg(argument) => argument.name == word || argument.kind.value(word).is_some(),
        })
}

fn unknown(topic: &[String]) -> NoSuchTopic {
    // The first words that some command begins with are not what is wrong.
    let good = (0..topic.len())
        .rev()
        .find(|&n| rows().any(|spec| begins(spec, &topic[..n])))
        .unwrap_or(0);
    let words = rows()
        .filter(|spec| begins(spec, &topic[..good]))
        .filter_map(|spec| match spec.parts.get(good) {
            Some(Part::Is(word)) => Some(*word),
            _ => None,
        });
    let nearest = topic.get(good).and_then(|word| nearest(word, words));
    NoSuchTopic {
        topic: topic.join(" "),
        nearest,
    }
}

fn width(specs: &[&Spec]) -> usize {
    specs
        .iter()
        .map(|spec| spec.syntax().len())
        .max()
        .unwrap_or(0)
}

fn list<'a>(specs: impl Iterator<Item = &'a Spec>, width: usize) -> String {
    specs
        .map(|spec| format!("  {:width$}  {}\n", spec.syntax(), spec.summary))
        .collect()
}

fn at_length(spec: &Spec) -> String {
    let mut text = format!("{}\n    {}.\n", spec.syntax(), spec.summary);
    let arguments: Vec<&Argument> = spec.arguments().collect();
    if !arguments.is_empty() {
        text.push('\n');
    }
    for argument in arguments {
        text.push_str(&wrapped(&format!(
            "{}: {}. Takes {}.",
            argument.name, argument.about, argument.kind
        )));
    }
    if !spec.details.is_empty() {
        text.push('\n');
        text.push_str(&wrapped(spec.details));
    }
    text.push('\n');
    text.push_str(&wrapped(match spec.when {
        When::Start => "Only in the file that the switch starts with.",
        When::Running => "Only to a running switch.",
        When::Always => "In the file that the switch starts with, and to a running switch.",
    }));
    text
}

/// `text` in lines of [`WIDTH`], indented.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("   ");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn without_words_every_command_is_listed() {
        let text = help(&[]).unwrap();
        for spec in rows() {
            assert!(
                text.contains(&spec.syntax()) && text.contains(spec.summary),
                "{}",
                spec.syntax()
            );
        }
    }

    #[test]
    fn words_narrow_the_list_and_one_command_is_explained_at_length() {
        let text = help(&topic("port config")).unwrap();
        assert!(text.contains("port config PORT|all rxq COUNT") && !text.contains("port attach"));
        let text = help(&topic("set burst")).unwrap();
        assert!(
            text.contains("default 32") && text.contains("a number from 1 to 64"),
            "{text}"
        );
        assert!(help(&topic("set burst 32")).is_ok());
    }

    #[test]
    fn an_unknown_topic_names_the_nearest_word() {
        assert_eq!(
            help(&topic("port atach")).unwrap_err().nearest,
            Some("attach")
        );
        assert_eq!(
            help(&topic("shwo")).unwrap_err().to_string(),
            "no command begins with `shwo`; did you mean `show`?"
        );
    }
}
