/** A picture that FLUX.3 changes as a whole: nothing of it is cut; its reflection fills what is missing to whole tokens. */
import { type Box, Image } from '../../images/image.ts';

const largestArea = 4 * 1024 ** 2;
const largestEdge = 4096;
const smallestEdge = 64;

export interface FilledPicture {
  /** At the size that is drawn. */
  canvas: Image;
  /** Where the picture is in it. */
  box: Box;
}

/** @param multiple pixels of a token along an edge */
export async function filledPicture(image: Image, multiple: number): Promise<FilledPicture> {
  const { width, height, canvas } = fittingSize(image, multiple);
  const sized = width === image.width && height === image.height ? image : await image.resize(width, height);
  const box = {
    left: Math.floor((canvas.width - width) / 2),
    top: Math.floor((canvas.height - height) / 2),
    width,
    height,
  };
  return { canvas: reflected(sized, { ...canvas, box, mirrorEdges: Math.min(width, height) <= multiple }), box };
}

interface Size {
  width: number;
  height: number;
}

/** Its size, brought down until the canvas around it is no larger than the model can draw. */
function fittingSize(image: Size, multiple: number): Size & { canvas: Size } {
  const canvasEdge = (edge: number) =>
    Math.min(largestEdge, Math.max(smallestEdge, Math.ceil(edge / multiple) * multiple));
  const byArea = Math.sqrt(largestArea / (image.width * image.height));
  let scale = Math.min(1, byArea, largestEdge / Math.max(image.width, image.height));
  for (;;) {
    const edge = (length: number) => Math.max(1, Math.round(length * scale));
    const [width, height] = [edge(image.width), edge(image.height)];
    const canvas = { width: canvasEdge(width), height: canvasEdge(height) };
    if (canvas.width * canvas.height <= largestArea) return { width, height, canvas };
    scale *= 0.995;
  }
}

interface Reflection extends Size {
  box: Box;
  /** Whether pixels at the edges stand twice, side by side. */
  mirrorEdges: boolean;
}

function reflected(image: Image, { width, height, box, mirrorEdges }: Reflection): Image {
  if (width === image.width && height === image.height) return image;
  const { channels } = image;
  const place = (at: number, size: number) => {
    const period = Math.max(1, mirrorEdges ? 2 * size : 2 * (size - 1));
    const within = ((at % period) + period) % period;
    return within < size ? within : period - within - (mirrorEdges ? 1 : 0);
  };
  const columns = Array.from({ length: width }, (_, x) => place(x - box.left, image.width));
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const row = place(y - box.top, image.height) * image.width;
    for (let x = 0; x < width; x++)
      for (let c = 0; c < channels; c++)
        data[(y * width + x) * channels + c] = image.data[(row + columns[x]!) * channels + c]!;
  }
  return new Image({ width, height, channels, data });
}
