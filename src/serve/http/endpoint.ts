/** A route with its entry in the OpenAPI document, and the reading of bodies. */
import { z } from '@hono/zod-openapi';
import type { Context, Handler } from 'hono';
import { whatIsWrong } from '../../errors/arguments.ts';
import type { Routes, Variables } from '../core.ts';
import { Problem } from './problem.ts';

export interface Endpoint {
  method: 'get' | 'post' | 'delete' | 'patch';
  /** With parameters in braces: `/v1/jobs/{id}`. */
  path: string;
  /** The skin's name. */
  tag: string;
  summary: string;
  /** What the body holds. */
  body?: z.ZodType;
  /** Default `application/json`. */
  bodyType?: 'application/json' | 'multipart/form-data';
  query?: z.ZodObject;
  /** What it answers with: a schema of JSON, or another media type. Default: any JSON. */
  answer?: z.ZodType | string;
  /** Media types of what it answers with instead if a request asks for it. */
  otherwise?: readonly string[];
  /** Default 200. */
  status?: number;
}

export type RequestContext = Context<{ Variables: Variables }>;

/** Adds a route and documents it. */
export function endpoint(app: Routes, described: Endpoint, handler: Handler<{ Variables: Variables }>): void {
  const {
    method,
    path,
    tag,
    summary,
    body,
    bodyType = 'application/json',
    query,
    answer,
    otherwise = [],
    status = 200,
  } = described;
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  const type = typeof answer === 'string' ? answer : 'application/json';
  const schema = typeof answer === 'object' ? answer : typeof answer === 'string' ? z.string() : z.unknown();
  app.openAPIRegistry.registerPath({
    method,
    path,
    tags: [tag],
    summary,
    request: {
      ...(names.length > 0 ? { params: z.object(Object.fromEntries(names.map((name) => [name, z.string()]))) } : {}),
      ...(query ? { query } : {}),
      ...(body ? { body: { required: true, content: { [bodyType]: { schema: body } } } } : {}),
    },
    responses: {
      [status]: {
        description: 'as asked for',
        content: {
          [type]: { schema },
          ...Object.fromEntries(otherwise.map((other) => [other, { schema: z.string() }])),
        },
      },
      default: { description: 'what is wrong, in a line', content: { 'application/json': { schema: z.unknown() } } },
    },
  });
  app.on(method.toUpperCase(), path.replace(/\{(\w+)\}/g, ':$1'), handler);
}

/**
 * A JSON body, whatever it says its type is: some clients do not say.
 * @throws Problem 400 naming the field
 */
export async function readJson<Schema extends z.ZodType>(
  context: RequestContext,
  schema: Schema,
): Promise<z.infer<Schema>> {
  let body: unknown;
  try {
    body = JSON.parse(await context.req.text());
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem(400, 'the body is not valid JSON', { code: 'invalid_json', cause });
  }
  return checked(schema, body);
}

/** @throws Problem 400 naming the field */
export function checked<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const wrong = whatIsWrong(schema, value, '')!;
  const param = wrong.path.replace(/^\./, '');
  throw new Problem(400, wrong.message, { param: param || undefined });
}

/**
 * The parts of a form by name; `image[]` is `image`.
 * @throws Problem 400 if the body is no form
 */
export async function readForm(context: RequestContext): Promise<Map<string, (File | string)[]>> {
  let form: FormData;
  try {
    form = await context.req.formData();
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem(400, 'the body is not multipart/form-data', { cause });
  }
  const parts = new Map<string, (File | string)[]>();
  for (const [key, value] of form) {
    const name = key.replace(/\[\]$/, '');
    parts.set(name, [...(parts.get(name) ?? []), value as File | string]);
  }
  return parts;
}
