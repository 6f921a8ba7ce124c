"""Makes the reference that the embedder's tests compare with, and the probes that the engine knows its model by.

    python -m venv venv && venv/bin/pip install onnxruntime tokenizers numpy onnx
    venv/bin/python make.py MODEL.onnx INT8.onnx TOKENIZER.json

MODEL.onnx is all-MiniLM-L6-v2 with 32-bit weights, INT8.onnx the one that `npm run model` makes,
TOKENIZER.json the one published with the model. Both run in other
programs than ours: Microsoft's onnxruntime, and the tokenizers of Hugging Face through Python with the published
file instead of our set-up in code.

Beside this file it writes
  texts.json    200 texts; one that repeats is {"text", "times"}
  tokens.json   their token ids, 256 at most
  fp32.f16      their vectors: mean over the tokens, unit length; 384 IEEE binary16 numbers each, little endian
  int8.f16      the same, of INT8.onnx
  small.onnx    a text model of a few hundred bytes for tests without a real one: token t becomes sin(t), sin(2t), ...
  other.onnx    a model that is none for texts
and probes.f32 (32-bit) in assets/all-MiniLM-L6-v2/: the vectors of PROBES, which src/embedder/probes.rs has too.
"""

import json
import pathlib
import random
import sys

import numpy
import onnx
import onnxruntime
import tokenizers

HERE = pathlib.Path(__file__).parent
PROBES = HERE.parents[2] / "assets" / "all-MiniLM-L6-v2" / "probes.f32"
PROBE_TEXTS = [
    "The worker's queue survives a restart: messages are leased, not popped.",
    "fix: null pointer dereference in src/parser.c:120 when the input is empty",
    "How do I rotate the credentials of the production database?",
    "今天天气很好 · Grüße aus Köln · ¿dónde está la biblioteca?",
]

NOUNS = """queue session worker heap snapshot database index vector commit transaction lock deadline retry thread process
hook context prompt summary observation project branch test fixture parser schema migration column trigger cursor page
cache buffer stream socket request response header route handler cookie login permission directory symlink checkpoint
log metric histogram benchmark batch lease clock""".split()
VERBS = """reads writes opens closes deletes updates merges renames claims leases cancels replays measures sorts rejects
rebuilds restores truncates compares logs""".split()
QUALITIES = """stale empty corrupt slow missing locked full idle damaged duplicate nested private read-only""".split()
FORMS = [
    "The {0} {v} the {1} when the {2} is {q}.",
    "After a crash, each {0} {v} its {1}, so nothing is lost.",
    "Fixed a leak: the {0} kept every {1} alive until the {2} was closed.",
    "Why does the {0} wait {n} ms for a {q} {1}?",
    "Added `{0}_{1}` to src/{2}/{0}.ts because the {1} was {q}.",
    "We decided that the {0} never {v} a {1} without its {2}.",
    "In this session the user asked for a faster {0}; the {1} now {v} {n} rows at once.",
    "Error {n}: {q} {0} in {1}.{2}()",
]

ODD = [
    "",
    " ",
    "\n\t \r\n",
    "\0",
    "a\0b",
    "before\0after and\0\0more",
    "\ufffd\u200b\ufeff",
    "x",
    "[SEP]",
    "[CLS] is a token, [MASK]ed and [PAD]ded, [UNK]nown, [sep] is not",
    "👍",
    "👨‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👩🏽‍💻 codes",
    "🎉" * 60,
    "大学",
    "北京大学的计算机科学系研究操作系统和数据库。",
    "東京の天気は晴れです。データベースのインデックスを更新しました。",
    "서울의 데이터베이스 색인을 갱신했습니다",
    "Привет, мир! Утечка памяти в очереди сообщений.",
    "שלום עולם, קובץ נמחק",
    "مرحبا بالعالم، تم تحديث قاعدة البيانات",
    "नमस्ते दुनिया, डेटाबेस अद्यतन किया गया",
    "ไทยไม่มีช่องว่างระหว่างคำ",
    "Ångström naïve façade Zürich ﬁligree ſtraße İstanbul ΣΊΣΥΦΟΣ",
    "e\u0301\u0301\u0301 cafe\u0301 = café",
    "Z\u0351\u036b\u0343a\u0363l\u0368g\u0364o\u0307",
    "𝒰𝓃𝒾𝒸ℴ𝒹ℯ 𝔪𝔞𝔱𝔥 ﷽ ½ ² ③",
    "src/embedder/mod.rs:120:17: error[E0308]: mismatched types",
    "SELECT id, title FROM observations WHERE project = 'claude-mem' AND created_at_epoch > 1757177815686;",
    '{"type":"feature","files":["src/a.ts","src/b.ts"],"n":-1.5e10,"ok":true}',
    "https://example.invalid/path/to?query=1&other=two#fragment",
    "deadbeefcafebabe0123456789abcdef0123456789abcdef0123456789abcdef",
    "HTTPServerErrorHandlerFactoryBean.getInstanceForXMLHttpRequest()",
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "-" * 300,
    "…" * 300,
    "word\u00a0with\u2003odd\u3000spaces\u2028and lines",
    "１２３ ＦＵＬＬ ｗｉｄｔｈ！",
    "豈 更 車 賈 滑 串",
    "\U00020000\U0002a700 rare ideographs",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f tag",
    {"text": "word ", "times": 20_000},
    {"text": "x", "times": 100_000},
    {"text": " ", "times": 100_000},
    {"text": "数", "times": 33_334},
    {"text": "🎉", "times": 25_000},
    {"text": "{\"k\":[1,2],\"v\":null},", "times": 5_000},
    {"text": "\0", "times": 100_000},
    {"text": "й", "times": 50_000},
]


def documents(seed, count):
    """Texts of 1 to 30 sentences, as long as what is stored is: most of them short."""
    draw = random.Random(seed)
    for _ in range(count):
        yield " ".join(
            draw.choice(FORMS).format(
                *draw.sample(NOUNS, 3), v=draw.choice(VERBS), q=draw.choice(QUALITIES), n=draw.randint(0, 9_999)
            )
            for _ in range(min(30, int(1 + draw.expovariate(1 / 4))))
        )


def spelled(entry):
    return entry if isinstance(entry, str) else entry["text"] * entry["times"]


def model(file):
    """Token ids to a vector of unit length."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def embed(ids):
        row = numpy.array([ids], dtype=numpy.int64)
        inputs = {"input_ids": row, "attention_mask": numpy.ones_like(row), "token_type_ids": numpy.zeros_like(row)}
        mean = session.run(["last_hidden_state"], inputs)[0][0].astype(numpy.float64).mean(axis=0)
        return mean / numpy.linalg.norm(mean)

    return embed


def small():
    """Two models without weights to speak of."""
    tensor, node, numbers = onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.TensorProto
    by = onnx.numpy_helper.from_array(numpy.arange(1, 9, dtype=numpy.float32).reshape(1, 1, 8), "by")
    last = onnx.numpy_helper.from_array(numpy.array([-1], dtype=numpy.int64), "last")
    text = onnx.helper.make_graph(
        [
            node("Cast", ["input_ids"], ["id"], to=numbers.FLOAT),
            node("Unsqueeze", ["id", "last"], ["column"]),
            node("Mul", ["column", "by"], ["angle"]),
            node("Sin", ["angle"], ["last_hidden_state"]),
        ],
        "small",
        [tensor(name, numbers.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")],
        [tensor("last_hidden_state", numbers.FLOAT, ["batch", "sequence", 8])],
        [by, last],
    )
    other = onnx.helper.make_graph(
        [node("Relu", ["image"], ["class"])],
        "other",
        [tensor("image", numbers.FLOAT, [1, 3, 8, 8])],
        [tensor("class", numbers.FLOAT, [1, 3, 8, 8])],
    )
    for name, graph in (("small", text), ("other", other)):
        made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made)
        (HERE / f"{name}.onnx").write_bytes(made.SerializeToString())


def main(fp32, int8, tokenizer_file):
    small()
    tokenizer = tokenizers.Tokenizer.from_file(tokenizer_file)
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    texts = ODD + list(documents(4, 200 - len(ODD)))
    tokens = [tokenizer.encode(spelled(text)).ids for text in texts]

    for name, file in [("fp32", fp32), ("int8", int8)]:
        embed = model(file)
        vectors = numpy.stack([embed(ids) for ids in tokens])
        (HERE / f"{name}.f16").write_bytes(vectors.astype("<f2").tobytes())
    embed = model(fp32)
    probes = numpy.stack([embed(tokenizer.encode(text).ids) for text in PROBE_TEXTS])
    PROBES.write_bytes(probes.astype("<f4").tobytes())
    lines = ",\n".join(json.dumps(text) for text in texts)
    (HERE / "texts.json").write_text(f"[\n{lines}\n]\n")
    lines = ",\n".join(json.dumps(ids, separators=(",", ":")) for ids in tokens)
    (HERE / "tokens.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
