//! docs/security.md, held to its word: every test that it names is there, and every attack of the shared list is in it.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the table under the heading: the first cell, and the words in backquotes of the second.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let section = page.split("## Attacks and their tests").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let table = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = table.filter_map(|line| line.split_once(" | ")).filter(|(attack, _)| *attack != "attack");
    rows.map(|(attack, tests)| (attack.to_owned(), tests.split('`').skip(1).step_by(2).map(str::to_owned).collect()))
        .collect()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/security.md")).unwrap()
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let rows = rows(&page());
    assert!(rows.len() >= 22, "only {} rows", rows.len());
    let mut missing = Vec::new();
    for (attack, tests) in &rows {
        if tests.is_empty() {
            missing.push(format!("{attack}: no test"));
        }
        for test in tests {
            let (file, function) = test.split_once("::").unwrap_or((test, ""));
            match fs::read_to_string(root().join(file)) {
                Ok(text) if function.is_empty() || text.contains(&format!("fn {function}(")) => {}
                Ok(_) => missing.push(format!("{attack}: no {function} in {file}")),
                Err(_) => missing.push(format!("{attack}: no {file}")),
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_attack_of_the_shared_list_is_in_the_page() {
    let list = root().join("../shared/adversarial.md");
    let Ok(list) = fs::read_to_string(&list) else {
        println!("skipped: there is no {}", list.display());
        return;
    };
    let rows = rows(&page());
    let attacks = list.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let attacks: Vec<&str> = attacks.filter(|attack| *attack != "attack").collect();
    assert!(attacks.len() >= 20, "only {} attacks", attacks.len());
    let missing: Vec<&&str> = attacks.iter().filter(|attack| !rows.iter().any(|(row, _)| row == **attack)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
