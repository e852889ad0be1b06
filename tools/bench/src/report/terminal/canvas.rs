//! A canvas of Braille characters: two dots across and four down in each, so that a curve shows in a few lines of a terminal.

/// The first Braille character, without dots. A dot is a bit above it.
const BLANK: u32 = 0x2800;
/// The bits of a character's dots, by row and column.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Dots, of which (0, 0) is the one at the bottom left.
pub(super) struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<u32>,
}

impl Canvas {
    pub(super) fn new(columns: usize, rows: usize) -> Canvas {
        Canvas {
            columns,
            rows,
            cells: vec![0; columns * rows],
        }
    }

    pub(super) fn width(&self) -> usize {
        self.columns * 2
    }

    pub(super) fn height(&self) -> usize {
        self.rows * 4
    }

    /// Sets a dot. One outside is left out.
    fn dot(&mut self, x: i64, y: i64) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else {
            return;
        };
        if x >= self.width() || y >= self.height() {
            return;
        }
        let from_top = self.height() - 1 - y;
        self.cells[from_top / 4 * self.columns + x / 2] |= DOTS[from_top % 4][x % 2];
    }

    /// A line through points given as shares of the width and the height.
    pub(super) fn line(&mut self, points: &[(f64, f64)]) {
        let (right, top) = ((self.width() - 1) as f64, (self.height() - 1) as f64);
        let place = |(x, y): (f64, f64)| (x * right, y * top);
        if let [only] = points {
            let (x, y) = place(*only);
            self.dot(x.round() as i64, y.round() as i64);
        }
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (place(pair[0]), place(pair[1]));
            let steps = (x1 - x0).abs().max((y1 - y0).abs()).ceil().max(1.0);
            for step in 0..=steps as u32 {
                let along = f64::from(step) / steps;
                let x = x0 + (x1 - x0) * along;
                let y = y0 + (y1 - y0) * along;
                self.dot(x.round() as i64, y.round() as i64);
            }
        }
    }

    /// The rows of characters, from the top.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.cells.chunks(self.columns).map(|row| {
            row.iter()
                .map(|dots| char::from_u32(BLANK + dots).unwrap_or(' '))
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_corner_to_corner() {
        let mut canvas = Canvas::new(2, 1);
        canvas.line(&[(0.0, 0.0), (1.0, 1.0)]);
        assert_eq!(canvas.lines().collect::<Vec<_>>(), ["⡠⠊"]);
        canvas.line(&[(5.0, 5.0)]);
        assert_eq!(canvas.lines().collect::<Vec<_>>(), ["⡠⠊"]);
    }
}
