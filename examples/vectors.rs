//! Measures the vectors in memory: recall, latency, bytes, time to build, save and load.
//!
//!     cargo run --release --example vectors -- [options] COUNT…
//!       --chroma DIR       real vectors, from a Chroma directory; more are mixed from them. Else clusters are made up
//!       --uniform          vectors without any structure, the hardest there are
//!       --i8               8 bits a number
//!       --add N --search N the graph's expansion; of several --search each is tried on the same graph
//!
//! Counts below the threshold are compared exactly. Recall is against comparing all with 32 bits.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use claude_mem_native::{
    error::{Error, Result},
    index::{
        chroma,
        vectors::{Allowed, By, IdSet, Row, Source, State, VectorIndex, keep_only, vector},
    },
    settings::{Index, Precision, Settings},
};

const DIMENSIONS: usize = 384;
const QUERIES: usize = 200;
const K: usize = 10;

fn main() -> Result<()> {
    let mut settings = Settings::new("").index;
    settings.memory_budget = usize::MAX;
    let (mut counts, mut directory, mut uniform, mut searches) = (Vec::new(), None, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    let bad = |what: &str| Error::invalid(format!("{what}: see the head of examples/vectors.rs"));
    while let Some(argument) = arguments.next() {
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).ok_or_else(|| bad("no number"));
        match argument.as_str() {
            "--chroma" => directory = arguments.next().map(PathBuf::from),
            "--uniform" => uniform = true,
            "--i8" => settings.precision = Precision::I8,
            "--add" => settings.expansion.add = number(arguments.next())?,
            "--search" => searches.push(number(arguments.next())?),
            count => counts.push(number(Some(count.to_owned()))?),
        }
    }
    let real = directory.map(|directory| real_vectors(&directory)).transpose()?;
    settings.expansion.search = searches.first().copied();
    for count in counts {
        measure(count, &settings, real.as_deref(), uniform, searches.get(1..).unwrap_or_default())?;
    }
    Ok(())
}

fn real_vectors(directory: &std::path::Path) -> Result<Vec<Vec<f32>>> {
    let mut chroma = chroma::open(directory, &chroma::Options::default())?;
    chroma.documents().map(|document| document.map(|document| document.vector)).collect()
}

/// The table: what is read at a start.
struct Table(Vec<Vec<u8>>);

impl Source for Table {
    fn scan(&self, visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        (0..).zip(&self.0).try_for_each(|(id, blob)| visit(Row { id, group: id / 4, blob }))
    }

    fn of_groups(&self, groups: &[i64], visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        self.scan(&mut |row| if groups.contains(&row.group) { visit(row) } else { Ok(()) })
    }
}

fn measure(count: usize, settings: &Index, real: Option<&[Vec<f32>]>, uniform: bool, searches: &[usize]) -> Result<()> {
    let mut random = Random(count as u64);
    let centres: Vec<Vec<f32>> = (0..400).map(|_| random.direction()).collect();
    let mut one = |place: usize| match real {
        _ if uniform => random.direction(),
        // All that there are, then mixtures of two with some noise.
        Some(real) => real.get(place).cloned().unwrap_or_else(|| {
            let (a, b) = (random.below(real.len()), random.below(real.len()));
            let (share, noise) = (random.fraction() * 0.5, random.direction());
            unit((0..DIMENSIONS).map(|i| (1.0 - share) * real[a][i] + share * real[b][i] + 0.2 * noise[i]).collect())
        }),
        None => {
            let (centre, noise) = (random.below(centres.len()), random.direction());
            unit((0..DIMENSIONS).map(|i| centres[centre][i] + 0.7 * noise[i]).collect())
        }
    };
    let blobs: Vec<Vec<u8>> = (0..count).map(|place| vector::to_blob(&one(place))).collect();
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| one(usize::MAX)).collect();
    let table = Arc::new(Table(blobs));

    let before = resident();
    let index = VectorIndex::of(Arc::clone(&table) as Arc<dyn Source>, DIMENSIONS, settings);
    let start = Instant::now();
    index.fill()?;
    let filled = start.elapsed();
    let exact = (index.state() == State::Rebuilding || index.state() == State::Exact)
        .then(|| timed(&queries[..50], |query| index.nearest(query, K, By::Document, Allowed::All).map(drop)))
        .transpose()?;
    while index.is_working() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let built = start.elapsed();
    let grown = resident() - before;
    println!(
        "\n{count} vectors, {:?}, expansion {:?}: {}",
        settings.precision,
        settings.expansion,
        index.state().as_str()
    );
    println!("  read from the table in {filled:.1?}, graph after {built:.1?}; exactly before it: {exact:.2?}");
    println!(
        "  {} bytes a vector resident, {} accounted {:?}",
        grown / count,
        index.memory().total() / count,
        index.memory()
    );

    let truth = |query: &[f32], allows: &dyn Fn(i64) -> bool| -> Result<Vec<i64>> {
        let mut best: Vec<(f32, i64)> = Vec::new();
        let mut vector = vec![0.0; DIMENSIONS];
        for (id, blob) in (0_i64..).zip(&table.0).filter(|&(id, _)| allows(id)) {
            vector::read_blob(blob, &mut vector)?;
            best.push((1.0 - vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>(), id));
        }
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(best.into_iter().take(K).map(|(_, id)| id).collect())
    };
    let all: Vec<Vec<i64>> = queries.iter().map(|query| truth(query, &|_| true)).collect::<Result<_>>()?;
    let mut found = 0;
    for (query, truth) in queries.iter().zip(&all) {
        found +=
            index.nearest(query, K, By::Document, Allowed::All)?.iter().filter(|hit| truth.contains(&hit.id)).count();
    }
    let took = timed(&queries, |query| index.nearest(query, K, By::Document, Allowed::All).map(drop))?;
    let by_group = timed(&queries, |query| index.nearest(query, K, By::Group, Allowed::All).map(drop))?;
    println!("  recall@{K} {:.4}, median {took:.2?}; by group {by_group:.2?}", found as f64 / (QUERIES * K) as f64);

    for (share, every) in [("50 %", 2), ("10 %", 10), ("1 %", 100), ("0.1 %", 1_000)] {
        let groups: IdSet = (0..count as i64 / 4).filter(|group| group % every == 0).collect();
        let mut found = 0;
        for query in &queries[..50] {
            let truth = truth(query, &|id| groups.contains(id / 4))?;
            let hits = index.nearest(query, K, By::Document, Allowed::Groups(&groups))?;
            found += hits.iter().filter(|hit| truth.contains(&hit.id)).count();
        }
        let took = timed(&queries, |query| index.nearest(query, K, By::Document, Allowed::Groups(&groups)).map(drop))?;
        println!("  {share} allowed: recall {:.4}, median {took:.2?}", found as f64 / (50 * K) as f64);
    }

    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    if let Some(info) = index.save(folder.path(), "vectors", "example")? {
        let saved = start.elapsed();
        drop(index);
        let index = VectorIndex::of(Arc::clone(&table) as Arc<dyn Source>, DIMENSIONS, settings);
        let start = Instant::now();
        index.load(folder.path(), &info, "example")?;
        println!(
            "  saved in {saved:.1?}, {} bytes a vector; loaded in {:.1?}",
            info.bytes / count as u64,
            start.elapsed()
        );
        drop(index);
        for &search in searches {
            let mut settings = settings.clone();
            settings.expansion.search = Some(search);
            let index = VectorIndex::of(Arc::clone(&table) as Arc<dyn Source>, DIMENSIONS, &settings);
            index.load(folder.path(), &info, "example")?;
            let mut found = 0;
            for (query, truth) in queries.iter().zip(&all) {
                let hits = index.nearest(query, K, By::Document, Allowed::All)?;
                found += hits.iter().filter(|hit| truth.contains(&hit.id)).count();
            }
            let took = timed(&queries, |query| index.nearest(query, K, By::Document, Allowed::All).map(drop))?;
            println!(
                "  search expansion {search}: recall@{K} {:.4}, median {took:.2?}",
                found as f64 / (QUERIES * K) as f64
            );
        }
        keep_only(folder.path(), "vectors", None)?;
    }
    Ok(())
}

/// The median time of a call.
fn timed(queries: &[Vec<f32>], call: impl Fn(&[f32]) -> Result<()>) -> Result<Duration> {
    let mut times = queries
        .iter()
        .chain(queries)
        .map(|query| {
            let start = Instant::now();
            call(query).map(|()| start.elapsed())
        })
        .collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[times.len() / 2])
}

/// Bytes of this process in memory; 0 where the system does not tell.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_or(0, |kilobytes: usize| kilobytes * 1_024)
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Numbers without a pattern, the same at each run.
struct Random(u64);

impl Random {
    fn fraction(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u32 << 24) as f32
    }

    fn below(&mut self, most: usize) -> usize {
        ((self.fraction() * most as f32) as usize).min(most - 1)
    }

    fn direction(&mut self) -> Vec<f32> {
        unit((0..DIMENSIONS).map(|_| (0..4).map(|_| self.fraction() - 0.5).sum()).collect())
    }
}
