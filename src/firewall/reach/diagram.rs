//! Exact sets of points with several fields, as interval decision diagrams: a node asks for the value of one field, its edges are ranges of
//! that value, in order and without gaps. Equal nodes are one node, so equal sets have equal numbers, and emptiness is a comparison.
//!
//! `docs/decisions/0007-sets-of-packets.md` says why these and not lists of boxes or bits.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

/// How many fields a point has.
pub const FIELDS: usize = 8;

/// A point: one value for each field.
pub type Point = [u64; FIELDS];

/// Values from first to last, both included.
pub type Range = (u64, u64);

/// A set of points, or of the values of the fields from one level on. It belongs to the [`Diagrams`] that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketSet(u32);

impl PacketSet {
    /// No point.
    pub const EMPTY: PacketSet = PacketSet(0);
    /// Below the last field: whatever came here is in.
    pub(super) const IN: PacketSet = PacketSet(1);

    /// Whether no point is in.
    pub fn is_empty(self) -> bool {
        self == PacketSet::EMPTY
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Edge {
    last: u64,
    to: PacketSet,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Union,
    Intersection,
    Difference,
    Subset,
    Disjoint,
}

/// The nodes of many sets.
pub struct Diagrams {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    unique: HashTable<PacketSet>,
    memo: HashMap<(Operation, PacketSet, PacketSet), PacketSet, FixedState>,
    hasher: FixedState,
}

impl Default for Diagrams {
    fn default() -> Self {
        let leaf = Node { start: 0, len: 0 };
        Diagrams {
            nodes: vec![leaf, leaf],
            edges: Vec::new(),
            unique: HashTable::new(),
            memo: HashMap::default(),
            hasher: FixedState::with_seed(0),
        }
    }
}

impl Diagrams {
    /// Forgets which results are known already: worth the memory once other questions follow.
    pub fn forget_results(&mut self) {
        self.memo = HashMap::default();
    }

    /// Points of either.
    pub fn union(&mut self, one: PacketSet, other: PacketSet) -> PacketSet {
        self.apply(Operation::Union, one, other)
    }

    /// Points of both.
    pub fn intersection(&mut self, one: PacketSet, other: PacketSet) -> PacketSet {
        self.apply(Operation::Intersection, one, other)
    }

    /// Points of `one` that are not in `other`.
    pub fn difference(&mut self, one: PacketSet, other: PacketSet) -> PacketSet {
        self.apply(Operation::Difference, one, other)
    }

    /// Points of any. Halves are joined first, so that the work follows the size of the whole.
    pub fn union_all(&mut self, sets: &[PacketSet]) -> PacketSet {
        match sets {
            [] => PacketSet::EMPTY,
            [one] => *one,
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                let (left, right) = (self.union_all(left), self.union_all(right));
                self.union(left, right)
            }
        }
    }

    /// Points that more than one of `sets` has, and points of any.
    pub fn shared(&mut self, sets: &[PacketSet]) -> (PacketSet, PacketSet) {
        match sets {
            [] => (PacketSet::EMPTY, PacketSet::EMPTY),
            [one] => (PacketSet::EMPTY, *one),
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                let ((twice, once), (twice_too, once_too)) = (self.shared(left), self.shared(right));
                let both = self.intersection(once, once_too);
                let twice = self.union_all(&[twice, twice_too, both]);
                (twice, self.union(once, once_too))
            }
        }
    }

    /// Whether every point of `part` is in `whole`. Builds nothing.
    pub fn is_subset(&mut self, part: PacketSet, whole: PacketSet) -> bool {
        self.apply(Operation::Subset, part, whole) == PacketSet::IN
    }

    /// Whether no point is in both. Builds nothing.
    pub fn is_disjoint(&mut self, one: PacketSet, other: PacketSet) -> bool {
        self.apply(Operation::Disjoint, one, other) == PacketSet::IN
    }

    /// Whether `point` is in.
    pub fn contains(&self, set: PacketSet, point: &Point) -> bool {
        point.iter().fold(set, |set, value| self.child(set, *value)) == PacketSet::IN
    }

    /// The set of the fields below, where this one has `value`.
    fn child(&self, set: PacketSet, value: u64) -> PacketSet {
        let edges = self.edges(set);
        edges.get(edges.partition_point(|edge| edge.last < value)).map_or(PacketSet::EMPTY, |edge| edge.to)
    }

    /// A point of `set`, which must not be empty. Where one of the values that `prefer` names for a field is possible, the first of those
    /// is taken, else the lowest.
    pub fn pick(&self, set: PacketSet, prefer: impl Fn(usize, &Point) -> Vec<u64>) -> Option<Point> {
        let (mut point, mut set) = ([0; FIELDS], set);
        for field in 0..FIELDS {
            let wished = prefer(field, &point).into_iter().find(|value| !self.child(set, *value).is_empty());
            point[field] = match wished {
                Some(value) => value,
                None => self.ranges(set).next()?.0.0,
            };
            set = self.child(set, point[field]);
        }
        (set == PacketSet::IN).then_some(point)
    }

    /// Ranges of the first field of `set`, each with what is in below.
    pub fn ranges(&self, set: PacketSet) -> impl Iterator<Item = (Range, PacketSet)> + '_ {
        let mut first = 0;
        let edges = self.edges(set).iter().map(move |edge| {
            let range = (first, edge.last);
            first = edge.last.wrapping_add(1);
            (range, edge.to)
        });
        edges.filter(|(_, below)| !below.is_empty())
    }

    /// The union of `boxes`: each has a range for every field from one level on, as many as its neighbours, and the set below them.
    pub fn build(&mut self, boxes: &[(&[Range], PacketSet)]) -> PacketSet {
        let Some((ranges, _)) = boxes.first() else { return PacketSet::EMPTY };
        if ranges.is_empty() {
            let leaves: Vec<PacketSet> = boxes.iter().map(|(_, leaf)| *leaf).collect();
            return self.union_all(&leaves);
        }
        let mut starts: Vec<u64> = Vec::with_capacity(2 * boxes.len());
        for (ranges, _) in boxes {
            starts.push(ranges[0].0);
            starts.extend(ranges[0].1.checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        let mut order: Vec<usize> = (0..boxes.len()).collect();
        order.sort_by_key(|index| boxes[*index].0[0].0);
        let (mut waiting, mut active) = (order.into_iter().peekable(), Vec::<usize>::new());
        let mut edges = Vec::with_capacity(starts.len() + 1);
        if let Some(first) = starts.first().and_then(|first| first.checked_sub(1)) {
            edges.push(Edge { last: first, to: PacketSet::EMPTY });
        }
        for (place, start) in starts.iter().enumerate() {
            active.retain(|index| boxes[*index].0[0].1 >= *start);
            while let Some(index) = waiting.next_if(|index| boxes[*index].0[0].0 <= *start) {
                active.push(index);
            }
            let below: Vec<(&[Range], PacketSet)> =
                active.iter().map(|index| (&boxes[*index].0[1..], boxes[*index].1)).collect();
            let last = starts.get(place + 1).map_or(u64::MAX, |next| next - 1);
            let to = self.build(&below);
            push(&mut edges, Edge { last, to });
        }
        self.node(&edges)
    }

    fn edges(&self, set: PacketSet) -> &[Edge] {
        let Node { start, len } = self.nodes[set.0 as usize];
        &self.edges[start as usize..(start + len) as usize]
    }

    /// The one node with these edges.
    fn node(&mut self, edges: &[Edge]) -> PacketSet {
        if edges.iter().all(|edge| edge.to.is_empty()) {
            return PacketSet::EMPTY;
        }
        let hash = self.hasher.hash_one(edges);
        let (nodes, arena) = (&self.nodes, &self.edges);
        let of = |set: &PacketSet| {
            let Node { start, len } = nodes[set.0 as usize];
            &arena[start as usize..(start + len) as usize]
        };
        if let Some(found) = self.unique.find(hash, |set| of(set) == edges) {
            return *found;
        }
        let (start, set) = (self.edges.len() as u32, PacketSet(self.nodes.len() as u32));
        self.edges.extend_from_slice(edges);
        self.nodes.push(Node { start, len: edges.len() as u32 });
        let (nodes, arena, hasher) = (&self.nodes, &self.edges, &self.hasher);
        self.unique.insert_unique(hash, set, |set| {
            let Node { start, len } = nodes[set.0 as usize];
            hasher.hash_one(&arena[start as usize..(start + len) as usize])
        });
        set
    }

    fn apply(&mut self, operation: Operation, one: PacketSet, other: PacketSet) -> PacketSet {
        use Operation::{Difference, Disjoint, Intersection, Subset, Union};
        match operation {
            Union if one.is_empty() || one == other => return other,
            Union if other.is_empty() => return one,
            Intersection if one.is_empty() || other.is_empty() => return PacketSet::EMPTY,
            Intersection if one == other => return one,
            Difference if one.is_empty() || one == other => return PacketSet::EMPTY,
            Difference if other.is_empty() => return one,
            Subset if one.is_empty() || one == other => return PacketSet::IN,
            Subset if other.is_empty() => return PacketSet::EMPTY,
            Disjoint if one.is_empty() || other.is_empty() => return PacketSet::IN,
            Disjoint if one == other => return PacketSet::EMPTY,
            _ => {}
        }
        let commutes = matches!(operation, Union | Intersection | Disjoint);
        let key = if commutes && other.0 < one.0 { (operation, other, one) } else { (operation, one, other) };
        if let Some(known) = self.memo.get(&key) {
            return *known;
        }
        let result = match operation {
            Subset | Disjoint => self.judge(operation, one, other),
            _ => self.combine(operation, one, other),
        };
        self.memo.insert(key, result);
        result
    }

    /// Combines two nodes, edge by edge. Where a stretch of one decides alone, the edges of the other below it are skipped.
    fn combine(&mut self, operation: Operation, one: PacketSet, other: PacketSet) -> PacketSet {
        let mut walk = Walk::new(self, one, other);
        let mut edges = Vec::new();
        while let Some((a, b)) = walk.heads(self) {
            let lone = match operation {
                Operation::Intersection if a.to.is_empty() => Some(a.last),
                Operation::Intersection if b.to.is_empty() => Some(b.last),
                Operation::Difference if a.to.is_empty() => Some(a.last),
                _ => None,
            };
            let last = lone.unwrap_or(a.last.min(b.last));
            let to = if lone.is_some() { PacketSet::EMPTY } else { self.apply(operation, a.to, b.to) };
            push(&mut edges, Edge { last, to });
            walk.pass(self, last);
        }
        self.node(&edges)
    }

    /// Asks a question of two nodes, edge by edge, until one says no.
    fn judge(&mut self, operation: Operation, one: PacketSet, other: PacketSet) -> PacketSet {
        let mut walk = Walk::new(self, one, other);
        while let Some((a, b)) = walk.heads(self) {
            let last = match operation {
                _ if a.to.is_empty() => a.last,
                Operation::Disjoint if b.to.is_empty() => b.last,
                _ if self.apply(operation, a.to, b.to) == PacketSet::EMPTY => return PacketSet::EMPTY,
                _ => a.last.min(b.last),
            };
            walk.pass(self, last);
        }
        PacketSet::IN
    }
}

/// Adds an edge, and lets it melt with the one before where both lead to the same.
fn push(edges: &mut Vec<Edge>, edge: Edge) {
    match edges.last_mut() {
        Some(before) if before.to == edge.to => before.last = edge.last,
        _ => edges.push(edge),
    }
}

/// Two nodes walked through side by side.
struct Walk {
    one: std::ops::Range<u32>,
    other: std::ops::Range<u32>,
}

impl Walk {
    fn new(diagrams: &Diagrams, one: PacketSet, other: PacketSet) -> Self {
        let range = |set: PacketSet| {
            let Node { start, len } = diagrams.nodes[set.0 as usize];
            start..start + len
        };
        Walk { one: range(one), other: range(other) }
    }

    /// The edges at the place where both are.
    fn heads(&self, diagrams: &Diagrams) -> Option<(Edge, Edge)> {
        let (one, other) = (self.one.clone().next()?, self.other.clone().next()?);
        Some((diagrams.edges[one as usize], diagrams.edges[other as usize]))
    }

    /// Goes on behind `last`.
    fn pass(&mut self, diagrams: &Diagrams, last: u64) {
        for range in [&mut self.one, &mut self.other] {
            let edges = &diagrams.edges[range.start as usize..range.end as usize];
            let passed = match edges.first() {
                // Mostly it is the first one that ends here.
                Some(edge) if edge.last > last => 0,
                Some(edge) if edge.last == last => 1,
                _ => edges.partition_point(|edge| edge.last <= last),
            };
            range.start += passed as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A small universe: two fields that count from 0 to 5, the others fixed.
    const SIDE: u64 = 6;

    fn build(diagrams: &mut Diagrams, boxes: &[(u64, u64, u64, u64)]) -> PacketSet {
        let boxes: Vec<[Range; FIELDS]> = boxes
            .iter()
            .map(|(a, b, c, d)| {
                let mut ranges = [(7, 7); FIELDS];
                ranges[1] = (*a.min(b), *a.max(b));
                ranges[FIELDS - 1] = (*c.min(d), *c.max(d));
                ranges
            })
            .collect();
        let boxes: Vec<(&[Range], PacketSet)> = boxes.iter().map(|ranges| (&ranges[..], PacketSet::IN)).collect();
        diagrams.build(&boxes)
    }

    fn points() -> impl Iterator<Item = (u64, u64, Point)> {
        (0..SIDE).flat_map(|a| {
            (0..SIDE).map(move |b| {
                let mut point = [7; FIELDS];
                (point[1], point[FIELDS - 1]) = (a, b);
                (a, b, point)
            })
        })
    }

    fn inside(boxes: &[(u64, u64, u64, u64)], x: u64, y: u64) -> bool {
        boxes.iter().any(|(a, b, c, d)| (*a.min(b)..=*a.max(b)).contains(&x) && (*c.min(d)..=*c.max(d)).contains(&y))
    }

    fn boxes() -> impl Strategy<Value = Vec<(u64, u64, u64, u64)>> {
        prop::collection::vec((0..SIDE, 0..SIDE, 0..SIDE, 0..SIDE), 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_algebra_is_that_of_sets(a in boxes(), b in boxes(), c in boxes()) {
            let mut all = Diagrams::default();
            let (sa, sb, sc) = (build(&mut all, &a), build(&mut all, &b), build(&mut all, &c));
            let (union, both, only) = (all.union(sa, sb), all.intersection(sa, sb), all.difference(sa, sb));
            for (x, y, point) in points() {
                let (ina, inb) = (inside(&a, x, y), inside(&b, x, y));
                prop_assert_eq!(all.contains(sa, &point), ina);
                prop_assert_eq!(all.contains(union, &point), ina || inb);
                prop_assert_eq!(all.contains(both, &point), ina && inb);
                prop_assert_eq!(all.contains(only, &point), ina && !inb);
            }
            // Equal sets are one node: these hold by number.
            prop_assert_eq!(all.union(only, both), sa);
            prop_assert_eq!(all.intersection(only, sb), PacketSet::EMPTY);
            prop_assert_eq!(all.union(sb, sa), union);
            let (bc, ab) = (all.union(sb, sc), all.union(sa, sb));
            prop_assert_eq!(all.union(sa, bc), all.union(ab, sc));
            let (left, ac) = (all.intersection(sa, bc), all.intersection(sa, sc));
            prop_assert_eq!(left, all.union(both, ac));
            let rest = all.difference(sa, bc);
            prop_assert_eq!(rest, all.difference(only, sc));
        }

        #[test]
        fn questions_agree_with_brute_force(a in boxes(), b in boxes(), c in boxes()) {
            let mut all = Diagrams::default();
            let (sa, sb, sc) = (build(&mut all, &a), build(&mut all, &b), build(&mut all, &c));
            let every = |holds: &dyn Fn(u64, u64) -> bool| points().all(|(x, y, _)| holds(x, y));
            prop_assert_eq!(sa.is_empty(), every(&|x, y| !inside(&a, x, y)));
            prop_assert_eq!(all.is_subset(sa, sb), every(&|x, y| !inside(&a, x, y) || inside(&b, x, y)));
            prop_assert_eq!(all.is_disjoint(sa, sb), every(&|x, y| !inside(&a, x, y) || !inside(&b, x, y)));
            let (twice, once) = all.shared(&[sa, sb, sc]);
            for (x, y, point) in points() {
                let count = [&a, &b, &c].into_iter().filter(|boxes| inside(boxes, x, y)).count();
                prop_assert_eq!(all.contains(twice, &point), count > 1);
                prop_assert_eq!(all.contains(once, &point), count > 0);
            }
            let difference = all.difference(sa, sb);
            match all.pick(difference, |_, _| vec![3]) {
                Some(point) => prop_assert!(inside(&a, point[1], point[7]) && !inside(&b, point[1], point[7])),
                None => prop_assert!(difference.is_empty()),
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_of_values_are_values_too() {
        let mut all = Diagrams::default();
        let whole = [(0, u64::MAX); FIELDS];
        let set = all.build(&[(&whole, PacketSet::IN)]);
        assert!(all.contains(set, &[0; FIELDS]) && all.contains(set, &[u64::MAX; FIELDS]));
        let mut upper = whole;
        upper[3] = (u64::MAX, u64::MAX);
        let upper = all.build(&[(&upper, PacketSet::IN)]);
        let rest = all.difference(set, upper);
        assert!(!all.contains(rest, &[u64::MAX; FIELDS]) && all.contains(rest, &[u64::MAX - 1; FIELDS]));
        assert_eq!(all.union(rest, upper), set);
        assert_eq!(all.pick(upper, |_, _| Vec::new()).map(|point| point[3]), Some(u64::MAX));
    }
}
