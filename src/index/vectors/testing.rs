//! Vectors for tests and measurements, the same at each run.

/// `count` vectors of unit length around a few hundred centres, as texts of a few subjects have them.
pub fn clustered(count: usize, dimensions: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random(seed);
    let centres: Vec<Vec<f32>> = (0..(count / 20).clamp(1, 400)).map(|_| random.direction(dimensions)).collect();
    (0..count)
        .map(|_| {
            let centre = &centres[random.below(centres.len())];
            let mut vector = random.direction(dimensions);
            vector.iter_mut().zip(centre).for_each(|(value, centre)| *value = 0.7 * *value + *centre);
            normalise(&mut vector);
            vector
        })
        .collect()
}

/// Numbers without a pattern.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    /// Roughly normally distributed.
    pub fn normal(&mut self) -> f32 {
        (0..4).map(|_| (self.next() >> 40) as f32 / (1_u32 << 24) as f32 - 0.5).sum::<f32>() * 1.73
    }

    /// A vector of unit length.
    pub fn direction(&mut self, dimensions: usize) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..dimensions).map(|_| self.normal()).collect();
        normalise(&mut vector);
        vector
    }
}

pub fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
}
