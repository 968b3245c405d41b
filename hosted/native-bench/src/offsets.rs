//! Where to read next.

/// Offsets one after another, from 0 again past the end.
#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    next: u64,
    step: u64,
    span: u64,
}

impl Cycle {
    pub(crate) fn new(step: u64, span: u64) -> Self {
        Self { next: 0, step, span }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let offset = self.next;
        self.next = if offset + self.step >= self.span { 0 } else { offset + self.step };
        offset
    }
}

/// Multiples of `unit` below `span` that look random, the same in each run (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    unit: u64,
    count: u64,
}

impl Random {
    pub(crate) fn new(unit: u64, span: u64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, unit, count: span / unit }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        // Of 32 bits, so that the product fits.
        ((number * self.count) >> 32) * self.unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_begin_anew() {
        let mut cycle = Cycle::new(4, 10);
        assert_eq!([0; 4].map(|_| cycle.next()), [0, 4, 8, 0]);
    }

    #[test]
    fn random_offsets_are_inside() {
        let mut random = Random::new(64, 64 << 20);
        let offsets: Vec<u64> = (0..10_000).map(|_| random.next()).collect();
        assert!(offsets.iter().all(|offset| offset % 64 == 0 && *offset < 64 << 20));
        assert!(offsets.iter().max() > Some(&(63 << 20)) && offsets.iter().min() < Some(&(1 << 20)));
    }
}
