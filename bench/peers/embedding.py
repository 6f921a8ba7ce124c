"""The embedding peers: the same model in Python's onnxruntime, on one thread.

    python embedding.py MODEL.onnx VOCAB.txt sorted|padded

Answers each line of JSON on its standard input with one: {"prepare": [texts]}, which embeds them before any are counted,
with the versions of what is used, and {"texts": [texts]} with {"rate": texts in a second of processor time}. `sorted` sorts by
length and pads to the longest of a batch, as we do, with batches of the size that was best for it of those tried; `padded` is
Chroma's way: 32 texts a batch, always padded to 256 tokens. Between two lines it does nothing.

Needs onnxruntime, tokenizers and numpy; bench installs them into a folder of their own.
"""

import json
import os
import sys
import time

# One thread for the tokenizer as well: it reads these when it is loaded.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import numpy  # noqa: E402
import onnxruntime  # noqa: E402
import tokenizers  # noqa: E402

LIMIT = 256
BATCH_TOKENS = [512, 1_024, 2_048, 4_096]


class Embedder:
    def __init__(self, model, vocabulary, padded):
        self.tokenizer = tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=True)
        self.tokenizer.enable_truncation(LIMIT)
        self.padded = padded
        if padded:
            self.tokenizer.enable_padding(length=LIMIT)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.batch_tokens = BATCH_TOKENS[1]

    def batches(self, encoded):
        if self.padded:
            order = list(range(len(encoded)))
            yield from (order[at : at + 32] for at in range(0, len(order), 32))
            return
        batch = []
        for text in sorted(range(len(encoded)), key=lambda text: len(encoded[text].ids)):
            length = len(encoded[text].ids)
            if batch and (len(batch) + 1) * length > self.batch_tokens:
                yield batch
                batch = []
            batch.append(text)
        if batch:
            yield batch

    def embed(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        vectors = [None] * len(texts)
        for batch in self.batches(encoded):
            longest = max(len(encoded[text].ids) for text in batch)
            ids = numpy.zeros((len(batch), longest), numpy.int64)
            mask = numpy.zeros_like(ids)
            for row, text in enumerate(batch):
                length = len(encoded[text].ids)
                ids[row, :length] = encoded[text].ids
                mask[row, :length] = encoded[text].attention_mask
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
            states = self.session.run(None, inputs)[0]
            weights = mask[:, :, None].astype(numpy.float32)
            means = (states * weights).sum(axis=1) / weights.sum(axis=1)
            means /= numpy.linalg.norm(means, axis=1, keepdims=True)
            for row, text in enumerate(batch):
                vectors[text] = means[row]
        return vectors

    def once(self, texts):
        start = time.process_time()
        self.embed(texts)
        return len(texts) / (time.process_time() - start)

    def prepare(self, texts):
        self.embed(texts)
        if self.padded:
            return

        def tried(size):
            self.batch_tokens = size
            return self.once(texts)

        self.batch_tokens = max(BATCH_TOKENS, key=tried)


def main(model, vocabulary, way):
    embedder = Embedder(model, vocabulary, padded=way == "padded")
    versions = {"onnxruntime": onnxruntime.__version__, "tokenizers": tokenizers.__version__}
    for line in sys.stdin:
        asked = json.loads(line)
        if "prepare" in asked:
            embedder.prepare(asked["prepare"])
            answer = versions
        else:
            answer = {"rate": embedder.once(asked["texts"])}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
