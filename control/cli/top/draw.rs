// SPDX-License-Identifier: MIT
//! What is on the screen: the switch as a whole, a notice, the tables one below the other, the keys.

use ratatui::Frame;
use ratatui::layout::Constraint::{Fill, Length, Max};
use ratatui::layout::{Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::figures::Figures;
use super::numbers::scaled;
use super::table::{Cell, Mark, Table, head, tables};
use super::view::{PORTS, View};

const KEYS: &str = "q end   Tab 1 2 3 table   arrows PgUp PgDn scroll   s sort   p pause   ? help";

const HELP: &str = "\
 q, Esc, Ctrl-C       end
 Tab, 1, 2, 3         choose a table: the one with the thick line has the keys
 arrows, PgUp, PgDn,
 Home, End            scroll it
 s                    sort ports by rate, by drops, by number
 p                    pause: figures stay as they are, until p is pressed again
 ?, h                 this

 Rates are per second, packets (pps) and bits (bit/s, with Ethernet headers), over
 the last interval. busy_% is the share of time in which a worker had packets;
 cycles/packet are of that time, and packets/burst how many came at once.
 drops are packets that arrived and do not leave, and what devices lost; their
 total is since the switch started, whatever `clear port stats` says; of what devices lost, since the ports of now are there.";

/// What is said of the watching itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    /// Nothing.
    None,
    /// For whoever wonders.
    Note(&'static str),
    /// The switch does not answer.
    Alarm(String),
}

/// Draws what is known, which is nothing at first.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    view: &mut View,
    figures: Option<&Figures>,
    notice: &Notice,
) {
    let unknown = Figures::default();
    let known = figures.unwrap_or(&unknown);
    let parts = [Length(4), Fill(1), Length(1)];
    let [top, middle, bottom] = Layout::vertical(parts).areas(frame.area());
    let [switch, traffic, goal_state, health] = head(known, scaled).map(Line::raw);
    let health = match notice {
        Notice::None if known.faults.is_empty() => health,
        Notice::None => health.red(),
        Notice::Note(text) => Line::raw(*text).bold(),
        Notice::Alarm(text) => Line::raw(text).red().bold(),
    };
    let lines = match figures {
        Some(_) => vec![switch.bold(), traffic, goal_state, health],
        None => vec![health],
    };
    frame.render_widget(Paragraph::new(lines), top);
    if figures.is_some() {
        draw_tables(frame, middle, view, known);
    }
    frame.render_widget(Line::raw(KEYS).reversed(), bottom);
    if view.help {
        draw_help(frame);
    }
}

/// The tables' lines are those that the view gives them.
fn draw_tables(frame: &mut Frame<'_>, area: Rect, view: &mut View, figures: &Figures) {
    let tables = tables(figures, view.order, scaled);
    let mut free = area;
    let lines = view.fit(area.height.into(), tables.each_ref().map(Table::len));
    for (number, (table, lines)) in tables.iter().zip(lines).enumerate() {
        // Together they have no more lines than `area`.
        let height = u16::try_from(lines).unwrap_or(free.height).min(free.height);
        draw_table(frame, Rect { height, ..free }, view, number, table);
        free.y += height;
        free.height -= height;
    }
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, view: &View, number: usize, table: &Table) {
    let (first, room, rows) = (view.first[number], view.room[number], table.len());
    let seen = match rows > room && room > 0 {
        true => format!("{}-{} of {rows}", first + 1, first + room),
        false => rows.to_string(),
    };
    let order = match number == PORTS {
        true => format!(", by {}", view.order.name()),
        false => String::new(),
    };
    let (stroke, style) = match number == view.focus {
        true => ("━", Style::new().bold()),
        false => ("─", Style::new()),
    };
    let title = format!("{stroke} {} {}: {seen}{order} ", number + 1, table.title);
    let title = title + &stroke.repeat(area.width.into());
    let (names, rows) = table.aligned();
    let rows = rows.into_iter().skip(first).take(room).map(row);
    let above = [Line::styled(title, style), row(names).bold()];
    let lines: Vec<_> = above.into_iter().chain(rows).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn row(cells: Vec<Cell>) -> Line<'static> {
    let spans = cells.into_iter().flat_map(|cell| {
        let style = match cell.mark {
            Mark::None => Style::new(),
            Mark::Alarm => Style::new().red().bold(),
            Mark::Faint => Style::new().dim(),
        };
        [Span::styled(cell.text, style), Span::raw("  ")]
    });
    spans.collect()
}

fn draw_help(frame: &mut Frame<'_>) {
    let at_most = |cells: usize| Max(cells.try_into().unwrap_or(u16::MAX));
    let widths = HELP.lines().map(|line| line.chars().count());
    let (width, height) = (widths.max().unwrap_or(0) + 3, HELP.lines().count() + 2);
    let area = frame.area().centered(at_most(width), at_most(height));
    let around = Block::bordered().title(" alkaid top ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(around), area);
}
