import { bundledModel, DiffusionPipeline, enableCache } from 'deja-dit';
const pipe = await DiffusionPipeline.fromPretrained(bundledModel()); // or a folder, or a repository id of the Hugging Face hub
enableCache(pipe);
const { images } = await pipe.generate({
    prompt: 'red apple, flat style', seed: 7, numInferenceSteps: 28,
    onStep: ({ step, steps, action }) => console.log(`${step}/${steps} ${action}`),
});
await images[0].save('apple.png');
