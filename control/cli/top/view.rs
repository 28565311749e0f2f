// SPDX-License-Identifier: MIT
//! [`View`]: which part of the figures is on the screen, and the keys that change that.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::table::Order;

/// Tables on the screen, one below the other.
pub(super) const TABLES: usize = 3;

/// The table that one comes for.
pub(super) const PORTS: usize = 1;

/// Lines of a table besides its rows: its title and the names of its columns.
const FRAME: usize = 2;

/// Lines that each table has, if it needs as many and there is room for that.
const FEW: usize = 5;

/// What the operator chose to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct View {
    /// The table that keys move.
    pub(super) focus: usize,
    /// The first row of each table that is to be seen.
    pub(super) first: [usize; TABLES],
    /// Rows of each table that there is room for.
    pub(super) room: [usize; TABLES],
    /// What ports are sorted by.
    pub(super) order: Order,
    /// The figures stay as they are.
    pub(super) paused: bool,
    /// The keys are explained.
    pub(super) help: bool,
}

impl Default for View {
    fn default() -> Self {
        Self {
            focus: PORTS,
            first: [0; TABLES],
            room: [0; TABLES],
            order: Order::default(),
            paused: false,
            help: false,
        }
    }
}

/// What is to be done after a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    GoOn,
    End,
}

impl View {
    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Then {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Then::End,
                _ => Then::GoOn,
            };
        }
        if key.code == KeyCode::Char('q') {
            return Then::End;
        }
        if self.help {
            self.help = false;
            return Then::GoOn;
        }
        let first = &mut self.first[self.focus];
        let page = self.room[self.focus].max(1);
        match key.code {
            KeyCode::Esc => return Then::End,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Tab => self.focus = (self.focus + 1) % TABLES,
            KeyCode::BackTab => self.focus = (self.focus + TABLES - 1) % TABLES,
            KeyCode::Char('1') => self.focus = 0,
            KeyCode::Char('2') => self.focus = 1,
            KeyCode::Char('3') => self.focus = 2,
            KeyCode::Up => *first = first.saturating_sub(1),
            KeyCode::Down => *first = first.saturating_add(1),
            KeyCode::PageUp => *first = first.saturating_sub(page),
            KeyCode::PageDown => *first = first.saturating_add(page),
            KeyCode::Home => *first = 0,
            KeyCode::End => *first = usize::MAX,
            _ => {}
        }
        Then::GoOn
    }

    /// Shares `lines` among tables with so many rows: lines of each. None is scrolled beyond its end.
    pub(super) fn fit(&mut self, lines: usize, rows: [usize; TABLES]) -> [usize; TABLES] {
        // A table without rows is its title.
        let wanted = rows.map(|rows| if rows == 0 { 1 } else { FRAME + rows });
        let (mut given, mut left) = ([0; TABLES], lines);
        let mut give = |table: usize, at_most: usize| {
            let more = (wanted[table] - given[table]).min(at_most).min(left);
            given[table] += more;
            left -= more;
        };
        if lines >= TABLES * FEW {
            (0..TABLES).for_each(|table| give(table, FEW));
        }
        give(self.focus, lines);
        [PORTS, 0, 2]
            .into_iter()
            .for_each(|table| give(table, lines));
        for (table, rows) in rows.into_iter().enumerate() {
            self.room[table] = given[table].saturating_sub(FRAME);
            let last = rows.saturating_sub(self.room[table]);
            self.first[table] = self.first[table].min(last);
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, codes: &[KeyCode]) {
        for code in codes {
            let then = view.press(KeyEvent::new(*code, KeyModifiers::NONE));
            assert_eq!(then, Then::GoOn, "{code:?}");
        }
    }

    #[test]
    fn the_table_in_focus_gets_the_lines_that_others_can_spare() {
        let mut view = View::default();
        assert_eq!(view.fit(40, [2, 1024, 4]), [4, 31, 5]);
        assert_eq!(view.room, [2, 29, 3]);
        view.focus = 2;
        assert_eq!(view.fit(40, [2, 1024, 40]), [4, 5, 31]);
        assert_eq!(view.fit(40, [2, 3, 4]), [4, 5, 6], "nothing is needed more");
        assert_eq!(view.fit(40, [2, 3, 0]), [4, 5, 1]);
        assert_eq!(view.fit(10, [2, 1024, 4]), [0, 4, 6], "too few for all");
        assert_eq!(view.fit(0, [2, 1024, 4]), [0, 0, 0]);
    }

    #[test]
    fn scrolling_ends_with_the_last_row() {
        let (mut view, rows) = (View::default(), [2, 100, 0]);
        view.fit(30, rows);
        let room = view.room[PORTS];
        for (codes, first) in [
            (&[KeyCode::Up][..], 0),
            (&[KeyCode::Down, KeyCode::Down], 2),
            (&[KeyCode::PageDown], 2 + room),
            (&[KeyCode::PageUp, KeyCode::Up], 1),
            (
                &[KeyCode::End, KeyCode::PageDown, KeyCode::Down],
                100 - room,
            ),
            (&[KeyCode::Up], 99 - room),
            (&[KeyCode::Home], 0),
        ] {
            for code in codes {
                press(&mut view, &[*code]);
                view.fit(30, rows);
            }
            assert_eq!(view.first, [0, first, 0], "{codes:?}");
        }
        press(&mut view, &[KeyCode::End]);
        view.fit(30, rows);
        view.fit(30, [2, 7, 0]);
        assert_eq!(view.first[PORTS], 0, "ports went away");
    }

    #[test]
    fn keys_choose_the_table_the_order_and_whether_figures_move() {
        let mut view = View::default();
        press(&mut view, &[KeyCode::Tab, KeyCode::Tab]);
        assert_eq!(view.focus, 0);
        press(&mut view, &[KeyCode::BackTab]);
        assert_eq!(view.focus, 2);
        press(&mut view, &[KeyCode::Char('2'), KeyCode::Char('s')]);
        press(&mut view, &[KeyCode::Char('p'), KeyCode::F(5)]);
        let expected = View {
            order: Order::Drops,
            paused: true,
            ..View::default()
        };
        assert_eq!(view, expected);
    }

    #[test]
    fn any_key_but_those_that_end_closes_the_help() {
        let mut view = View::default();
        for closes in [KeyCode::Esc, KeyCode::Char('p'), KeyCode::Char('?')] {
            press(&mut view, &[KeyCode::Char('?')]);
            assert!(view.help);
            press(&mut view, &[closes]);
            assert_eq!(view, View::default());
        }
        view.help = true;
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        let q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
        assert_eq!([control, q].map(|key| view.press(key)), [Then::End; 2]);
        assert_eq!(View::default().press(escape), Then::End);
    }
}
