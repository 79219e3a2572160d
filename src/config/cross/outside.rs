//! Names of the outside in rules against the file's own records.

use std::collections::HashMap;

use crate::config::context::Context;
use crate::config::names::OutsideNames;
use crate::config::types::Record;
use crate::config::values::shown;

/// A name that the file itself answers has no addresses outside that anybody here would see.
pub(in crate::config) fn outside_names(context: &mut Context, outside: &OutsideNames, records: &[Record]) {
    if outside.found.is_empty() {
        return;
    }
    let records: HashMap<&str, &Record> = records.iter().map(|record| (record.name.as_str(), record)).collect();
    for (name, span) in &outside.found {
        let name = name.name.as_str();
        let above = std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest));
        let wildcards = above.skip(1).map(|domain| format!("*.{domain}"));
        let own = records.get(name).or_else(|| wildcards.into_iter().find_map(|name| records.get(name.as_str())));
        let Some(record) = own else { continue };
        let message = format!("{} is answered by a record of this file ({})", shown(name), record.place);
        context
            .error("own-record", *span, message)
            .label("no outside name here")
            .help("name the host or address that the record leads to, or take the record out");
    }
}
