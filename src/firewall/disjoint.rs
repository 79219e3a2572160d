//! Ranges of several fields made disjoint: nft refuses an element of an interval set that overlaps another one.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::ruleset::{Element, Field, Key};
use crate::config::{InterfaceName, PortRange};

/// First and last value of each field, both included.
type Product = Vec<(u128, u128)>;

/// The same packets as `elements` match, as disjoint elements. Where two overlap, the earlier one keeps the whole and counts.
/// All keys have the same field types, and no host or name is left in them.
pub fn disjoint(elements: Vec<Element>) -> Vec<Element> {
    let mut interfaces = Interfaces::default();
    let products: Vec<Product> = elements.iter().map(|element| interfaces.product(&element.key)).collect();
    let earlier = overlapping(&products);
    let mut result = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let Some(earlier) = earlier.get(&index) else {
            result.push(element);
            continue;
        };
        let mut pieces = vec![products[index].clone()];
        for other in earlier {
            pieces = pieces.iter().flat_map(|piece| subtract(piece, &products[*other])).collect();
        }
        result.extend(pieces.iter().map(|piece| Element { key: key(&element.key, piece), ..element.clone() }));
    }
    result
}

/// For each product, the earlier ones that it shares a point with; products without any are left out.
fn overlapping(products: &[Product]) -> HashMap<usize, Vec<usize>> {
    let fields = products.first().map_or(0, Vec::len);
    // Sweeping along the field with most distinct values keeps the number of pairs small.
    let distinct = |field: usize| products.iter().map(|product| product[field]).collect::<HashSet<_>>().len();
    let Some(sweep) = (0..fields).max_by_key(|field| distinct(*field)) else { return HashMap::new() };
    let mut order: Vec<usize> = (0..products.len()).collect();
    order.sort_by_key(|index| (products[*index][sweep].0, *index));
    let mut found: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut active: Vec<usize> = Vec::new();
    for index in order {
        let start = products[index][sweep].0;
        active.retain(|other| products[*other][sweep].1 >= start);
        for other in &active {
            if products[*other].iter().zip(&products[index]).all(|(a, b)| a.0 <= b.1 && b.0 <= a.1) {
                found.entry(index.max(*other)).or_default().push(index.min(*other));
            }
        }
        active.push(index);
    }
    found
}

/// The points of `from` that are not in `taken`, as disjoint products.
fn subtract(from: &Product, taken: &Product) -> Vec<Product> {
    if from.iter().zip(taken).any(|(a, b)| a.1 < b.0 || b.1 < a.0) {
        return vec![from.clone()];
    }
    let mut pieces = Vec::new();
    let mut rest = from.clone();
    for field in 0..rest.len() {
        let ((first, last), (low, high)) = (rest[field], taken[field]);
        if first < low {
            let mut piece = rest.clone();
            piece[field] = (first, low - 1);
            pieces.push(piece);
        }
        if high < last {
            let mut piece = rest.clone();
            piece[field] = (high + 1, last);
            pieces.push(piece);
        }
        rest[field] = (first.max(low), last.min(high));
    }
    pieces
}

/// Numbers for interface names, far enough apart that no two are neighbours.
#[derive(Default)]
struct Interfaces(HashMap<InterfaceName, u128>);

impl Interfaces {
    fn product(&mut self, key: &Key) -> Product {
        key.iter()
            .map(|field| match field {
                Field::Interface(name) => {
                    let number = self.0.len() as u128 * 2;
                    let number = *self.0.entry(name.clone()).or_insert(number);
                    (number, number)
                }
                Field::Ipv4(first, last) => (u32::from(*first).into(), u32::from(*last).into()),
                Field::Ipv6(first, last) => (u128::from(*first), u128::from(*last)),
                Field::Protocol(protocol) => (u128::from(*protocol), u128::from(*protocol)),
                Field::Ports(range) => (range.first.into(), range.last.into()),
                Field::Host(index) | Field::Name(index) => unreachable!("host or name {index} has no address yet"),
            })
            .collect()
    }
}

/// The key of a piece: the values of `piece` in fields of the same types as `key`. Fields that are single values never split.
fn key(key: &Key, piece: &Product) -> Key {
    let fields = key.iter().zip(piece).map(|(field, (first, last))| match field {
        Field::Ipv4(..) => Field::Ipv4(Ipv4Addr::from(*first as u32), Ipv4Addr::from(*last as u32)),
        Field::Ipv6(..) => Field::Ipv6(Ipv6Addr::from(*first), Ipv6Addr::from(*last)),
        Field::Ports(_) => Field::Ports(PortRange { first: *first as u16, last: *last as u16 }),
        single => single.clone(),
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::ruleset::Data;
    use proptest::prelude::*;

    fn element(address: (u32, u32), port: (u16, u16), comment: &str) -> Element {
        let (first, last) = (Ipv4Addr::from(address.0), Ipv4Addr::from(address.1));
        let key = [Field::Ipv4(first, last), Field::Ports(PortRange { first: port.0, last: port.1 })];
        Element { key: key.into(), data: Data::None, comment: comment.into(), tally: None }
    }

    fn matching<'a>(elements: &'a [Element], address: u32, port: u16) -> Vec<&'a Element> {
        let inside = |element: &&'a Element| match &element.key[..] {
            [Field::Ipv4(first, last), Field::Ports(range)] => {
                (u32::from(*first)..=u32::from(*last)).contains(&address) && (range.first..=range.last).contains(&port)
            }
            _ => unreachable!(),
        };
        elements.iter().filter(inside).collect()
    }

    #[test]
    fn the_earlier_one_keeps_the_whole() {
        let result =
            disjoint(vec![element((1, 9), (5, 6), "a"), element((3, 4), (0, 9), "b"), element((1, 9), (5, 6), "c")]);
        assert_eq!(matching(&result, 3, 5)[0].comment, "a".into());
        assert_eq!(result.iter().filter(|element| &*element.comment == "c").count(), 0);
        assert_eq!(result.iter().filter(|element| &*element.comment == "b").count(), 2);
    }

    proptest! {
        #[test]
        fn same_points_and_no_overlap(boxes in prop::collection::vec((0u32..8, 0u32..8, 0u16..8, 0u16..8), 0..9)) {
            let elements: Vec<Element> = boxes
                .into_iter()
                .map(|(a, b, p, q)| element((a.min(b), a.max(b)), (p.min(q), p.max(q)), "x"))
                .collect();
            let result = disjoint(elements.clone());
            for address in 0..8 {
                for port in 0..8 {
                    let expected = usize::from(!matching(&elements, address, port).is_empty());
                    prop_assert_eq!(matching(&result, address, port).len(), expected);
                }
            }
        }
    }
}
