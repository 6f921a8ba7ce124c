//! One model file in memory, run by `rten`. A file is a stranger's word: what it asks for and answers is checked by
//! name and shape, and a panic of the runtime is an error like any other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, OnceLock},
};

use rten::{DataType, Dimension, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueType};

use super::{Identity, batches, low_priority, no_model, normalize, onnx, probes, tokens::Tokens};
use crate::error::{Error, Result};

/// A file above this size is no model for this engine, bytes.
const LARGEST_FILE: u64 = 4 << 30;

/// A model that has shown that it works.
pub struct Model {
    tokens: Tokens,
    graph: rten::Model,
    inputs: Vec<(NodeId, Input)>,
    output: NodeId,
    dimensions: usize,
    queries: Arc<ThreadPool>,
    documents: OnceLock<Arc<ThreadPool>>,
    threads: usize,
    weights_bytes: usize,
    storage: &'static str,
}

/// What a model asks for.
#[derive(Clone, Copy)]
enum Input {
    /// The tokens.
    Ids,
    /// Which of them are text and no padding.
    Mask,
    /// Which sentence they belong to: always the first.
    Types,
}

impl Model {
    /// Loads a file, has it embed a few texts, and compares them with what this model is known to make of them.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    pub fn load(file: &Path, identity: &Identity, threads: usize) -> Result<Self> {
        let refused = |reason: &str| unusable(file, reason);
        let metadata = file.metadata().map_err(|error| refused(&error.to_string()))?;
        if !metadata.is_file() || metadata.len() == 0 || metadata.len() > LARGEST_FILE {
            return Err(refused(&format!("it is no file of 1 byte to 4 GiB, but of {}", metadata.len())));
        }
        let bytes = onnx::check(file).map_err(|reason| refused(&reason))?;
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let tokens = Tokens::open(&identity.name, folder, identity.max_tokens)?;
        let kept_whole = bytes.as_ref().map(Vec::len);
        let queries = Arc::new(ThreadPool::with_num_threads(threads));
        // On a thread of ordinary priority, whoever asks: a query may come to wait for it.
        // Matrices are laid out for multiplying once, not for each batch: a short query takes a third less time for
        // that, at the price of 41 MB for the default model.
        let load = || {
            let mut options = ModelOptions::with_all_ops();
            options.prepack_weights(true);
            match bytes {
                Some(bytes) => options.load(bytes),
                None => options.load_file(file),
            }
        };
        let graph = caught(|| queries.run(load))
            .map_err(|panic| refused(&panic.message))?
            .map_err(|error| refused(&error.to_string()))?;
        let inputs = inputs(&graph).map_err(|reason| refused(&reason))?;
        let output = output(&graph, identity.dimensions).map_err(|reason| refused(&reason))?;
        let parameters = graph.total_params();
        let table = parameters.min(tokens.vocabulary() * identity.dimensions);
        let model = Self {
            tokens,
            inputs,
            output,
            dimensions: identity.dimensions,
            queries,
            documents: OnceLock::new(),
            threads,
            weights_bytes: weights_bytes(parameters, table, kept_whole),
            storage: storage(metadata.len(), parameters),
            graph,
        };
        model.prove(identity).map_err(|error| refused(&error.message))?;
        Ok(model)
    }

    /// Embeds the probes.
    fn prove(&self, identity: &Identity) -> Result<()> {
        let made = self.for_query(&probes::TEXTS)?;
        match probes::known(identity) {
            Some(known) if !probes::same_model(&known, &made) => Err(no_model(format!(
                "its vectors are not those of {} (cosine {:.4}, at least {} is needed): it is another model, or damaged",
                identity.name,
                probes::agreement(&known, &made),
                probes::AGREEMENT
            ))),
            _ => Ok(()),
        }
    }

    /// One vector a text, as soon as possible.
    ///
    /// # Errors
    /// `ERR_NO_MODEL`.
    pub fn for_query(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.embed_on(&self.queries, texts, || Ok(()))
    }

    /// One vector a text, on threads of low priority, with `give_way` before each batch.
    ///
    /// # Errors
    /// `ERR_NO_MODEL`, and what `give_way` answers.
    pub fn for_documents(&self, texts: &[&str], give_way: impl Fn() -> Result<()> + Sync) -> Result<Vec<Vec<f32>>> {
        let pool = self.documents.get_or_init(|| Arc::new(low_priority::pool(self.threads)));
        self.embed_on(pool, texts, give_way)
    }

    /// Bytes of its weights in memory, matrices also as they are laid out for multiplying.
    pub fn weights_bytes(&self) -> usize {
        self.weights_bytes
    }

    /// How its file stores them.
    pub fn storage(&self) -> &'static str {
        self.storage
    }

    fn embed_on(
        &self,
        pool: &Arc<ThreadPool>,
        texts: &[&str],
        give_way: impl Fn() -> Result<()> + Sync,
    ) -> Result<Vec<Vec<f32>>> {
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(pool)));
        let give_way = &give_way;
        caught(|| pool.run(|| self.embed(texts, &options, give_way)))?
    }

    fn embed(&self, texts: &[&str], options: &RunOptions, give_way: impl Fn() -> Result<()>) -> Result<Vec<Vec<f32>>> {
        let tokens = texts.iter().map(|text| self.tokens.of(text)).collect::<Result<Vec<_>>>()?;
        let mut vectors = vec![Vec::new(); texts.len()];
        for batch in batches::of(&tokens.iter().map(Vec::len).collect::<Vec<_>>()) {
            give_way()?;
            let ids: Vec<&[u32]> = batch.iter().map(|text| tokens[*text].as_slice()).collect();
            for (text, vector) in batch.iter().zip(self.run(&ids, options)?) {
                vectors[*text] = vector;
            }
        }
        Ok(vectors)
    }

    /// The vectors of one batch.
    fn run(&self, batch: &[&[u32]], options: &RunOptions) -> Result<Vec<Vec<f32>>> {
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let shape = [batch.len(), longest];
        let filled = |of: &dyn Fn(u32) -> i32| {
            let mut values = vec![0; batch.len() * longest];
            for (row, ids) in values.chunks_exact_mut(longest).zip(batch) {
                for (value, id) in row.iter_mut().zip(*ids) {
                    *value = of(*id);
                }
            }
            values
        };
        let failed = |reason: String| no_model(format!("the model failed: {reason}"));
        let mut given: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(self.inputs.len());
        for (node, input) in &self.inputs {
            let values = match input {
                Input::Ids => filled(&|id| i32::try_from(id).unwrap_or(0)),
                Input::Mask => filled(&|_| 1),
                Input::Types => filled(&|_| 0),
            };
            let value = Value::from_shape(shape, values).map_err(|error| failed(error.to_string()))?;
            given.push((*node, value.into()));
        }
        let [answer] =
            self.graph.run_n(given, [self.output], Some(options.clone())).map_err(|error| failed(error.to_string()))?;
        let (made, states) = answer.into_shape_vec::<f32, 3>().map_err(|error| failed(error.to_string()))?;
        if made != [shape[0], shape[1], self.dimensions] || states.len() != made.iter().product::<usize>() {
            return Err(failed(format!("it made {made:?} numbers, not {shape:?} × {}", self.dimensions)));
        }
        states
            .chunks_exact(longest * self.dimensions)
            .zip(batch)
            .map(|(states, ids)| {
                mean(&states[..ids.len() * self.dimensions], self.dimensions)
                    .ok_or_else(|| failed("it made a vector without a direction; its file is damaged".to_owned()))
            })
            .collect()
    }
}

/// The mean of token vectors, of unit length.
fn mean(states: &[f32], dimensions: usize) -> Option<Vec<f32>> {
    let mut sum = vec![0.0; dimensions];
    for state in states.chunks_exact(dimensions) {
        for (sum, number) in sum.iter_mut().zip(state) {
            *sum += number;
        }
    }
    normalize(&mut sum).then_some(sum)
}

/// What the model asks for, all of it known.
fn inputs(graph: &rten::Model) -> std::result::Result<Vec<(NodeId, Input)>, String> {
    let mut found = Vec::new();
    for node in graph.input_ids() {
        let info = graph.node_info(*node).ok_or("an input is no node")?;
        let name = info.name().unwrap_or_default();
        let input = match name {
            "input_ids" => Input::Ids,
            "attention_mask" => Input::Mask,
            "token_type_ids" => Input::Types,
            _ => {
                return Err(format!(
                    "it asks for '{name}', which is none of input_ids, attention_mask, token_type_ids"
                ));
            }
        };
        if info.dtype().is_some_and(|kind| kind != ValueType::Tensor(DataType::Int32)) {
            return Err(format!("its input '{name}' takes no token numbers"));
        }
        if let Some(shape) = info.shape()
            && (shape.len() != 2 || shape.iter().any(|size| matches!(size, Dimension::Fixed(_))))
        {
            return Err(format!("its input '{name}' has the fixed shape {shape:?}; batch × tokens is needed"));
        }
        found.push((*node, input));
    }
    if found.iter().any(|(_, input)| matches!(input, Input::Ids)) {
        Ok(found)
    } else {
        Err("it does not ask for input_ids: it is no text model".to_owned())
    }
}

/// Where the vectors of the tokens come out.
fn output(graph: &rten::Model, dimensions: usize) -> std::result::Result<NodeId, String> {
    let named = |name: &str| graph.find_node(name).filter(|node| graph.output_ids().contains(node));
    let node = named("last_hidden_state")
        .or_else(|| named("token_embeddings"))
        .or_else(|| graph.output_ids().first().copied())
        .ok_or("it has no output")?;
    let info = graph.node_info(node).ok_or("its output is no node")?;
    let name = info.name().unwrap_or_default();
    if let Some(shape) = info.shape() {
        if shape.len() != 3 {
            return Err(format!("its output '{name}' has the shape {shape:?}; batch × tokens × numbers is needed"));
        }
        if let Some(Dimension::Fixed(size)) = shape.get(2)
            && *size != dimensions
        {
            return Err(format!("its vectors have {size} numbers, not {dimensions}"));
        }
    }
    Ok(node)
}

/// Bytes of `parameters` weights, of which `table` are vectors of words. All others are counted twice: nearly all are
/// matrices, which lie there as they came and as they are laid out for multiplying. Of a file that is kept whole, whose
/// weights have a byte each, the graph counts those in it beside what they became. Loading all-MiniLM-L6-v2 adds 124 MB
/// of resident memory with 8 bits and 146 MB with 32; here they are 107 and 135, and the rest are the tokenizer and the
/// runtime.
fn weights_bytes(parameters: usize, table: usize, kept_whole: Option<usize>) -> usize {
    let word = size_of::<f32>();
    match kept_whole {
        Some(bytes) => bytes + 2 * parameters.saturating_sub(bytes) * word,
        None => (table + 2 * parameters.saturating_sub(table)) * word,
    }
}

/// How weights are stored, by the bytes that each takes in the file.
fn storage(file_bytes: u64, parameters: usize) -> &'static str {
    match file_bytes.checked_div(u64::try_from(parameters).unwrap_or(u64::MAX)) {
        Some(0 | 1) => "int8",
        Some(2) => "fp16",
        _ => "fp32",
    }
}

/// The reason why a file is no model, and what helps.
fn unusable(file: &Path, reason: &str) -> Error {
    no_model(format!(
        "{} cannot be used: {reason}; replace it by the model's ONNX file (in a clone `npm run model` does)",
        file.display()
    ))
}

/// A panic of the runtime becomes an error: a damaged file reaches code that expects a whole one.
fn caught<R>(run: impl FnOnce() -> R) -> Result<R> {
    // What is shared with the closure is only read by it, but for caches of the runtime that are replaced as a whole.
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|panic| no_model(format!("the model is damaged: {}", Error::from_panic("rten", &*panic).message)))
}
