//! Writes every plot and page of the made-up reports, for a person to look at. It checks nothing.

use std::path::Path;

use corduroy_bench::{
    report::{html::html, plot::plots},
    results::Report,
};

use crate::fixture;

/// Where the pictures go.
const PLACE: &str = "CORDUROY_BENCH_PICTURES";

#[test]
#[ignore = "writes pictures for a person to look at, where CORDUROY_BENCH_PICTURES says"]
fn pictures() {
    let place = std::env::var(PLACE).expect("CORDUROY_BENCH_PICTURES names a directory");
    let place = Path::new(&place);
    let slo = "p99<2ms".parse().unwrap();
    let write = |name: &str, report: &Report, slo| {
        for plot in plots(report, slo).unwrap() {
            let file = place.join(format!("{name}-{}.svg", plot.name));
            std::fs::write(file, plot.file()).unwrap();
        }
        let page = html(report, slo).unwrap();
        std::fs::write(place.join(format!("{name}.html")), page).unwrap();
    };
    write("single", &fixture::single(), None);
    write("closed", &fixture::closed(), None);
    write("untrusted", &fixture::untrusted(), None);
    write("repeated", &fixture::repeated(5, 180.0, 10), None);
    write("sweep", &fixture::sweep(), Some(&slo));
}
