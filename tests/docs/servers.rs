//! docs/servers.md shows the files of examples/servers as they are, calls that panzer takes, and
//! a row for each that benches/servers tries.

use super::{calls, check, files};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/servers.md");
const ROWS: &str = include_str!("../../benches/servers/rows.py");

/// The blocks of code, without the fences.
fn blocks() -> BTreeSet<&'static str> {
    let parts = PAGE.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| part.split_once('\n').map(|(_, block)| block)).collect()
}

#[test]
fn page_of_servers_shows_each_file_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/servers");
    let files = files(&root);
    let texts: Vec<_> = files
        .iter()
        .filter(|file| !file.to_string_lossy().contains("__pycache__"))
        .map(|file| (file, fs::read_to_string(file).expect("a file can be read")))
        .collect();
    let blocks = blocks();
    for (file, text) in &texts {
        assert!(blocks.contains(text.trim_end()), "docs/servers.md: {}", file.display());
    }
    assert_eq!(blocks.len(), texts.len(), "docs/servers.md shows what is not in examples/servers");
}

#[test]
fn calls_that_the_page_of_servers_shows_are_taken() {
    let prose: String = PAGE.split("\n```").step_by(2).collect();
    let mut count = 0;
    for call in calls(&prose, "panzer").filter(|call| call.contains(&"--")) {
        check(&call);
        count += 1;
    }
    assert!(count > 20, "{count}");
}

/// The table is the output of the bench: it has a row for each call of rows.py, and a figure
/// for each round.
#[test]
fn table_of_servers_has_every_row_of_the_bench() {
    let rows: Vec<_> = PAGE.lines().filter(|line| line.contains(" | `panzer ")).collect();
    let tried = ROWS.matches("yield Row(").count();
    assert_eq!(rows.len(), tried, "rows in docs/servers.md, and calls in benches/servers/rows.py");
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        assert_eq!(cells.len(), 7, "{row}");
        for cell in &cells[2..5] {
            let mut figures = cell.split(" / ").map(|figure| figure.replace(',', ""));
            assert!(figures.all(|figure| figure.parse::<u64>().is_ok()), "{row}");
        }
    }
}
