//! `keyface explain`: the learned attention offsets of a query patch, drawn over the face.

use crate::args::ExplainArgs;
use crate::draw::{Canvas, GREEN};
use crate::faces::{self, Choice};
use crate::model;
use crate::report::{Exit, Failure, Outcome, Output};
use image::{Rgb, RgbImage};
use keyface::align::Alignment;
use keyface::engine::Recogniser;
use keyface::frame::Frame;
use keyface::geometry::{Point, Points5, Rect, Similarity};
use keyface::sample::{normalised, Crop, CROP_SIDE};
use keyface_boards::picture::Picture;
use serde::Serialize;

/// White space around panels, in crop pixels.
const GAP: usize = 4;
/// Height of the label above a panel, in crop pixels.
const LABEL: usize = 13;
/// Networks with more maps than this are drawn at half the size.
const LARGE: usize = 48;
/// Colour of the labels of what is not chosen.
const PLAIN: Rgb<u8> = Rgb([225, 225, 225]);
/// Rotation and scale of the lower row's views: as aligned, turned both ways, nearer and farther.
const VIEWS: [(&str, f64, f64); 5] = [
    ("aligned", 0.0, 1.0),
    ("turned -25", -25.0, 1.0),
    ("turned +25", 25.0, 1.0),
    ("scaled 0.75", 0.0, 0.75),
    ("scaled 1.25", 0.0, 1.25),
];

/// The result.
#[derive(Serialize)]
struct Line {
    file: String,
    out: String,
    block: usize,
    head: usize,
    query: [f32; 2],
    token: usize,
    spread: f32,
}

/// One way of looking at the face.
struct View {
    crop: Crop,
    points: Points5,
}

impl View {
    /// The aligned face turned by `degrees` and scaled about the middle of the crop.
    fn new(frame: &Frame<'_>, points: &Points5, degrees: f64, scale: f64) -> Option<View> {
        let alignment = Alignment::of(points)?;
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (a, b, middle) = (scale * cos, scale * sin, (CROP_SIDE as f64 - 1.0) / 2.0);
        let about = Similarity::new(
            a,
            b,
            middle - a * middle + b * middle,
            middle - b * middle - a * middle,
        )?;
        let to_crop = alignment.to_crop().then(&about)?;
        let mut crop = Crop::new();
        crop.warp(frame, &to_crop.inverse()).ok()?;
        Some(View { crop, points: to_crop.apply5(points) })
    }

    fn keypoints(&self) -> [[f32; 2]; 5] {
        self.points.map(normalised)
    }
}

/// Runs the command.
pub fn run(args: &ExplainArgs, out: Output) -> Outcome {
    let loaded = model::load(&args.model)?;
    let picture = Picture::open(&args.picture)?;
    let file = args.picture.display().to_string();
    let refuse = |cause: &str| Failure::new(Exit::Input, format!("{file}: {cause}"));
    let face =
        faces::describe(&mut loaded.pipeline()?, &picture, Choice::largest_if(args.one.largest))
            .map_err(|cause| refuse(&cause))?;
    let frame = picture.frame();
    let views: Option<Vec<View>> = VIEWS
        .iter()
        .map(|(_, degrees, scale)| View::new(&frame, &face.detection.points, *degrees, *scale))
        .collect();
    let views = views.ok_or_else(|| refuse("the five points do not form a face"))?;
    let figure = Figure::new(loaded.model.recogniser(), &views, args)?;
    figure.draw(&views).save(&args.out)?;
    let line = Line {
        file,
        out: args.out.display().to_string(),
        block: figure.block,
        head: figure.head,
        query: [figure.query.x, figure.query.y],
        token: figure.token,
        spread: figure.range,
    };
    out.object(&line)?;
    out.text(format_args!(
        "{}: block {}, head {}, query token {}, written to {}",
        line.file, line.block, line.head, line.token, line.out
    ))?;
    Ok(Exit::Done)
}

/// What is drawn: for every block and head the offsets of one query, and how one of them follows the views.
struct Figure {
    blocks: usize,
    heads: usize,
    side: usize,
    block: usize,
    head: usize,
    query: Point,
    token: usize,
    /// `[block * heads + head]`, each centred: the softmax does not see a constant.
    grid: Vec<Vec<f32>>,
    /// The chosen block and head in every view, centred.
    lower: Vec<Vec<f32>>,
    /// The largest absolute value of all: one colour scale for the whole figure.
    range: f32,
}

impl Figure {
    fn new(recogniser: &Recogniser, views: &[View], args: &ExplainArgs) -> Result<Figure, Failure> {
        let m = recogniser.manifest();
        let (blocks, heads, side) = (m.depth, m.num_heads, m.grid());
        let query = args.query.unwrap_or(views[0].points[2]);
        let cell = |v: f32| ((v + 0.5) / CROP_SIDE as f32 * side as f32) as usize;
        let inside = |v: f32| (0.0..CROP_SIDE as f32).contains(&v);
        let usage = |message: &str| Failure::new(Exit::Usage, message.to_owned());
        if !inside(query.x) || !inside(query.y) {
            return Err(usage("--query must lie in the 112x112 crop"));
        }
        if args.block.is_some_and(|b| b >= blocks) || args.head.is_some_and(|h| h >= heads) {
            return Err(usage(&format!(
                "this recogniser has {blocks} blocks and {heads} heads, counted from 0"
            )));
        }
        let token = cell(query.y).min(side - 1) * side + cell(query.x).min(side - 1);
        let offsets = |view: &View, block, head| {
            recogniser.attention_offsets(&view.keypoints(), block, head, token).map(centred)
        };
        let all = (0..blocks * heads).map(|i| offsets(&views[0], i / heads, i % heads));
        let grid: Vec<Vec<f32>> = all
            .collect::<Option<_>>()
            .ok_or_else(|| usage("this recogniser has no key-point tables to explain"))?;
        // Unless told otherwise, the block and head whose offsets vary most.
        let wanted = |i: &usize| {
            args.block.is_none_or(|b| b == i / heads) && args.head.is_none_or(|h| h == i % heads)
        };
        let chosen = (0..grid.len())
            .filter(wanted)
            .max_by(|a, b| energy(&grid[*a]).total_cmp(&energy(&grid[*b])))
            .unwrap_or(0);
        let (block, head) = (chosen / heads, chosen % heads);
        let lower: Vec<Vec<f32>> = views.iter().filter_map(|v| offsets(v, block, head)).collect();
        let range =
            grid.iter().chain(&lower).flatten().fold(f32::MIN_POSITIVE, |top, v| top.max(v.abs()));
        Ok(Figure { blocks, heads, side, block, head, query, token, grid, lower, range })
    }

    fn draw(&self, views: &[View]) -> Canvas {
        let zoom = if self.grid.len() > LARGE { 1 } else { 2 };
        let (width, height) = (CROP_SIDE + GAP, CROP_SIDE + LABEL + GAP);
        let place = |row: usize, column: usize| {
            // The lowest row stands a little apart.
            let apart = if row == self.blocks { LABEL } else { 0 };
            ((GAP + column * width) * zoom, (GAP + row * height + apart) * zoom)
        };
        let mut panels = Vec::new();
        for (i, map) in self.grid.iter().enumerate() {
            let (block, head) = (i / self.heads, i % self.heads);
            let colour = if (block, head) == (self.block, self.head) { GREEN } else { PLAIN };
            panels.push((
                place(block, head),
                &views[0],
                map,
                format!("block {block} head {head}"),
                colour,
            ));
        }
        for (i, (view, map)) in views.iter().zip(&self.lower).enumerate() {
            panels.push((place(self.blocks, i), view, map, VIEWS[i].0.to_owned(), GREEN));
        }
        let columns = self.heads.max(views.len());
        let size = [GAP + columns * width, GAP + (self.blocks + 1) * height + LABEL]
            .map(|v| (v * zoom) as u32);
        let mut image = RgbImage::from_pixel(size[0], size[1], Rgb([255, 255, 255]));
        for ((left, top), view, map, ..) in &panels {
            self.panel(&mut image, (*left, top + LABEL * zoom), zoom, view, map);
        }
        let mut canvas = Canvas::with_line(image, zoom);
        let token = (CROP_SIDE * zoom) as f32 / self.side as f32;
        for ((left, top), view, _, label, colour) in panels {
            let (x, y) = (left as f32, (top + LABEL * zoom) as f32);
            let (row, column) = ((self.token / self.side) as f32, (self.token % self.side) as f32);
            canvas.rect(
                &Rect::new(x + column * token, y + row * token, token, token),
                Rgb([0, 0, 0]),
            );
            let to = |v: f32, origin: f32| (v + 0.5) * zoom as f32 + origin;
            canvas.points(&view.points.map(|p| Point::new(to(p.x, x), to(p.y, y))));
            canvas.label(left as f32, top as f32, &label, colour);
        }
        canvas
    }

    /// The face in grey under its offsets: red where the query is drawn to, blue where it is pushed away.
    fn panel(
        &self,
        image: &mut RgbImage,
        (left, top): (usize, usize),
        zoom: usize,
        view: &View,
        map: &[f32],
    ) {
        for y in 0..CROP_SIDE * zoom {
            for x in 0..CROP_SIDE * zoom {
                let token = |v: usize| v * self.side / (CROP_SIDE * zoom);
                let value = map[token(y) * self.side + token(x)] / self.range;
                let luma = f32::from(view.crop.luma(x / zoom, y / zoom));
                let strength = value.abs().sqrt() * 0.85;
                let tint = if value > 0.0 { [225.0, 30.0, 40.0] } else { [25.0, 75.0, 220.0] };
                let mix = tint.map(|c: f32| (luma * (1.0 - strength) + c * strength) as u8);
                image.put_pixel((left + x) as u32, (top + y) as u32, Rgb(mix));
            }
        }
    }
}

fn centred(mut map: Vec<f32>) -> Vec<f32> {
    let mean = map.iter().sum::<f32>() / map.len() as f32;
    map.iter_mut().for_each(|v| *v -= mean);
    map
}

fn energy(map: &[f32]) -> f32 {
    map.iter().map(|v| v * v).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks of one head over a grey face; the second block's map points at one token.
    #[test]
    fn the_figure_shows_where_the_query_is_drawn() {
        let pixels = vec![128u8; CROP_SIDE * CROP_SIDE * 3];
        let frame = Frame::rgb8(&pixels, CROP_SIDE, CROP_SIDE).unwrap();
        let points = keyface::geometry::TEMPLATE_112;
        let views: Vec<View> =
            VIEWS.iter().map(|(_, d, s)| View::new(&frame, &points, *d, *s).unwrap()).collect();
        let mut pointed = vec![0.0; 49];
        pointed[48] = 1.0;
        let figure = Figure {
            blocks: 2,
            heads: 1,
            side: 7,
            block: 1,
            head: 0,
            query: points[2],
            token: 31,
            grid: vec![vec![0.0; 49], pointed.clone()],
            lower: vec![pointed; VIEWS.len()],
            range: 1.0,
        };
        let image = figure.draw(&views).into_image();
        let at = |row: usize, x: usize, y: usize| {
            let top = GAP + row * (CROP_SIDE + LABEL + GAP) + LABEL;
            *image.get_pixel((2 * (GAP + x)) as u32, (2 * (top + y)) as u32)
        };
        assert_eq!(at(0, 100, 100), Rgb([128, 128, 128]), "no offset, plain grey");
        let red = at(1, 100, 100);
        assert!(red[0] > 190 && red[2] < 70, "the last token of block 1 is red: {red:?}");
        assert_eq!(at(1, 20, 100), Rgb([128, 128, 128]));
    }

    #[test]
    fn a_turned_view_turns_its_points() {
        let pixels = vec![0u8; CROP_SIDE * CROP_SIDE * 3];
        let frame = Frame::rgb8(&pixels, CROP_SIDE, CROP_SIDE).unwrap();
        let points = keyface::geometry::TEMPLATE_112;
        let straight = View::new(&frame, &points, 0.0, 1.0).unwrap().points;
        let small = View::new(&frame, &points, 0.0, 0.5).unwrap().points;
        let turned = View::new(&frame, &points, 90.0, 1.0).unwrap().points;
        let eyes = |p: &Points5| (p[1].x - p[0].x, p[1].y - p[0].y);
        assert!((eyes(&small).0 * 2.0 - eyes(&straight).0).abs() < 1e-3);
        assert!((eyes(&turned).1 - eyes(&straight).0).abs() < 1e-3, "clockwise on the screen");
    }
}
