//! Whether it pays to stay awake for what is about to come.

/// Misses in a row after which it is not tried more often than once in so many chances.
const MOST: u32 = 256;

/// Learns from what staying awake came to. On a machine with more work than cores it keeps the one that is waited for
/// from its core: what fails is then tried ever more rarely, and what works more often again.
#[derive(Debug, Clone, Copy)]
pub struct Eagerness {
    /// What a miss costs, in chances.
    price: u32,
    /// Chances to let pass.
    owed: u32,
}

impl Default for Eagerness {
    fn default() -> Self {
        Self { price: 1, owed: 1 }
    }
}

impl Eagerness {
    /// Whether to try.
    #[must_use]
    pub const fn tries(self) -> bool {
        self.owed == 0
    }

    /// It was tried, and `came` in time or not.
    pub fn tried(&mut self, came: bool) {
        if came {
            self.price = (self.price * 3 / 4).max(1);
        } else {
            self.price = (self.price * 4).min(MOST);
            self.owed = self.price;
        }
    }

    /// It was not tried, and would have come in time or not.
    pub fn missed(&mut self, would_have_come: bool) {
        self.owed = if would_have_come { self.owed.saturating_sub(1) } else { self.owed.max(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::Eagerness;

    #[test]
    fn what_fails_is_tried_ever_more_rarely_and_what_works_again_and_again() {
        let mut eagerness = Eagerness::default();
        assert!(!eagerness.tries(), "nothing is known");
        eagerness.missed(true);
        assert!(eagerness.tries());
        eagerness.missed(false);
        assert!(!eagerness.tries(), "the last one came late");

        let chances_until = |eagerness: &mut Eagerness| {
            let mut chances = 0;
            while !eagerness.tries() {
                eagerness.missed(true);
                chances += 1;
            }
            chances
        };
        chances_until(&mut eagerness);
        let waits: Vec<u32> = (0..6)
            .map(|_| {
                eagerness.tried(false);
                chances_until(&mut eagerness)
            })
            .collect();
        assert_eq!(waits, [4, 16, 64, 256, 256, 256]);
        for _ in 0..100 {
            eagerness.tried(true);
            assert!(eagerness.tries());
        }
        eagerness.tried(false);
        assert_eq!(chances_until(&mut eagerness), 4, "forgiven");
    }
}
