// SPDX-License-Identifier: Apache-2.0
//! Bars stay readable: an outlier is cut and marked, remarks do not run into the next row.

use reports::charts::panels::{Bar, Mark, Panel, PanelChart, RowLabel};

fn bar(value: f64) -> Vec<Mark> {
    vec![Mark::Bar(Bar { value, interval: Some((value * 0.9, value * 1.1)), text: value.to_string() })]
}

fn chart(values: &[f64], note: Option<&str>) -> PanelChart {
    let label = |value: &f64| RowLabel {
        name: format!("row {value}"),
        note: note.map(str::to_owned),
        hatched: false,
    };
    PanelChart {
        title: "bars".to_owned(),
        rows: values.iter().map(label).collect(),
        panels: vec![Panel {
            title: "panel".to_owned(),
            axis: "µs".to_owned(),
            numbers: "median".to_owned(),
            marks: values.iter().map(|v| bar(*v)).collect(),
        }],
        origin: 0.0,
        reference: None,
        series: Vec::new(),
        numbers: 138.0,
    }
}

/// The y of the text elements that say `text`.
fn y_of(svg: &str, text: &str) -> f64 {
    let at = svg.find(&format!("\n{text}\n")).unwrap();
    let element = &svg[svg[..at].rfind("<text").unwrap()..at];
    let y = &element[element.find(" y=\"").unwrap() + 4..];
    y[..y.find('"').unwrap()].parse().unwrap()
}

#[test]
fn a_bar_far_longer_than_the_others_is_cut_and_the_axis_says_so() {
    let svg = chart(&[60.0, 70.0, 80.0, 100.0, 500.0], None).draw().unwrap();
    assert!(svg.contains("µs; a cut bar goes on beyond the axis"));
    assert!(svg.contains("\n100\n") && !svg.contains("\n400\n"), "the axis ends near the usual bars");
    assert!(svg.contains("\n500\n"), "its number is told");
}

#[test]
fn bars_of_one_size_are_shown_whole() {
    for values in [&[60.0, 70.0, 80.0, 150.0][..], &[10.0, 80.0, 90.0, 100.0], &[5.0], &[]] {
        assert!(!chart(values, None).draw().unwrap().contains("cut bar"), "{values:?}");
    }
}

#[test]
fn rows_with_a_remark_under_their_name_are_two_lines_high() {
    // The drawing has four units to a CSS pixel; two lines of 12 pixels and 10.5 need at least 26 pixels.
    let svg = chart(&[60.0, 70.0], Some("not measured: needs another subject")).draw().unwrap();
    let step = (y_of(&svg, "row 70") - y_of(&svg, "row 60")) / 4.0;
    assert!(step >= 26.0, "{step}");
}
