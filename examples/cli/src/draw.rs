//! Boxes, points and labels on a picture, written as PNG.

use crate::report::{write_file, Exit, Failure};
use font8x8::UnicodeFonts;
use image::{Rgb, RgbImage};
use keyface::geometry::{Points5, Rect};
use std::io::Cursor;
use std::path::Path;

/// Colour of boxes and labels.
pub const GREEN: Rgb<u8> = Rgb([40, 220, 90]);
/// Colour of what is refused.
pub const RED: Rgb<u8> = Rgb([235, 60, 50]);
/// One colour a point: the eyes, the nose, the mouth corners.
const POINTS: [Rgb<u8>; 5] = [
    Rgb([255, 220, 0]),
    Rgb([255, 220, 0]),
    Rgb([0, 200, 255]),
    Rgb([255, 80, 200]),
    Rgb([255, 80, 200]),
];

/// A picture to draw on; whatever lies outside is left out.
pub struct Canvas {
    image: RgbImage,
    /// Width of a line in pixels, so that drawings look alike at any picture size.
    line: i32,
}

impl Canvas {
    /// Draws on `image` with lines and text of a given weight: letters are `8 * line` pixels high.
    pub fn with_line(image: RgbImage, line: usize) -> Canvas {
        Canvas { image, line: line as i32 }
    }

    /// Draws on `image`.
    pub fn new(image: RgbImage) -> Canvas {
        let line = (image.width().max(image.height()) / 240).clamp(1, 16) as i32;
        Canvas { image, line }
    }

    /// A filled rectangle.
    pub fn fill(&mut self, x: i32, y: i32, w: i32, h: i32, colour: Rgb<u8>) {
        let (width, height) = (self.image.width() as i32, self.image.height() as i32);
        for y in y.max(0)..(y.saturating_add(h)).min(height) {
            for x in x.max(0)..(x.saturating_add(w)).min(width) {
                self.image.put_pixel(x as u32, y as u32, colour);
            }
        }
    }

    /// The outline of a rectangle.
    pub fn rect(&mut self, rect: &Rect, colour: Rgb<u8>) {
        let t = self.line;
        let (x, y) = (rect.x.round() as i32, rect.y.round() as i32);
        let (w, h) = (rect.w.round() as i32, rect.h.round() as i32);
        let (right, bottom) = (x.saturating_add(w), y.saturating_add(h));
        self.fill(x, y, w, t, colour);
        self.fill(x, bottom.saturating_sub(t), w, t, colour);
        self.fill(x, y, t, h, colour);
        self.fill(right.saturating_sub(t), y, t, h, colour);
    }

    /// The five points as dots with a dark rim.
    pub fn points(&mut self, points: &Points5) {
        let r = self.line + 1;
        for (p, colour) in points.iter().zip(POINTS) {
            let (x, y) = (p.x.round() as i32, p.y.round() as i32);
            self.fill(
                x.saturating_sub(r),
                y.saturating_sub(r),
                2 * r + 1,
                2 * r + 1,
                Rgb([0, 0, 0]),
            );
            self.fill(
                x.saturating_sub(r - 1),
                y.saturating_sub(r - 1),
                2 * r - 1,
                2 * r - 1,
                colour,
            );
        }
    }

    /// A line of text on a bar of `colour` with its upper left corner at (`x`, `y`), moved inside the picture where possible.
    pub fn label(&mut self, x: f32, y: f32, text: &str, colour: Rgb<u8>) {
        let scale = self.line;
        let (w, h) = ((text.chars().count() as i32 * 8 + 4) * scale, 12 * scale);
        let x = (x.round() as i32).min(self.image.width() as i32 - w).max(0);
        let y = (y.round() as i32).min(self.image.height() as i32 - h).max(0);
        self.fill(x, y, w, h, colour);
        self.text(x + 2 * scale, y + 2 * scale, text, scale, Rgb([0, 0, 0]));
    }

    /// A line of text, 16 pixels high, with its upper left corner at (`x`, `y`).
    pub fn small(&mut self, x: i32, y: i32, text: &str, colour: Rgb<u8>) {
        self.text(x, y, text, 2, colour);
    }

    /// Text of 8x8 cells, each `scale` times as large; letters that the font lacks become question marks.
    fn text(&mut self, x: i32, y: i32, text: &str, scale: i32, colour: Rgb<u8>) {
        for (i, c) in text.chars().enumerate() {
            let glyph =
                font8x8::BASIC_FONTS.get(c).or(font8x8::BASIC_FONTS.get('?')).unwrap_or([0; 8]);
            for (row, bits) in glyph.iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    let (px, py) = (x + (8 * i as i32 + column) * scale, y + row as i32 * scale);
                    self.fill(px, py, scale, scale, colour);
                }
            }
        }
    }

    /// Height of a label's bar in pixels.
    pub fn label_height(&self) -> f32 {
        12.0 * self.line as f32
    }

    /// The picture with what was drawn.
    pub fn into_image(self) -> RgbImage {
        self.image
    }

    /// Writes the picture as PNG.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let mut bytes = Cursor::new(Vec::new());
        self.image.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| {
            Failure::new(Exit::Internal, format!("{}: cannot write: {e}", path.display()))
        })?;
        write_file(path, &bytes.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::geometry::Point;

    #[test]
    fn nothing_reaches_outside() {
        let mut canvas = Canvas::new(RgbImage::new(40, 30));
        for rect in [
            Rect::new(-1e9, -1e9, 2e9, 2e9),
            Rect::new(1e30, 1e30, 1e30, 1e30),
            Rect::new(f32::NAN, 0.0, f32::NAN, 5.0),
            Rect::new(5.0, 5.0, -3.0, -3.0),
        ] {
            canvas.rect(&rect, GREEN);
            canvas.points(&[Point::new(rect.x, rect.y); 5]);
            canvas.label(rect.x, rect.y, "a long label, longer than the picture \u{1F600}", RED);
        }
    }

    #[test]
    fn a_box_has_its_corners() {
        let mut canvas = Canvas::new(RgbImage::new(64, 64));
        canvas.rect(&Rect::new(10.0, 20.0, 30.0, 25.0), GREEN);
        for (x, y) in [(10, 20), (39, 20), (10, 44), (39, 44)] {
            assert_eq!(*canvas.image.get_pixel(x, y), GREEN);
        }
        for (x, y) in [(9, 20), (40, 20), (10, 45), (25, 30)] {
            assert_eq!(*canvas.image.get_pixel(x, y), Rgb([0, 0, 0]));
        }
    }

    #[test]
    fn labels_have_ink() {
        let mut canvas = Canvas::new(RgbImage::from_pixel(100, 40, Rgb([9, 9, 9])));
        canvas.label(0.0, 0.0, "I", GREEN);
        let count = |c| canvas.image.pixels().filter(|&&p| p == c).count();
        assert!(count(Rgb([0, 0, 0])) > 10 && count(GREEN) > 60);
    }
}
