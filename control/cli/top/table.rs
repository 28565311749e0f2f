// SPDX-License-Identifier: MIT
//! [`Figures`] to [`Table`]s of text, which are drawn, or printed by [`plain`].

use super::figures::{Drops, Figures, Port, Worker};
use super::numbers::{Write, clock, whole};
use crate::northbound::render::visible;

/// Longest name of a device that is shown whole.
const MAX_DEVICE: usize = 16;

/// Length of the bar of a worker that has packets all the time.
const BAR: f64 = 20.0;

/// A column: its name, and whether it has numbers, which stand right.
type Column = (&'static str, bool);

/// Rows of text.
pub(super) struct Table {
    pub(super) title: &'static str,
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

/// A text of a row.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) mark: Mark,
}

/// How a text stands out, for those who see colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// Not at all.
    None,
    /// Packets are lost.
    Alarm,
    /// Nothing passes here.
    Faint,
}

/// What ports are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Order {
    /// Most packets first, received and sent.
    #[default]
    Rate,
    /// Most losses first.
    Drops,
    /// By number.
    Number,
}

impl Order {
    /// The one after it.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Rate => Self::Drops,
            Self::Drops => Self::Number,
            Self::Number => Self::Rate,
        }
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Drops => "drops",
            Self::Number => "number",
        }
    }
}

impl Table {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The names of the columns, and the rows; each text as wide as its column.
    pub(super) fn aligned(&self) -> (Vec<Cell>, Vec<Vec<Cell>>) {
        let head: Vec<_> = (self.columns.iter()).map(|(name, _)| cell(*name)).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]);
            let lengths = cells
                .chain([&head[column]])
                .map(|it| it.text.chars().count());
            lengths.max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let align = |row: &Vec<Cell>| {
            let cells = row.iter().zip(self.columns).zip(&widths);
            let cells = cells.map(|((cell, (_, right)), width)| Cell {
                text: match right {
                    true => format!("{:>width$}", cell.text),
                    false => format!("{:<width$}", cell.text),
                },
                mark: cell.mark,
            });
            cells.collect()
        };
        (align(&head), self.rows.iter().map(align).collect())
    }
}

fn cell(text: impl Into<String>) -> Cell {
    let (text, mark) = (text.into(), Mark::None);
    Cell { text, mark }
}

/// A figure of lost packets.
fn lost(figure: f64, write: Write) -> Cell {
    let (text, alarm) = (write(figure), figure > 0.0);
    let mark = if alarm { Mark::Alarm } else { Mark::None };
    Cell { text, mark }
}

/// What is to be said of the switch as a whole: it, its traffic, its goal state, its health.
pub(super) fn head(figures: &Figures, write: Write) -> [String; 4] {
    let [alkaid, dpdk] = &figures.version;
    let (up, rx, tx) = (clock(figures.uptime_seconds), figures.rx, figures.tx);
    let forwarding = if figures.forwarding {
        "forwarding"
    } else {
        "stopped"
    };
    let rate = |packets, bits| format!("{} pps {} bit/s", write(packets), write(bits));
    let resources = &figures.resources;
    [
        format!("Alkaid {alkaid}, {dpdk}, up {up}, {forwarding}"),
        format!(
            "rx {}   tx {}   drops {}/s",
            rate(rx.packets, rx.bits),
            rate(tx.packets, tx.bits),
            write(figures.dropped)
        ),
        format!(
            "goal state: {} resources programmed, {} pending, {} failed",
            resources.programmed, resources.pending, resources.failed
        ),
        match figures.faults.is_empty() {
            true => "ready".to_owned(),
            false => visible(&format!("not ready: {}", figures.faults.join("; "))),
        },
    ]
}

/// The tables, in the order of their numbers on the screen.
pub(super) fn tables(figures: &Figures, order: Order, write: Write) -> [Table; 3] {
    [
        workers(figures, write),
        ports(figures, order, write),
        drops(figures, write),
    ]
}

fn workers(figures: &Figures, write: Write) -> Table {
    let row = |it: &Worker| {
        let mean = |figure: Option<f64>, decimals: usize| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
        };
        let stands = it.standing_seconds >= 1.0;
        vec![
            cell(it.worker.to_string()),
            cell(it.core.to_string()),
            cell(format!("{:.1}", it.busy * 100.0)),
            cell(mean(it.cycles, 0)),
            cell(mean(it.burst, 1)),
            cell(write(it.packets)),
            match stands {
                true => Cell {
                    text: format!("stands still {:.0} s", it.standing_seconds),
                    mark: Mark::Alarm,
                },
                false => cell("|".repeat((it.busy * BAR).round() as usize)),
            },
        ]
    };
    Table {
        title: "Workers",
        columns: &[
            ("worker", true),
            ("core", true),
            ("busy_%", true),
            ("cycles/packet", true),
            ("packets/burst", true),
            ("rx_pps", true),
            ("load", false),
        ],
        rows: figures.workers.iter().map(row).collect(),
    }
}

fn ports(figures: &Figures, order: Order, write: Write) -> Table {
    let row = |it: &Port| {
        let mut row = vec![
            cell(it.port.to_string()),
            cell(short(&visible(&it.device))),
            cell(&*it.role),
            cell(if it.up { "up" } else { "down" }),
            cell(write(it.rx.packets)),
            cell(write(it.rx.bits)),
            cell(write(it.tx.packets)),
            cell(write(it.tx.bits)),
            lost(it.dropped, write),
            cell(match &*it.binding {
                "" => "-".to_owned(),
                binding => visible(binding),
            }),
        ];
        let plain = row.iter_mut().filter(|cell| cell.mark == Mark::None);
        plain
            .filter(|_| !it.up)
            .for_each(|cell| cell.mark = Mark::Faint);
        row
    };
    let mut sorted: Vec<_> = figures.ports.iter().collect();
    sorted.sort_by_key(|it| it.port);
    let most =
        |figure: fn(&Port) -> f64| move |a: &&Port, b: &&Port| figure(b).total_cmp(&figure(a));
    match order {
        Order::Rate => sorted.sort_by(most(|it| it.rx.packets + it.tx.packets)),
        Order::Drops => sorted.sort_by(most(|it| it.dropped)),
        Order::Number => {}
    }
    Table {
        title: "Ports",
        columns: &[
            ("port", true),
            ("device", false),
            ("role", false),
            ("link", false),
            ("rx_pps", true),
            ("rx_bit/s", true),
            ("tx_pps", true),
            ("tx_bit/s", true),
            ("drops/s", true),
            ("binding", false),
        ],
        rows: sorted.into_iter().map(row).collect(),
    }
}

fn drops(figures: &Figures, write: Write) -> Table {
    let row = |it: &Drops| {
        vec![
            lost(it.rate, write),
            cell(it.total.to_string()),
            cell(&*it.reason),
            cell(&*it.explanation),
        ]
    };
    Table {
        title: "Drops",
        columns: &[
            ("drops/s", true),
            ("total", true),
            ("reason", false),
            ("explanation", false),
        ],
        rows: figures.drops.iter().map(row).collect(),
    }
}

fn short(name: &str) -> String {
    match name.chars().count() > MAX_DEVICE {
        true => name.chars().take(MAX_DEVICE - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// All of it as lines, for scripts: ports by number, figures as whole numbers.
pub(super) fn plain(figures: &Figures) -> String {
    let mut text = head(figures, whole).join("\n") + "\n";
    for table in tables(figures, Order::Number, whole) {
        let (head, rows) = table.aligned();
        text += &format!("\n{}: {}\n", table.title, table.len());
        for row in std::iter::once(head)
            .filter(|_| table.len() > 0)
            .chain(rows)
        {
            let cells: Vec<_> = row.into_iter().map(|cell| cell.text).collect();
            text += cells.join("  ").trim_end();
            text += "\n";
        }
    }
    text
}
