#!/usr/bin/env python3
"""Makes tests/reference/fixtures: small random models of the families that the runtime executes, with
prompts, greedy tokens and logits computed by PyTorch and transformers on a CPU.

usage: make_fixtures.py OUT_DIR

For each model two checkpoints, f32 and bf16 (the f32 weights rounded), and for each of them
  prompts.jsonl   token ids and how many tokens to generate
  tokens.jsonl    greedy tokens
  logits.f32      raw f32 [prompt][output token][vocabulary], the logits each token was chosen from
The reference arithmetic is f32 in both cases; what pure bf16 arithmetic gives is recorded in about.json
for information. Seeds are tried until every choice is clear: the best logit leads by MARGIN, so that
tokens can be compared exactly.
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from transformers import (LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM)

MARGIN = 0.02
PROMPTS = [5, 17, 33, 9]
OUTPUT = 12
COMMON = dict(vocab_size=256, hidden_size=48, num_attention_heads=8, head_dim=8,
              max_position_embeddings=128, rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=None,
              pad_token_id=None)

MODELS = {
    # Scaling from 16 positions on, so that all three branches of llama3 scaling are in use.
    "llama": (LlamaForCausalLM, LlamaConfig, dict(
        num_hidden_layers=4, num_key_value_heads=4, intermediate_size=64, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=16))),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, dict(
        num_hidden_layers=4, num_key_value_heads=2, intermediate_size=64, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen3-moe": (Qwen3MoeForCausalLM, Qwen3MoeConfig, dict(
        num_hidden_layers=3, num_key_value_heads=4, intermediate_size=64, moe_intermediate_size=16,
        num_experts=8, num_experts_per_tok=3, norm_topk_prob=True, decoder_sparse_step=1,
        mlp_only_layers=[], tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "mixtral": (MixtralForCausalLM, MixtralConfig, dict(
        num_hidden_layers=3, num_key_value_heads=4, intermediate_size=16, num_local_experts=8,
        num_experts_per_tok=2, sliding_window=None, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
}


def make(name, seed):
    cls, config_cls, special = MODELS[name]
    torch.manual_seed(seed)
    model = cls(config_cls(**COMMON, **special)).eval().float()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_(1 + 0.1 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) / p.shape[-1] ** 0.5)
            if "embed_tokens" in key:
                p.copy_(torch.randn_like(p) * (p.shape[-1] ** -0.5 if model.config.tie_word_embeddings else 1))
    return model


def round_weights(model):
    """Weights alone: a cast of the module would round the rope frequencies too, which loading does not."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16().float())
    return model


def greedy(model, prompts):
    """Tokens and the logits behind them, each from a full forward pass over what stands before it."""
    tokens, logits = [], []
    with torch.no_grad():
        for prompt in prompts:
            ids, out, rows = list(prompt), [], []
            for _ in range(OUTPUT):
                row = model(torch.tensor([ids])).logits[0, -1]
                out.append(int(row.argmax()))
                rows.append(row.float())
                ids.append(out[-1])
            tokens.append(out)
            logits.append(torch.stack(rows))
    return tokens, torch.stack(logits)


def margin(logits):
    best = logits.topk(2, dim=-1).values
    return float((best[..., 0] - best[..., 1]).min())


def write(out, model, prompts, tokens, logits):
    model.save_pretrained(out, safe_serialization=True)
    (out / "generation_config.json").unlink(missing_ok=True)
    with open(out / "prompts.jsonl", "w") as f:
        for prompt in prompts:
            f.write(json.dumps({"prompt": prompt, "output_len": OUTPUT}) + "\n")
    with open(out / "tokens.jsonl", "w") as f:
        for i, row in enumerate(tokens):
            f.write(json.dumps({"request": i, "tokens": row}) + "\n")
    (out / "logits.f32").write_bytes(logits.numpy().astype("<f4").tobytes())


def main():
    base = pathlib.Path(sys.argv[1])
    about = {"torch": torch.__version__, "transformers": transformers.__version__, "models": {}}
    torch.set_num_threads(1)
    for name in MODELS:
        for seed in range(1, 1000):
            model = make(name, seed)
            g = torch.Generator().manual_seed(seed)
            prompts = [torch.randint(0, 256, (n,), generator=g).tolist() for n in PROMPTS]
            tokens, logits = greedy(model, prompts)
            rounded = round_weights(make(name, seed))
            tokens16, logits16 = greedy(rounded, prompts)
            if min(margin(logits), margin(logits16)) > MARGIN:
                break
        for dtype, m, t, l in (("f32", model, tokens, logits), ("bf16", rounded, tokens16, logits16)):
            out = base / f"{name}-{dtype}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            write(out, m.bfloat16() if dtype == "bf16" else m, prompts, t, l)
        pure = make(name, seed)
        for p in pure.parameters():
            p.data = p.data.bfloat16()
        with torch.no_grad():
            rows = [pure(torch.tensor([p + t])).logits[0, len(p) - 1:len(p) + OUTPUT - 1].float()
                    for p, t in zip(prompts, tokens16)]
        error = float((torch.stack(rows) - logits16).norm() / logits16.norm())
        about["models"][name] = {"seed": seed, "margin": min(margin(logits), margin(logits16)),
                                 "pure_bf16_relative_error": error}
        print(name, about["models"][name])
    (base / "about.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
