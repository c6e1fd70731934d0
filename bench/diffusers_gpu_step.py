"""Step times of the models of `deja-dit bench --backend webgpu` with made-up weights, on a CUDA card: bfloat16, eager and compiled
(bench/gpu.sh). With --dry-run, one step of a small model on whatever there is."""
import sys
import time

import torch
from diffusers import FluxTransformer2DModel

dry_run = "--dry-run" in sys.argv
device = "cpu" if dry_run and not torch.cuda.is_available() else "cuda"
text_width = 1024

# Heads, head dim, axes of positions, double and single blocks; edges of the image and text tokens.
sizes = {
    "DiT-XL size": (16, 72, (8, 32, 32), 2, 4, [(16, 16)]),
    "FLUX.1 size": (24, 128, (16, 56, 56), 1, 1, [(16, 128), (32, 512), (64, 512)]),
}
if dry_run:
    sizes = {"small": (2, 16, (4, 6, 6), 1, 1, [(4, 4)])}


def median_step(model, inputs, runs=1 if dry_run else 20):
    times = []
    with torch.no_grad():
        for _ in range(runs + 3):
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            model(**inputs)
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return sorted(times[3:])[runs // 2] * 1000


def main():
    for name, (heads, head_dim, axes, double, single, shapes) in sizes.items():
        model = FluxTransformer2DModel(
            num_layers=double,
            num_single_layers=single,
            num_attention_heads=heads,
            attention_head_dim=head_dim,
            axes_dims_rope=axes,
            joint_attention_dim=text_width,
            guidance_embeds=False,
        ).to(device, torch.bfloat16)
        for edge, text in shapes:
            inputs = {
                "hidden_states": torch.randn(1, edge * edge, 64),
                "encoder_hidden_states": torch.randn(1, text, text_width),
                "pooled_projections": torch.randn(1, 768),
                "timestep": torch.tensor([0.5]),
                "img_ids": torch.cartesian_prod(torch.zeros(1), torch.arange(float(edge)), torch.arange(float(edge))),
                "txt_ids": torch.zeros(text, 3),
            }
            inputs = {key: value.to(device, torch.bfloat16) for key, value in inputs.items()}
            eager = median_step(model, inputs)
            compiled = median_step(torch.compile(model), inputs)
            print(
                f"{name}, {edge * edge} + {text} tokens: eager {eager:.1f} ms, compiled {compiled:.1f} ms"
                f"  (torch {torch.__version__}, {device})"
            )


if __name__ == "__main__":
    main()
