//! The HTML page and the SVG files.

use corduroy_bench::{
    report::{html::html, plot::plots},
    results::{Report, Slice},
};

use crate::fixture;

// A server chooses what its version and its errors say.
#[test]
fn nothing_of_a_report_is_markup() {
    const EVIL: &str = "\"><script>alert(1)</script><b onclick='x()'>&";
    let mut report = fixture::repeated(2, 180.0, 1);
    report.settings.insert(EVIL.to_owned(), EVIL.to_owned());
    report.server.version = EVIL.to_owned();
    report.server.durability = EVIL.to_owned();
    report.machine.cpu = EVIL.to_owned();
    report.command = vec![EVIL.to_owned()];
    for run in &mut report.runs {
        run.label = EVIL.to_owned();
        run.errors.insert(EVIL.to_owned(), 1);
        run.generator.warnings = vec![EVIL.to_owned()];
    }
    report.runs[1].connections += 1;
    let page = html(&report, None).unwrap();
    assert_eq!(page.matches("<script>").count(), 1, "the page's own");
    assert!(!page.contains("<b "));
    assert!(page.contains("&lt;script&gt;") || page.contains("&#60;script&#62;"));
    for plot in plots(&report, None).unwrap() {
        assert!(!plot.file().contains("<script"), "{}", plot.name);
    }
}

#[test]
fn the_page_asks_no_network() {
    let page = html(&fixture::sweep(), Some(&"p99<2ms".parse().unwrap())).unwrap();
    for word in ["src=", "href=", "url(", "@import", "fetch("] {
        assert!(!page.contains(word), "{word}");
    }
    let addresses: Vec<&str> = page.split("http").skip(1).collect();
    assert!(
        addresses
            .iter()
            .all(|rest| rest.starts_with("://www.w3.org/2000/svg") || rest.starts_with("-equiv"))
    );
}

#[test]
fn every_report_has_the_plots_that_it_bears() {
    let names = |report: &Report| -> Vec<&'static str> {
        let plots = plots(report, None).unwrap();
        plots.iter().map(|plot| plot.name).collect()
    };
    assert_eq!(
        names(&fixture::single()),
        [
            "latency-percentiles",
            "latency-by-kind",
            "latency-by-heat-and-core",
            "timeline"
        ]
    );
    assert_eq!(
        names(&fixture::sweep()),
        ["latency-by-rate", "latency-percentiles", "timeline"]
    );
    assert!(names(&fixture::report(Vec::new())).is_empty());
}

#[test]
fn a_page_says_what_can_not_be_claimed() {
    let page = html(&fixture::untrusted(), None).unwrap();
    assert!(page.contains("20k of 40k operations a second were sent."));
    assert!(page.contains("No latency is claimed, for the reason at the top."));
    assert!(page.contains("?"));
    let page = html(&fixture::closed(), None).unwrap();
    assert!(page.contains("closed loop: latency not corrected for waiting"));
}

// A server that stands still answers nothing for some slices: no latency is zero then, and no line leaves the plot.
#[test]
fn a_standstill_stays_inside_of_the_plot() {
    let mut report = fixture::single();
    for slice in &mut report.runs[0].timeline.slices[10..13] {
        *slice = Slice::default();
    }
    let plots = plots(&report, None).unwrap();
    let timeline = plots.iter().find(|plot| plot.name == "timeline").unwrap();
    let svg = timeline.file();
    let mut points = 0;
    for line in svg.lines().filter(|line| line.starts_with("<polyline")) {
        let pairs = line.split("points=\"").nth(1).unwrap();
        for pair in pairs.split('"').next().unwrap().split_whitespace() {
            let (x, y) = pair.split_once(',').unwrap();
            assert!((0..860 * 4).contains(&x.parse().unwrap()), "{pair}");
            assert!((0..590 * 4).contains(&y.parse().unwrap()), "{pair}");
            points += 1;
        }
    }
    assert!(points > 30 + 3 * 27);
}
