//! The name that a misspelt one was probably meant to be.

/// The candidate that `name` is probably a misspelling of.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    nearest_above(0.6, name, candidates)
}

/// The candidate that is most like `name`, if it is so by `least` of 1.
pub(crate) fn nearest_above<'a>(
    least: f64,
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // A distance over a hostile name would cost its length times the table's.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    candidates
        .map(|candidate| {
            let other = candidate.to_lowercase().replace('-', "_");
            (
                strsim::normalized_damerau_levenshtein(&name, &other),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= least)
        // The first of equals, in the order of the table.
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, candidate)| candidate)
}
