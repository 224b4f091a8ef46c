//! Fits a line of `[cycles.functions]` to the measurements.

use std::collections::BTreeMap;

use super::Measured;

/// Returns the line of the function `name`.
pub(super) fn line(name: &str, calls: &[Measured]) -> String {
    // The work that is counted. A column that depends on earlier ones is left out.
    let mut kinds: Vec<&str> = vec!["call"];
    for call in calls {
        for (part, _) in counted(call) {
            if !kinds.contains(&part) {
                kinds.push(part);
            }
        }
    }
    let rows: Vec<(Vec<f64>, f64)> = calls
        .iter()
        .map(|call| {
            let counted: BTreeMap<&str, f64> = counted(call).into_iter().collect();
            let row = kinds.iter().map(|kind| counted.get(kind).copied().unwrap_or(0.0));
            (row.collect(), call.real as f64)
        })
        .collect();
    let fitted = solve(&rows, kinds.len());
    let coefficients: BTreeMap<&str, f64> = kinds.iter().copied().zip(fitted).collect();
    let of = |kind: &str| coefficients.get(kind).copied().unwrap_or(0.0);
    let in_1024 = |kind: &str| (of(kind) * 1024.0).round() as i64;
    let call = of("call").round() as i64;
    let mut text = format!("{name} = {{ call = {call}");
    let mut parts = Vec::new();
    for kind in &kinds {
        match (*kind, in_1024(kind)) {
            ("call", _) | (_, 0) => {}
            ("units", cycles) => text.push_str(&format!(", per-kib = {cycles}")),
            ("slow", cycles) => text.push_str(&format!(", slow-kib = {cycles}")),
            (part, cycles) => parts.push(format!("{part} = {cycles}")),
        }
    }
    if !parts.is_empty() {
        text.push_str(&format!(", per-1024 = {{ {} }}", parts.join(", ")));
    }
    let off = calls.iter().map(|measured| {
        let sum: f64 = counted(measured)
            .iter()
            .map(|(kind, times)| if *kind == "call" { 0.0 } else { in_1024(kind) as f64 * times })
            .sum();
        (call as f64 + (sum / 1024.0).trunc()).max(0.0).round() as u64
    });
    let off = off.zip(calls).map(|(charged, call)| charged.abs_diff(call.real));
    match off.max().unwrap_or(0) {
        0 => text.push_str(" }"),
        within => text.push_str(&format!(", within = {within} }}")),
    }
    text
}

/// Returns the work of a call, including the call itself.
fn counted(call: &Measured) -> Vec<(&'static str, f64)> {
    let units = if call.work.slow { "slow" } else { "units" };
    let mut counted = vec![("call", 1.0)];
    if call.work.units > 0 {
        counted.push((units, call.work.units as f64));
    }
    counted.extend(call.work.parts().map(|(part, times)| (part, times as f64)));
    counted
}

/// Returns the coefficients with the least squares of the relative errors.
fn solve(rows: &[(Vec<f64>, f64)], count: usize) -> Vec<f64> {
    let mut normal = vec![vec![0.0; count + 1]; count];
    for (row, real) in rows {
        let weight = (real + 100.0).powi(-2);
        for (i, equation) in normal.iter_mut().enumerate() {
            for (j, sum) in equation.iter_mut().enumerate() {
                *sum += weight * row[i] * if j == count { *real } else { row[j] };
            }
        }
    }
    let scale: Vec<f64> = (0..count).map(|i| normal[i][i]).collect();
    let mut left_out = vec![false; count];
    for i in 0..count {
        if normal[i][i] <= scale[i] * 1e-9 {
            left_out[i] = true;
            continue;
        }
        let pivot = normal[i].clone();
        for (_, equation) in normal.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            let factor = equation[i] / pivot[i];
            for (entry, from) in equation.iter_mut().zip(&pivot) {
                *entry -= factor * from;
            }
        }
    }
    (0..count).map(|i| if left_out[i] { 0.0 } else { normal[i][count] / normal[i][i] }).collect()
}
