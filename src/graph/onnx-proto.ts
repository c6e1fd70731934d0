/**
 * Writes ONNX protobuf messages: only the fields this engine emits, by their numbers in onnx.proto (IR version 10).
 * What the messages mean is decided in `encode.ts`; this file knows nothing but the wire format.
 */

/** A growing byte buffer with protobuf's primitive encodings. */
export class ProtoWriter {
  // Most messages are small and there are thousands: up to 64 bytes V8 needs no memory outside its heap.
  private bytes = new Uint8Array(64);
  private length = 0;

  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  /** Field of an integer (int32, int64, enum), omitted at its default 0 unless `always`. */
  integer(field: number, value: number, always = false): this {
    if (value === 0 && !always) return this;
    this.varint(field << 3);
    this.signedVarint(value);
    return this;
  }

  string(field: number, value: string): this {
    return value === '' ? this : this.blob(field, utf8.encode(value));
  }

  /** Length-delimited bytes; written even when empty, since a repeated string may be "". */
  blob(field: number, value: Uint8Array): this {
    this.varint((field << 3) | 2);
    this.varint(value.length);
    this.reserve(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
    return this;
  }

  float(field: number, value: number): this {
    this.varint((field << 3) | 5);
    this.reserve(4);
    new DataView(this.bytes.buffer).setFloat32(this.length, value, true);
    this.length += 4;
    return this;
  }

  packedIntegers(field: number, values: readonly number[]): this {
    const inner = new ProtoWriter();
    for (const value of values) inner.signedVarint(value);
    return this.blob(field, inner.finish());
  }

  message(field: number, write: (inner: ProtoWriter) => void): this {
    const inner = new ProtoWriter();
    write(inner);
    return this.blob(field, inner.bytes.subarray(0, inner.length));
  }

  private signedVarint(value: number): void {
    if (value >= 0) this.varint(value);
    else {
      // Negative int64: ten bytes of two's complement.
      let rest = BigInt.asUintN(64, BigInt(value));
      for (; rest >= 128n; rest >>= 7n) this.byte(Number(rest & 127n) | 128);
      this.byte(Number(rest));
    }
  }

  private varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.byte((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    this.byte(rest);
  }

  private byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  private reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }
}

const utf8 = new TextEncoder();
