//! Lines in a picture (SVG).

use std::fmt::Write;

/// A picture of some lines over one axis.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// What the horizontal axis counts.
    pub(crate) x: &'static str,
    /// The vertical axis' unit.
    pub(crate) y: &'static str,
    pub(crate) series: Vec<Series>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

const SIZE: (f64, f64) = (640.0, 360.0);
/// Left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (60.0, 40.0, 70.0, 50.0);
const COLORS: [&str; 2] = ["#0072b2", "#d55e00"];
const TICKS: usize = 5;

impl Plot {
    /// The picture, on white, so that it can be read on any page.
    pub(crate) fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let right = round_up(all().map(|point| point.0).fold(0.0, f64::max));
        let top = round_up(all().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| MARGIN.0 + value / right * (SIZE.0 - MARGIN.0 - MARGIN.2);
        let y = |value: f64| SIZE.1 - MARGIN.3 - value / top * (SIZE.1 - MARGIN.1 - MARGIN.3);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{w}\" height=\"{h}\" fill=\"white\"/>\n\
             <text x=\"{m}\" y=\"22\" font-size=\"14\">{title}</text>\n",
            w = SIZE.0,
            h = SIZE.1,
            m = MARGIN.0,
            title = self.title,
        );
        for tick in 0..=TICKS {
            let share = tick as f64 / TICKS as f64;
            let (at_x, at_y) = (x(right * share), y(top * share));
            let _ = writeln!(
                svg,
                "<line x1=\"{l}\" y1=\"{at_y:.1}\" x2=\"{r}\" y2=\"{at_y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{tl}\" y=\"{ty:.1}\" text-anchor=\"end\">{vy}</text>\
                 <text x=\"{at_x:.1}\" y=\"{b}\" text-anchor=\"middle\">{vx}</text>",
                l = MARGIN.0,
                r = SIZE.0 - MARGIN.2,
                tl = MARGIN.0 - 6.0,
                ty = at_y + 4.0,
                b = SIZE.1 - MARGIN.3 + 18.0,
                vy = number(top * share),
                vx = number(right * share),
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{mid}\" y=\"{b}\" text-anchor=\"middle\">{x_name}</text><text x=\"10\" y=\"{t}\">{y_name}</text>",
            mid = SIZE.0 / 2.0,
            b = SIZE.1 - 12.0,
            x_name = self.x,
            t = MARGIN.1 - 4.0,
            y_name = self.y,
        );
        for (series, color) in self.series.iter().zip(COLORS) {
            let places: Vec<String> =
                series.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
                places.join(" ")
            );
            for (at, value) in &series.points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{color}\"/>",
                    x(*at),
                    y(*value)
                );
            }
            if let Some((at, value)) = series.points.last() {
                let (at, value) = (x(*at) + 8.0, y(*value) + 4.0);
                let _ = writeln!(
                    svg,
                    "<text x=\"{at:.1}\" y=\"{value:.1}\" fill=\"{color}\">{}</text>",
                    series.name
                );
            }
        }
        svg + "</svg>\n"
    }
}

/// The next number of the form 1, 2, 2.5, 5 or 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(value)
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.1}") }
}
