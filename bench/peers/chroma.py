"""Chroma in process: a collection with the cosine space and otherwise its defaults, which measures its own calls.

    python chroma.py DIRECTORY

Reads one request of JSON a line and answers each with a line:

    {"do": "open"}                                          {"ms": until the client and the collection are there,
                                                             "versions": {...}}
    {"do": "add", "first": n, "vectors": base64 of 32-bit floats, "dimensions": n, "metadata": [{...}] or null}
                                                            {"ms": n}
    {"do": "ask", "queries": as vectors, "dimensions": n, "k": n, "rounds": n, "where": {...} or null}
                                                            {"found": [[number]], "times": [µs]}
    {"do": "resident"}                                      {"bytes": resident memory, null where it cannot be told}

Needs chromadb and numpy; bench installs them into a folder of their own.
"""

import base64
import gc
import json
import os
import sys
import time

import chromadb
import numpy
from chromadb.config import Settings


def resident():
    gc.collect()
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def matrix(text, dimensions):
    return numpy.frombuffer(base64.b64decode(text), numpy.float32).reshape(-1, dimensions)


class Bench:
    def __init__(self, directory):
        self.directory = directory
        self.collection = None

    def open(self):
        start = time.perf_counter()
        client = chromadb.PersistentClient(self.directory, settings=Settings(anonymized_telemetry=False))
        self.collection = client.get_or_create_collection(
            "bench", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        return {"ms": (time.perf_counter() - start) * 1e3, "versions": {"chromadb": chromadb.__version__}}

    def add(self, first, vectors, dimensions, metadata):
        rows = matrix(vectors, dimensions)
        ids = [str(first + place) for place in range(len(rows))]
        start = time.perf_counter()
        self.collection.add(ids=ids, embeddings=rows, metadatas=metadata)
        return {"ms": (time.perf_counter() - start) * 1e3}

    def ask(self, queries, dimensions, k, rounds, where):
        found, times = [], []
        rows = matrix(queries, dimensions)
        for number in range(rounds):
            for row in rows:
                start = time.perf_counter()
                answer = self.collection.query(query_embeddings=[row], n_results=k, where=where, include=[])
                times.append((time.perf_counter() - start) * 1e6)
                if number == 0:
                    found.append([int(identifier) for identifier in answer["ids"][0]])
        return {"found": found, "times": times}

    def resident(self):
        return {"bytes": resident()}


def main(directory):
    bench = Bench(directory)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(bench, request.pop("do"))(**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
