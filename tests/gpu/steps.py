"""Steps of a model of Qwen3-8B's size with random weights, by `shardwright run` on one GPU.

usage: steps.py PROGRAM FIGURES.json

FIGURES.json has the ceilings of tests/bench/gpu and gets step.decode.b1, step.decode.b64_2k and step.prefill.4096: the
time that bandwidth or products allow, as a fraction of the time measured (TPOT, TTFT), and that time itself as NAME.us.
Without ceilings the times are measured all the same.
"""
import json
import os
import subprocess
import sys
import tempfile

LAYERS, HIDDEN, INTER, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 36, 4096, 12288, 32, 8, 128, 151936
PER_LAYER = HIDDEN * (HEADS + 2 * KV_HEADS) * HEAD_DIM + HEADS * HEAD_DIM * HIDDEN + 3 * HIDDEN * INTER
KV_BYTES = 2 * 2 * KV_HEADS * HEAD_DIM * LAYERS  # of a token
BLOCK = 16
MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "qwen3-8b.yaml")


def plan(seqs, rows, length):
    blocks = seqs * (length // BLOCK + 2)
    return f"""format: shardwright-plan
version: 1
model: qwen3-8b
dtype: bf16
kv_dtype: bf16
block_tokens: {BLOCK}
max_len: {length + BLOCK}
n_ranks: 1
replicas:
  - max_seqs: {seqs}
    max_tokens: {rows}
    kv_blocks: {blocks}
    stages:
      - {{first_layer: 0, end_layer: {LAYERS}, kind: gpu, device: cuda, ranks: [0]}}
"""


def workload(requests, prompt, output):
    return f"""format: shardwright-workload
version: 1
name: steps
requests: {requests}
prompt: {{dist: constant, mean: {prompt}}}
output: {{dist: constant, mean: {output}}}
"""


def run(program, case):
    seqs, prompt, output, rows = case
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in (("plan.yaml", plan(seqs, rows, prompt + output)),
                           ("workload.yaml", workload(seqs, prompt, output))):
            with open(os.path.join(scratch, name), "w") as file:
                file.write(text)
        done = subprocess.run([program, "run", os.path.join(scratch, "plan.yaml"), "--workload",
                               os.path.join(scratch, "workload.yaml"), "--model",
                               MODEL, "--random", "1", "--json", "--quiet"],
                              capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-500:])
    return json.loads(done.stdout)["measured"]


def decode_us(copy, seqs, length):
    return (2 * (LAYERS * PER_LAYER + VOCAB * HIDDEN) + seqs * length * KV_BYTES) / copy * 1e6


def prefill_us(flops, length):
    attention = 4 * LAYERS * HEADS * HEAD_DIM * length * length / 2
    return (2 * LAYERS * PER_LAYER * length + attention) / flops * 1e6


def ceiling(figures, name, unit):
    return figures[name]["value"] * unit if name in figures else float("nan")


def main():
    program, path = sys.argv[1], sys.argv[2]
    report = {"figures": {}}
    try:
        with open(path) as file:
            report = json.load(file)
    except (OSError, ValueError) as why:
        print(f"no ceilings: {why}")
    figures = report["figures"]
    copy = ceiling(figures, "ceiling.copy", 1e9)
    flops = ceiling(figures, "ceiling.gemm.bf16", 1e12)
    cases = (
        ("step.decode.b1", (1, 64, 128, 64), "tpot_p50_us", decode_us(copy, 1, 128), 0.8),
        ("step.decode.b64_2k", (64, 1984, 128, 4096), "tpot_p50_us", decode_us(copy, 64, 2048), 0.75),
        ("step.prefill.4096", (1, 4096, 2, 4096), "ttft_p50_us", prefill_us(flops, 4096), 0.65),
    )
    failed = False
    for key, case, figure, least, wanted in cases:
        try:
            took = run(program, case)[figure]
        except (RuntimeError, KeyError, ValueError) as why:
            print(f"{key}: not measured: {why}")
            failed = True
            continue
        figures[key + ".us"] = {"value": took, "unit": "us", "lo": took, "hi": took, "wanted": None}
        if least == least:
            figures[key] = {"value": least / took, "unit": "", "lo": least / took, "hi": least / took, "wanted": wanted}
        print(f"{key}: {took:.0f} us, {least:.0f} us at the ceiling: {least / took:.3f}, wanted {wanted}")
        with open(path, "w") as file:
            json.dump(report, file, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
