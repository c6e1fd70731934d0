#!/usr/bin/env bash
# What a GPU does, in a few minutes, on a machine that has one: whether every family computes right on it in float32 and float16, and step
# times beside PyTorch's on the same card. Needs a graphics driver with Vulkan (Linux); with a Python that has torch with CUDA and
# diffusers as PYTHON, its times too. Run from the repository root, after npm ci.
set -euo pipefail
cd "$(dirname "$0")/.."
npm run --silent build
node dist/cli/main.js doctor

echo "== every family, float32 (1e-4) and float16 (5e-3)"
DEJA_DIT_TEST_BACKEND=webgpu timeout 150 npx vitest run --no-isolate --maxWorkers=1 src/models/transformers src/models/text-encoders -t "forward\\(\\) returns|equal Transformers without a mask"
timeout 90 npx vitest run --no-isolate --maxWorkers=1 src/runtime/webgpu.test.ts src/models/float16.test.ts src/pipelines/webgpu.test.ts

for dtype in float32 float16; do
  echo "== step times, $dtype"
  timeout 120 node dist/cli/main.js bench --backend webgpu --compute-dtype "$dtype"
done
if [ -n "${PYTHON:-}" ]; then
  echo "== PyTorch on the same card, bfloat16"
  timeout 120 "$PYTHON" bench/diffusers_gpu_step.py
fi
