"""A checkpoint in F8_E4M3 runs as the f32 checkpoint of the values that it stands for: the same tokens, the same logits.

usage: run.py PROGRAM FIXTURE     FIXTURE: a folder of tests/reference/fixtures in f32
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

BLOCK = 128
MATRICES = ("proj.weight", "proj_with_mqa.weight")


def widened(byte):
    exponent, mantissa = byte >> 3 & 15, byte & 7
    value = mantissa * 2.0**-9 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    return -value if byte & 128 else value


VALUES = [widened(byte) for byte in range(127)]


def narrowed(value):
    """The largest f8 that is not above the magnitude: rounding does not matter here."""
    low, high = 0, len(VALUES) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if VALUES[middle] <= abs(value) else (low, middle - 1)
    return low | (128 if value < 0 else 0)


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def read(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (t["shape"], data[slice(*t["data_offsets"])]) for name, t in header.items()}


def write(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def quantised(shape, data):
    rows, cols = shape
    values = struct.unpack(f"<{rows * cols}f", data)
    ld = -(-cols // BLOCK)
    most = [0.0] * (-(-rows // BLOCK) * ld)
    for i, value in enumerate(values):
        at = i // cols // BLOCK * ld + i % cols // BLOCK
        most[at] = max(most[at], abs(value))
    scales = [f32((m or 1.0) / 448) for m in most]
    out, wide = bytearray(), []
    for i, value in enumerate(values):
        scale = scales[i // cols // BLOCK * ld + i % cols // BLOCK]
        byte = narrowed(value / scale)
        out.append(byte)
        wide.append(f32((-1 if byte & 128 else 1) * VALUES[byte & 127] * scale))
    return (bytes(out), struct.pack(f"<{len(scales)}f", *scales), [-(-rows // BLOCK), ld],
            struct.pack(f"<{len(wide)}f", *wide))


def convert(fixture, f8, wide):
    small, large = {}, {}
    for name, (shape, data) in read(os.path.join(fixture, "model.safetensors")).items():
        if name.endswith(MATRICES):
            out, scales, grid, data = quantised(shape, data)
            small[name] = ("F8_E4M3", shape, out)
            small[name + "_scale_inv"] = ("F32", grid, scales)
        else:
            small[name] = ("F32", shape, data)
        large[name] = ("F32", shape, data)
    for folder, tensors in ((f8, small), (wide, large)):
        os.mkdir(folder)
        shutil.copy(os.path.join(fixture, "config.json"), folder)
        write(os.path.join(folder, "model.safetensors"), tensors)
    return sum(t[0] == "F8_E4M3" for t in small.values())


def run(program, folder, fixture, layers):
    plan = os.path.join(folder, "plan.yaml")
    with open(plan, "w") as file:
        file.write(f"""format: shardwright-plan
version: 1
model: {folder}
dtype: f32
kv_dtype: f32
block_tokens: 4
max_len: 112
n_ranks: 1
replicas:
  - max_seqs: 4
    max_tokens: 8
    kv_blocks: 36
    stages:
      - {{first_layer: 0, end_layer: {layers}, kind: cpu, ranks: [0]}}
""")
    files = [os.path.join(folder, name) for name in ("tokens", "logits")]
    subprocess.run([program, "run", plan, "--weights", folder, "--prompts", os.path.join(fixture, "prompts.jsonl"),
                    "--tokens", files[0], "--logits", files[1], "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return [open(name, "rb").read() for name in files]


def main():
    program, fixture = sys.argv[1], sys.argv[2]
    with open(os.path.join(fixture, "config.json")) as file:
        layers = json.load(file)["num_hidden_layers"]
    with tempfile.TemporaryDirectory() as scratch:
        f8, wide = os.path.join(scratch, "f8"), os.path.join(scratch, "wide")
        n = convert(fixture, f8, wide)
        same = run(program, f8, fixture, layers) == run(program, wide, fixture, layers)
    print(f"{n} tensors in f8: {'the same' if same else 'OTHER'} tokens and logits")
    return 0 if same and n > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
