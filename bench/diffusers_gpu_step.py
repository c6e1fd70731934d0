"""Step times of FLUX's width on a CUDA card: one double and one single block, bfloat16, eager and compiled (bench/gpu.sh)."""
import time

import torch
from diffusers import FluxTransformer2DModel


def median_step(model, inputs, runs=20):
    times = []
    with torch.no_grad():
        for _ in range(runs + 3):
            torch.cuda.synchronize()
            start = time.perf_counter()
            model(**inputs)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return sorted(times[3:])[runs // 2] * 1000


def main():
    model = FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True).to("cuda", torch.bfloat16)
    for edge in (32, 64):
        ids = torch.cartesian_prod(torch.zeros(1), torch.arange(edge), torch.arange(edge))
        inputs = {
            "hidden_states": torch.randn(1, edge * edge, 64),
            "encoder_hidden_states": torch.randn(1, 512, 4096),
            "pooled_projections": torch.randn(1, 768),
            "timestep": torch.tensor([0.5]),
            "guidance": torch.tensor([3.5]),
            "img_ids": ids,
            "txt_ids": torch.zeros(512, 3),
        }
        inputs = {name: value.to("cuda", torch.bfloat16) for name, value in inputs.items()}
        eager = median_step(model, inputs)
        compiled = median_step(torch.compile(model), inputs)
        print(f"{edge * edge} tokens: eager {eager:.1f} ms, compiled {compiled:.1f} ms  (torch {torch.__version__})")


if __name__ == "__main__":
    main()
