/** Pixels as plain data, for the parts that work on images without being one. */
export interface Pixels {
  width: number;
  height: number;
  channels: 3 | 4;
  /** `height * width * channels` bytes, channels interleaved. */
  data: Uint8Array;
}
