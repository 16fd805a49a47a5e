// Shape: the configuration's schema as a plain tree of sections, lists, records and values. The only file that reads zod's insides and
// the only place where snake_case (files, environment, flags) meets camelCase (code).

import { z } from 'zod';
import { snake } from '../observe/redact.js';
import { configSchema } from './schema.js';

export interface Leaf {
  readonly kind: 'leaf';
  readonly schema: z.ZodType;
  /** What it holds, in words. */
  readonly type: string;
  readonly secret: boolean;
}

export interface Section {
  readonly kind: 'section';
  /** By outer name (snake_case). */
  readonly fields: ReadonlyMap<string, Field>;
}

export type Shape =
  | Leaf
  | Section
  /** Names are the user's own. */
  | { readonly kind: 'record'; readonly value: Shape }
  | { readonly kind: 'list'; readonly item: Shape }
  /** A section whose form depends on its field `kind`. */
  | { readonly kind: 'choice'; readonly options: ReadonlyMap<string, Section> };

export interface Field {
  /** Name in code (camelCase). */
  readonly name: string;
  readonly shape: Shape;
  readonly description: string;
  /** undefined: none. */
  readonly fallback: unknown;
  readonly required: boolean;
}

/** The whole configuration. */
export const configShape: Section = sectionOf(configSchema.def.shape);

function sectionOf(fields: Readonly<Record<string, z.core.$ZodType>>): Section {
  return {
    kind: 'section',
    fields: new Map(Object.entries(fields).map(([name, s]) => [snake(name), fieldOf(name, s)])),
  };
}

function fieldOf(name: string, schema: z.core.$ZodType): Field {
  const meta = z.globalRegistry.get(schema) ?? {};
  let inner = schema;
  let fallback: unknown;
  let required = true;
  let type = meta.type;
  for (;;) {
    if (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
      if (inner instanceof z.ZodDefault) fallback ??= inner.def.defaultValue;
      required = false;
      inner = inner.def.innerType;
    } else if (inner instanceof z.ZodOptional || inner instanceof z.ZodExactOptional) {
      required = false;
      inner = inner.def.innerType;
    } else break;
    type ??= z.globalRegistry.get(inner)?.type;
  }
  const words = typeof type === 'string' ? type : undefined;
  return { name, shape: shapeOf(inner, words), description: meta.description ?? '', fallback, required };
}

function shapeOf(schema: z.core.$ZodType, type?: string): Shape {
  if (schema instanceof z.ZodObject) return sectionOf(schema.def.shape);
  if (schema instanceof z.ZodRecord) return { kind: 'record', value: shapeOf(schema.def.valueType) };
  if (schema instanceof z.ZodArray) return { kind: 'list', item: shapeOf(schema.def.element) };
  if (schema instanceof z.ZodDiscriminatedUnion) {
    const options = schema.def.options.flatMap((option) => {
      if (!(option instanceof z.ZodObject)) return [];
      const kind: unknown = option.def.shape.kind;
      return kind instanceof z.ZodLiteral ? [[String(kind.value), sectionOf(option.def.shape)] as const] : [];
    });
    return { kind: 'choice', options: new Map(options) };
  }
  if (!(schema instanceof z.ZodType)) throw new TypeError('configuration: a schema that is not zod classic');
  return { kind: 'leaf', schema, type: type ?? typeWords(schema), secret: type === 'secret' };
}

function typeWords(schema: z.ZodType): string {
  if (schema instanceof z.ZodEnum) return `one of ${schema.options.join(', ')}`;
  if (schema instanceof z.ZodLiteral) return `one of ${[...schema.values].map(String).join(', ')}`;
  if (schema instanceof z.ZodBoolean) return 'true or false';
  if (schema instanceof z.ZodNumber) {
    const { minValue: low, maxValue: high } = schema;
    const range = low === null || high === null ? '' : `, ${low} to ${high}`;
    return `${schema.format === 'safeint' ? 'whole number' : 'number'}${range}`;
  }
  if (schema instanceof z.ZodString) return 'text';
  return 'any';
}

/** Outer key of a path in code: ["nats", "tls", "keyFile"] is "nats.tls.key_file". Names inside records stay as they are. */
export function keyOf(path: readonly PropertyKey[]): string {
  const parts: string[] = [];
  let shape: Shape | undefined = configShape;
  for (const step of path) {
    const part = String(step);
    const inSection: boolean = shape?.kind === 'section' || shape?.kind === 'choice';
    const outer: string = inSection ? snake(part) : part;
    parts.push(outer);
    shape = shape && childOf(shape, outer);
  }
  return parts.join('.');
}

/** What stands under an outer name; undefined when there is no such thing. Of a choice, any option's field will do for naming. */
export function childOf(shape: Shape, outer: string): Shape | undefined {
  switch (shape.kind) {
    case 'section':
      return shape.fields.get(outer)?.shape;
    case 'record':
      return shape.value;
    case 'list':
      return shape.item;
    case 'choice':
      for (const option of shape.options.values()) {
        const field = option.fields.get(outer);
        if (field) return field.shape;
      }
      return undefined;
    case 'leaf':
      return undefined;
  }
}

/** It is a secret, or one can stand somewhere below it. */
export function bearsSecret(shape: Shape): boolean {
  switch (shape.kind) {
    case 'leaf':
      return shape.secret;
    case 'record':
      return bearsSecret(shape.value);
    case 'list':
      return bearsSecret(shape.item);
    case 'section':
      return [...shape.fields.values()].some((field) => bearsSecret(field.shape));
    case 'choice':
      return [...shape.options.values()].some(bearsSecret);
  }
}

/** The shape of what an outer key names, whatever the list index. */
export function shapeAt(key: string): Shape | undefined {
  let shape: Shape | undefined = configShape;
  for (const part of key.split('.')) shape = shape && childOf(shape, part);
  return shape;
}

/** One setting as the user meets it, for `--help` and docs/configuration.md. */
export interface Setting {
  /** "nats.servers"; "worker.engines.<i>.slots" inside lists; "coordinator.weights.tenant.<name>" inside records. */
  readonly key: string;
  /** Environment variable. */
  readonly env: string;
  /** What it holds, in words. */
  readonly type: string;
  /** undefined: none. */
  readonly fallback: unknown;
  readonly required: boolean;
  readonly description: string;
  readonly secret: boolean;
  /** The kinds of engine that have it; absent outside of engines. */
  readonly kinds?: readonly string[];
}

/** Every setting, in the order of the schema. */
export function settings(): readonly Setting[] {
  return [...configShape.fields].flatMap(([section, field]) => settingsUnder(section, field.shape));
}

/** Sections with their description, in order. */
export function sections(): readonly { readonly name: string; readonly description: string }[] {
  return [...configShape.fields].map(([name, field]) => ({ name, description: field.description }));
}

function settingsUnder(key: string, shape: Shape): Setting[] {
  switch (shape.kind) {
    case 'section':
      return [...shape.fields].flatMap(([outer, field]) => settingsOf(`${key}.${outer}`, field));
    case 'record':
      return settingsUnder(`${key}.<name>`, shape.value);
    case 'list':
      return settingsUnder(`${key}.<i>`, shape.item);
    case 'choice':
      return [
        kindRow(key, [...shape.options.keys()]),
        ...merged(
          [...shape.options].flatMap(([kind, option]) =>
            settingsUnder(key, option)
              .filter((row) => row.key !== `${key}.kind`)
              .map((row) => ({ ...row, kinds: [kind] })),
          ),
        ),
      ];
    case 'leaf':
      return [];
  }
}

function settingsOf(key: string, field: Field): Setting[] {
  const { shape } = field;
  const inner = settingsUnder(key, shape);
  if (shape.kind === 'section') return inner;
  const row: Setting = {
    key,
    env: envOf(key),
    type: shapeWords(shape),
    fallback: field.fallback,
    required: field.required,
    description: field.description,
    secret: shape.kind === 'leaf' && shape.secret,
  };
  return [row, ...inner];
}

function kindRow(key: string, kinds: readonly string[]): Setting {
  return {
    key: `${key}.kind`,
    env: envOf(`${key}.kind`),
    type: `one of ${kinds.join(', ')}`,
    fallback: undefined,
    required: true,
    description: 'What it is; decides which of the settings below it has.',
    secret: false,
  };
}

function shapeWords(shape: Shape): string {
  switch (shape.kind) {
    case 'leaf':
      return shape.type;
    case 'list':
      return `list of ${shape.item.kind === 'leaf' ? shape.item.type : 'sections'}`;
    case 'record':
      return `name: ${shapeWords(shape.value)}`;
    case 'section':
    case 'choice':
      return 'section';
  }
}

/** One row for settings that several kinds share. */
function merged(rows: readonly (Setting & { readonly kinds: readonly string[] })[]): Setting[] {
  const out = new Map<string, Setting & { readonly kinds: readonly string[] }>();
  for (const row of rows) {
    const same = JSON.stringify([row.key, row.type, row.fallback, row.description]);
    const before = out.get(same);
    out.set(same, before ? { ...before, kinds: [...before.kinds, ...row.kinds] } : row);
  }
  return [...out.values()];
}

export function envOf(key: string): string {
  const parts = key.split('.').map((part) => (part.startsWith('<') ? part : part.toUpperCase()));
  return `GRM_${parts.join('__')}`;
}
