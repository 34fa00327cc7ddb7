//! A frame of any format as a picture, for people who set up a camera.

use crate::report::{write_file, Exit, Failure};
use image::{ImageFormat, RgbImage};
use keyface::frame::Frame;
use keyface_boards::picture::Picture;
use std::fs::{File, OpenOptions};
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The longest side of a preview in pixels.
const LONGEST: usize = 640;

/// The upright frame, at most 640 pixels on its long side.
pub fn upright(frame: &Frame<'_>) -> RgbImage {
    Picture::of(frame, LONGEST).upright()
}

/// Writes a picture as JPEG or PNG, by the name's ending; a reader never sees half of it.
pub fn save(picture: &RgbImage, path: &Path) -> Result<(), Failure> {
    let png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    let format = if png { ImageFormat::Png } else { ImageFormat::Jpeg };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).map_err(|e| {
        Failure::new(Exit::Internal, format!("{}: cannot encode: {e}", path.display()))
    })?;
    write_file(path, bytes.get_ref())
}

/// Where a preview is shown.
pub enum Screen {
    /// A file, written anew each time.
    File(PathBuf),
    /// The kernel's framebuffer.
    Framebuffer {
        /// `/dev/fb0`.
        device: File,
        /// Visible pixels.
        size: (usize, usize),
        /// Bytes of a row.
        stride: usize,
        /// 2 for RGB 565, 4 for blue, green, red and a spare byte.
        depth: usize,
    },
}

impl Screen {
    /// A file, or for `fb` the first framebuffer.
    pub fn open(target: &Path) -> Result<Screen, Failure> {
        if target != Path::new("fb") {
            return Ok(Screen::File(target.to_owned()));
        }
        let failed = |what: &str| Failure::new(Exit::Input, format!("framebuffer fb0: {what}"));
        let read = |name: &str| {
            let path = Path::new("/sys/class/graphics/fb0").join(name);
            let text = std::fs::read_to_string(path).map_err(|e| failed(&e.to_string()))?;
            Ok::<_, Failure>(text.trim().to_owned())
        };
        let number = |text: &str| text.parse::<usize>().map_err(|_| failed("strange description"));
        let size = read("virtual_size")?;
        let (w, h) = size.split_once(',').ok_or_else(|| failed("strange description"))?;
        let depth = number(&read("bits_per_pixel")?)? / 8;
        if !matches!(depth, 2 | 4) {
            return Err(failed("only 16 and 32 bits a pixel are supported"));
        }
        let device = OpenOptions::new().write(true).open("/dev/fb0");
        Ok(Screen::Framebuffer {
            device: device.map_err(|e| failed(&e.to_string()))?,
            size: (number(w)?, number(h)?),
            stride: number(&read("stride")?)?,
            depth,
        })
    }

    /// Shows a picture; on a screen in the upper left corner, cut where it does not fit.
    pub fn show(&mut self, picture: &RgbImage) -> Result<(), Failure> {
        let (device, size, stride, depth) = match self {
            Screen::File(path) => return save(picture, path),
            Screen::Framebuffer { device, size, stride, depth } => (device, *size, *stride, *depth),
        };
        for (y, row) in picture.rows().enumerate().take(size.1) {
            let pixels = row.take(size.0);
            let bytes: Vec<u8> = pixels.flat_map(|p| screen_pixel(p.0, depth)).collect();
            device
                .write_all_at(&bytes, (y * stride) as u64)
                .map_err(|e| Failure::new(Exit::Internal, format!("framebuffer fb0: {e}")))?;
        }
        Ok(())
    }
}

fn screen_pixel([r, g, b]: [u8; 3], depth: usize) -> Vec<u8> {
    match depth {
        2 => {
            let (r, g, b) = (u16::from(r) >> 3, u16::from(g) >> 2, u16::from(b) >> 3);
            (r << 11 | g << 5 | b).to_le_bytes().to_vec()
        }
        _ => vec![b, g, r, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens_show_red_as_red() {
        assert_eq!(screen_pixel([255, 0, 0], 2), [0x00, 0xF8]);
        assert_eq!(screen_pixel([255, 128, 1], 4), [1, 128, 255, 0]);
        let dir = tempfile::tempdir().unwrap();
        let device = File::create(dir.path().join("fb")).unwrap();
        let mut screen = Screen::Framebuffer { device, size: (3, 2), stride: 20, depth: 4 };
        screen.show(&RgbImage::from_pixel(8, 8, image::Rgb([9, 8, 7]))).unwrap();
        let bytes = std::fs::read(dir.path().join("fb")).unwrap();
        assert_eq!(bytes.len(), 20 + 12, "two rows, cut to three pixels");
        assert_eq!(
            (&bytes[..4], &bytes[12..20], &bytes[20..24]),
            (&[7, 8, 9, 0][..], &[0; 8][..], &[7, 8, 9, 0][..])
        );
    }

    #[test]
    fn pictures_are_written_in_the_named_format() {
        let dir = tempfile::tempdir().unwrap();
        for (name, magic) in [("a.png", &b"\x89PNG"[..]), ("a.jpg", b"\xFF\xD8\xFF")] {
            let path = dir.path().join(name);
            save(&RgbImage::new(8, 8), &path).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(magic));
        }
        assert!(save(&RgbImage::new(8, 8), &dir.path().join("no/a.png")).is_err());
    }
}
