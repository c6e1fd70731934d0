/**
 * Tensors on a GPU. Two sessions of one Identity operator for each type of number move them: one leaves its output on the device, the
 * other brings it to the host. This works in Node, where a buffer on the device is an opaque handle, as in browsers.
 *
 * What is built around here, seen with ONNX Runtime 1.30: reading a GPU tensor's data directly ends the process; so does touching or
 * freeing one after the session that made it (`shared-session.ts`), or after the last session of the process, which is why one session
 * is never released; numbers of some types cannot be on the device at all.
 */
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-common';
import { encodeIdentity } from '../../graph/encode.ts';
import type { DType } from '../../tensor/dtype.ts';
import { sizeOf, type Tensor } from '../../tensor/tensor.ts';
import { freeMemory } from './free-memory.ts';
import { HostMemory, wrap } from './host-memory.ts';
import type { OrtModule } from './ort-backend.ts';
import { SharedSession } from './shared-session.ts';
import type { Call, TensorMemory, TensorPlace } from './tensor-memory.ts';

type SessionOptions = InferenceSession.SessionOptions;

/** Numbers of other types stay on the host, and go to the device with every run that takes them. */
const deviceTypes: readonly string[] = ['float32', 'float16', 'uint8', 'int32', 'int64'];

const onDevice: SessionOptions = { preferredOutputLocation: 'gpu-buffer' };

/** Never released: with the last session the device would go, and with it the process. */
let anchor: Promise<InferenceSession> | undefined;

export interface DevicePlaceOptions {
  ort: OrtModule;
  sessionOptions: SessionOptions;
  call: Call;
}

export function devicePlace(options: DevicePlaceOptions): TensorPlace {
  const movers = new Movers(options);
  return {
    sessionOptions: onDevice,
    upload(tensor, own) {
      const host = wrap(options.ort, tensor);
      if (!deviceTypes.includes(host.type) || sizeOf(tensor.shape) === 0) return new HostMemory(host, own);
      return new DeviceMemory(movers.upload(host, own), movers);
    },
    adopt(tensor, maker) {
      if (tensor.location !== 'gpu-buffer') return new HostMemory(tensor, true);
      maker.hold();
      return new DeviceMemory(Promise.resolve({ tensor, maker }), movers);
    },
    dispose: () => movers.dispose(),
  };
}

/** A tensor on the device, and the session that it needs, which it holds. */
interface Made {
  readonly tensor: OrtTensor;
  readonly maker: SharedSession;
}

class DeviceMemory implements TensorMemory {
  constructor(
    private readonly made: Promise<Made>,
    private readonly movers: Movers,
  ) {
    // The run that takes the tensor reports why it is not there.
    made.catch(() => undefined);
  }

  async ort(): Promise<OrtTensor> {
    return (await this.made).tensor;
  }

  read(): Promise<Tensor['data']> {
    return this.movers.download(this);
  }

  free(): void {
    this.made
      .then(({ tensor, maker }) => {
        tensor.dispose();
        return maker.drop();
      })
      .catch(() => undefined);
  }
}

/** The Identity sessions of a backend, made when first needed. */
class Movers {
  private readonly sessions = new Map<string, Promise<SharedSession>>();

  constructor(private readonly options: DevicePlaceOptions) {}

  upload(host: OrtTensor, own: boolean): Promise<Made> {
    return this.options.call(async () => {
      const maker = await this.session(host.type, 'up');
      const { y } = await maker.session.run({ x: host });
      maker.hold();
      if (own) freeMemory(host.data as Tensor['data']);
      return { tensor: y!, maker };
    });
  }

  download(memory: TensorMemory): Promise<Tensor['data']> {
    return this.options.call(async () => {
      const x = await memory.ort();
      const { y } = await (await this.session(x.type, 'down')).session.run({ x });
      return y!.data as Tensor['data'];
    });
  }

  async dispose(): Promise<void> {
    const sessions = [...this.sessions.values()];
    this.sessions.clear();
    for (const session of sessions) await (await session).drop();
  }

  private session(type: string, direction: 'up' | 'down'): Promise<SharedSession> {
    const key = `${type} ${direction}`;
    let session = this.sessions.get(key);
    if (!session) {
      session = this.create(type, direction);
      this.sessions.set(key, session);
      session.catch(() => this.sessions.delete(key));
    }
    return session;
  }

  private async create(type: string, direction: 'up' | 'down'): Promise<SharedSession> {
    const { ort, sessionOptions, call } = this.options;
    anchor ??= ort.InferenceSession.create(encodeIdentity('float32'), sessionOptions);
    await anchor.catch(() => {
      anchor = undefined;
    });
    const place = direction === 'up' ? onDevice : {};
    const model = encodeIdentity(type as DType);
    return new SharedSession(await ort.InferenceSession.create(model, { ...sessionOptions, ...place }), call);
  }
}
