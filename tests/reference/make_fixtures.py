#!/usr/bin/env python3
"""Makes tests/reference/fixtures: small random models of the families that the runtime executes, with
prompts, greedy tokens and logits computed by PyTorch and transformers on a CPU.

usage: make_fixtures.py OUT_DIR [NAME...]

For each model the checkpoints its row in MODELS names (the f32 weights rounded to bf16 or f16), and for each
  prompts.jsonl   token ids and how many tokens to generate
  tokens.jsonl    greedy tokens
  logits.f32      raw f32 [prompt][output token][vocabulary], the logits each token was chosen from
The reference arithmetic is f32 in all cases, checked against float64; what pure bf16 arithmetic gives is recorded
in about.json for information. Seeds are tried until every choice is clear: the best logit leads by MARGIN, so that
tokens can be compared exactly.
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from transformers import (DeepseekV3Config, DeepseekV3ForCausalLM, GptOssConfig, GptOssForCausalLM,
                          LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig,
                          Qwen3MoeForCausalLM)

MARGIN = 0.002  # of logits near 1; f32 is off by less than 1e-5
PROMPTS = [5, 33, 17]
OUTPUT = 64
VOCAB = 128
COMMON = dict(vocab_size=VOCAB, hidden_size=48, num_attention_heads=8, head_dim=8,
              max_position_embeddings=128, rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=None,
              pad_token_id=None, attn_implementation="eager", experts_implementation="eager")
PLAIN = dict(rope_type="default", rope_theta=1000000.0)
# Stretched from 16 positions on, with boundaries between and at whole dimensions.
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, beta_fast=4.0, beta_slow=0.5,
            original_max_position_embeddings=16)
DEEPSEEK = dict(
    num_hidden_layers=3, num_key_value_heads=8, intermediate_size=64, moe_intermediate_size=16,
    n_routed_experts=8, num_experts_per_tok=3, first_k_dense_replace=1, kv_lora_rank=16,
    qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=6, routed_scaling_factor=1.5, num_mtp_layers=0,
    tie_word_embeddings=False)

MODELS = {
    # Scaling from 16 positions on, so that all three branches of llama3 scaling are in use.
    "llama": (LlamaForCausalLM, LlamaConfig, ["f32", "bf16"], dict(
        num_hidden_layers=4, num_key_value_heads=4, intermediate_size=64, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=16))),
    # Biases on q, k and v, a window on the later layers; f16, in shards.
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, ["f16"], dict(
        num_hidden_layers=4, num_key_value_heads=2, intermediate_size=64, tie_word_embeddings=True,
        use_sliding_window=True, sliding_window=12, max_window_layers=1, rope_parameters=PLAIN)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, ["f32", "bf16"], dict(
        num_hidden_layers=4, num_key_value_heads=2, intermediate_size=64, tie_word_embeddings=True,
        rope_parameters=PLAIN)),
    "qwen3-moe": (Qwen3MoeForCausalLM, Qwen3MoeConfig, ["f32", "bf16"], dict(
        num_hidden_layers=3, num_key_value_heads=4, intermediate_size=64, moe_intermediate_size=16,
        num_experts=8, num_experts_per_tok=3, norm_topk_prob=True, decoder_sparse_step=1,
        mlp_only_layers=[], tie_word_embeddings=False, rope_parameters=PLAIN)),
    "mixtral": (MixtralForCausalLM, MixtralConfig, ["f32", "bf16"], dict(
        num_hidden_layers=3, num_key_value_heads=4, intermediate_size=16, num_local_experts=8,
        num_experts_per_tok=2, sliding_window=None, tie_word_embeddings=False, rope_parameters=PLAIN)),
    "deepseek-v3": (DeepseekV3ForCausalLM, DeepseekV3Config, ["f32", "bf16"], dict(
        DEEPSEEK, q_lora_rank=24, n_group=4, topk_group=2, n_shared_experts=1, norm_topk_prob=True,
        rope_parameters=dict(YARN, mscale=0.7, mscale_all_dim=1.0))),
    # No query compression, one group, two shared experts, weights of the chosen as they are.
    "deepseek-lite": (DeepseekV3ForCausalLM, DeepseekV3Config, ["f32"], dict(
        DEEPSEEK, q_lora_rank=None, n_group=1, topk_group=1, n_shared_experts=2, norm_topk_prob=False,
        rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0))),
    "gpt-oss": (GptOssForCausalLM, GptOssConfig, ["f32", "bf16"], dict(
        num_hidden_layers=4, num_key_value_heads=4, intermediate_size=16, num_local_experts=8,
        num_experts_per_tok=3, sliding_window=12, swiglu_limit=1.25, tie_word_embeddings=False,
        rope_parameters=dict(YARN, truncate=False))),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def weights(model):
    """Parameters, and the bias that DeepSeek keeps as a buffer."""
    yield from model.named_parameters()
    for key, buffer in model.named_buffers():
        if "e_score_correction_bias" in key:
            yield key, buffer


def make(name, seed):
    cls, config_cls, _, special = MODELS[name]
    torch.manual_seed(seed)
    model = cls(config_cls(**COMMON, **special)).eval().float()
    with torch.no_grad():
        for key, p in weights(model):
            if key.endswith("bias"):
                p.copy_(0.2 * torch.randn_like(p))
            elif key.endswith("sinks"):
                p.copy_(torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(1 + 0.1 * torch.randn_like(p))
            else:
                transposed = name == "gpt-oss" and p.dim() == 3  # [expert, in, out]
                p.copy_(torch.randn_like(p) / p.shape[-2 if transposed else -1] ** 0.5)
            if "embed_tokens" in key:
                p.copy_(torch.randn_like(p) * (p.shape[-1] ** -0.5 if model.config.tie_word_embeddings else 1))
    return model


def round_weights(model, dtype):
    """Weights alone: a cast of the module would round the rope frequencies too, which loading does not."""
    with torch.no_grad():
        for _, p in weights(model):
            p.copy_(p.to(dtype).float())
    return model


def greedy(model, prompts):
    """Tokens and the logits behind them, each from a full forward pass over what stands before it. (None, None)
    as soon as the best logit does not lead by MARGIN."""
    tokens, logits = [], []
    with torch.no_grad():
        for prompt in prompts:
            ids, out, rows = list(prompt), [], []
            for _ in range(OUTPUT):
                row = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
                best = row.topk(2).values
                if best[0] - best[1] < MARGIN:
                    return None, None
                out.append(int(row.argmax()))
                rows.append(row.float())
                ids.append(out[-1])
            tokens.append(out)
            logits.append(torch.stack(rows))
    return tokens, torch.stack(logits)


def check(model, prompts, tokens, logits):
    """The same in float64, teacher-forced: f32 must be near it, and choose the same tokens."""
    wide = model.double()
    # The frequencies are computed in f32 by any implementation; angles must not be computed better here.
    with torch.no_grad():
        rows = torch.stack([wide(torch.tensor([p + t])).logits[0, len(p) - 1:len(p) + OUTPUT - 1]
                            for p, t in zip(prompts, tokens)])
    model.float()
    error = float((rows - logits.double()).norm() / rows.norm())
    if error > 1e-5 or not torch.equal(rows.argmax(-1), torch.tensor(tokens)):
        sys.exit(f"f32 and float64 disagree: relative error {error}")
    return error


def write(out, model, prompts, tokens, logits, shard_size):
    model.save_pretrained(out, safe_serialization=True, max_shard_size=shard_size)
    (out / "generation_config.json").unlink(missing_ok=True)
    with open(out / "prompts.jsonl", "w") as f:
        for prompt in prompts:
            f.write(json.dumps({"prompt": prompt, "output_len": OUTPUT}) + "\n")
    with open(out / "tokens.jsonl", "w") as f:
        for i, row in enumerate(tokens):
            f.write(json.dumps({"request": i, "tokens": row}) + "\n")
    (out / "logits.f32").write_bytes(logits.numpy().astype("<f4").tobytes())


def pure_bf16_error(name, seed, prompts, tokens, logits):
    pure = make(name, seed)
    for _, p in weights(pure):
        p.data = p.data.bfloat16()
    with torch.no_grad():
        rows = [pure(torch.tensor([p + t])).logits[0, len(p) - 1:len(p) + OUTPUT - 1].float()
                for p, t in zip(prompts, tokens)]
    return float((torch.stack(rows) - logits).norm() / logits.norm())


def reference(name, seed):
    """dtype -> (model, prompts, tokens, logits), or None where a choice is not clear."""
    g = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(0, VOCAB, (n,), generator=g).tolist() for n in PROMPTS]
    found = {}
    for dtype in MODELS[name][2]:
        model = round_weights(make(name, seed), DTYPES[dtype])
        tokens, logits = greedy(model, prompts)
        if tokens is None:
            return None
        found[dtype] = (model, prompts, tokens, logits)
    return found


def main():
    base = pathlib.Path(sys.argv[1])
    names = sys.argv[2:] or list(MODELS)
    about_path = base / "about.json"
    about = {"models": {}}
    if sys.argv[2:] and about_path.exists():
        about = json.loads(about_path.read_text())
    about.update(torch=torch.__version__, transformers=transformers.__version__)
    torch.set_num_threads(1)
    for name in names:
        seed = next(seed for seed in range(1, 1000) if reference(name, seed))
        facts = {"seed": seed, "float64_relative_error": 0}
        for dtype, (model, prompts, tokens, logits) in reference(name, seed).items():
            facts["float64_relative_error"] = max(facts["float64_relative_error"],
                                                  check(model, prompts, tokens, logits))
            if dtype == "bf16":
                facts["pure_bf16_relative_error"] = pure_bf16_error(name, seed, prompts, tokens, logits)
            out = base / f"{name}-{dtype}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            write(out, round_weights(make(name, seed), DTYPES[dtype]).to(DTYPES[dtype]), prompts, tokens, logits,
                  "64KB" if dtype == "f16" else "5GB")
        about["models"][name] = facts
        print(name, facts, flush=True)
    about_path.write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
