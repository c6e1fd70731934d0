export { disableCache, enableCache } from './api/enable-cache.ts';
export { summary } from './api/summary.ts';
export { Image } from './images/image.ts';
export { AutoModel, loadModel } from './models/auto-model.ts';
export { loadPipeline } from './pipelines/load-pipeline.ts';
export { loadLora } from './pipelines/lora/lora.ts';
export { createBackend } from './runtime/create-backend.ts';
export { ProgramCache } from './runtime/program-cache.ts';
