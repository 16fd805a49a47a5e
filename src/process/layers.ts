// Layers: lays the sources over each other into one raw tree in code's names, remembering where each value came from.
//
//   Y1. A later source replaces an earlier one value by value; lists are replaced whole, unless a path names one of their items.
//   Y2. A name that the schema does not know is a problem and leaves no trace in the tree.
//   Y3. Texts (environment, flags) become what their setting holds: numbers, flags, lists; whatever does not fit stays a text for the schema to refuse.
//   Y4. A text that starts with "[" or "{" is JSON or YAML's flow form, and never a list by commas.

import { isCollection, parseDocument } from 'yaml';
import { nearest } from './nearest.js';
import { bearsSecret, childOf, configShape, type Leaf, type Section, type Shape } from './shape.js';
import { aliasesMax, type Assignment, type Problem, type Source } from './sources.js';

type Tree = Record<string, unknown>;

/** Raw values, what was wrong with their names, and the source of each by outer key. */
export interface Layers {
  readonly tree: Tree;
  readonly problems: Problem[];
  readonly sources: Map<string, Source>;
}

export function layered(assignments: readonly Assignment[]): Layers {
  const layers: Layers = { tree: emptyTree(), problems: [], sources: new Map() };
  for (const assignment of assignments) new Layer(layers, assignment).lay();
  return layers;
}

/** No prototype: no name can reach one. */
function emptyTree(): Tree {
  return Object.create(null) as Tree;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

class Layer {
  constructor(
    private readonly layers: Layers,
    private readonly assignment: Assignment,
  ) {}

  lay(): void {
    const { path, value } = this.assignment;
    this.#descend(configShape, this.layers.tree, path, 0, value);
  }

  /** Walks to where the path ends, making what is missing on the way, and puts the value there. Returns what now stands in place of `there`. */
  #descend(shape: Shape, there: unknown, path: readonly string[], depth: number, value: unknown): unknown {
    const step = path[depth];
    if (step === undefined) return this.#put(shape, there, path, value);
    const steps = path.slice(0, depth + 1);
    switch (shape.kind) {
      case 'leaf':
        this.#problem(steps, 'is no section: nothing can stand below it', path.slice(0, depth));
        return there;
      case 'record':
      case 'section':
      case 'choice': {
        const tree = isTree(there) ? there : emptyTree();
        const found = this.#child(shape, tree, step, steps);
        if (!found) return there;
        const next = this.#descend(found.shape, tree[found.name], path, depth + 1, value);
        if (next !== undefined) tree[found.name] = next;
        return tree;
      }
      case 'list': {
        const items = Array.isArray(there) ? (there as unknown[]) : [];
        const index = /^\d{1,4}$/.test(step) ? Number(step) : Number.NaN;
        if (!(index <= items.length)) {
          this.#problem(steps, `must be the number of an item, 0 to ${items.length} (the next free one)`);
          return there;
        }
        const next = this.#descend(shape.item, items[index], path, depth + 1, value);
        if (next !== undefined) items[index] = next;
        return items;
      }
    }
  }

  /** What `value` becomes at the place where the path ended. `undefined`: nothing is put there. */
  #put(shape: Shape, there: unknown, path: readonly string[], value: unknown): unknown {
    const read = this.assignment.text && typeof value === 'string' ? fromText(shape, value) : value;
    // YAML's empty value: a section without settings, or a setting back at its default.
    if (read === null) {
      if (shape.kind !== 'leaf')
        return isTree(there) || Array.isArray(there) ? there : shape.kind === 'list' ? undefined : emptyTree();
    }
    if (shape.kind === 'leaf') return this.#keep(path, read);
    if (shape.kind === 'list') {
      this.#forget(path);
      if (!Array.isArray(read)) return this.#keep(path, read);
      this.#source(path);
      return read.map((item: unknown, index) => this.#put(shape.item, undefined, [...path, String(index)], item));
    }
    if (!isTree(read)) {
      if (path.length > 0) return this.#keep(path, read);
      return there;
    }
    const tree = isTree(there) ? there : emptyTree();
    this.#source(path);
    // The kind first: it decides which other names there are.
    const entries = Object.entries(read).sort(([a], [b]) => Number(b === 'kind') - Number(a === 'kind'));
    for (const [name, item] of entries) {
      const steps = [...path, name];
      const found = this.#child(shape, tree, name, steps, item === null);
      if (!found) continue;
      const next = this.#put(found.shape, tree[found.name], steps, item);
      if (next === undefined) Reflect.deleteProperty(tree, found.name);
      else tree[found.name] = next;
    }
    return tree;
  }

  #keep(path: readonly string[], value: unknown): unknown {
    this.#forget(path);
    if (value === null) return undefined;
    this.#source(path);
    return value;
  }

  #child(
    shape: Exclude<Shape, Leaf | { kind: 'list' }>,
    tree: Tree,
    step: string,
    steps: readonly string[],
    /** A name without a value: in a flow section it may be the rest of a secret with a comma in it. */
    bare = false,
  ): { readonly name: string; readonly shape: Shape } | undefined {
    if (shape.kind === 'record') return { name: step, shape: shape.value };
    const option = shape.kind === 'choice' ? chosen(shape, tree) : shape;
    const field = option?.fields.get(step);
    if (field) return { name: field.name, shape: field.shape };
    const known = shape.kind === 'choice' && !option ? ['kind'] : [...(option?.fields.keys() ?? [])];
    if (shape.kind === 'choice' && !option) {
      const any = childOf(shape, step);
      // Without a kind, or with an unknown one, the schema will say so; other names cannot be judged.
      if (step === 'kind' && any) return { name: 'kind', shape: any };
      if (any) return undefined;
    }
    if (bare && bearsSecret(shape)) {
      const message = `has a name without a value, which is not known; there are ${known.join(', ')}`;
      this.#problem(steps, message, steps.slice(0, -1));
      return undefined;
    }
    const hint = nearest(step, known);
    this.#problem(
      steps,
      hint === undefined ? `is not known; there are ${known.join(', ')}` : `is not known; did you mean "${hint}"?`,
    );
    return undefined;
  }

  #problem(steps: readonly string[], message: string, named: readonly string[] = steps): void {
    this.layers.problems.push({ key: named.join('.'), source: this.#at(steps), message });
  }

  #source(path: readonly string[]): void {
    if (path.length > 0) this.layers.sources.set(path.join('.'), this.#at(path));
  }

  #forget(path: readonly string[]): void {
    const key = path.join('.');
    for (const other of this.layers.sources.keys()) {
      if (other === key || other.startsWith(`${key}.`)) this.layers.sources.delete(other);
    }
  }

  #at(steps: readonly string[]): Source {
    return this.assignment.sourceAt?.(steps.slice(this.assignment.path.length)) ?? this.assignment.source;
  }
}

function chosen(shape: Extract<Shape, { kind: 'choice' }>, tree: Tree): Section | undefined {
  return typeof tree.kind === 'string' ? shape.options.get(tree.kind) : undefined;
}

/** Y3, Y4. */
export function fromText(shape: Shape, text: string): unknown {
  const data = parsed(text);
  switch (shape.kind) {
    case 'section':
    case 'record':
    case 'choice':
      return data ?? text;
    case 'list':
      if (Array.isArray(data)) return data;
      return shape.item.kind === 'leaf' && !isFlow(text) ? parts(text).map((part) => fromText(shape.item, part)) : text;
    case 'leaf': {
      const candidates = [text, data, isFlow(text) ? undefined : parts(text).map((part) => parsed(part) ?? part)];
      const fits = candidates.find((candidate) => shape.schema.safeParse(candidate).success);
      if (fits !== undefined) return fits;
      const wrongType = shape.schema
        .safeParse(text)
        .error?.issues.some(
          (issue) =>
            issue.code === 'invalid_type' ||
            (issue.code === 'invalid_value' && issue.values.some((value) => typeof value !== 'string')),
        );
      return wrongType && data !== undefined ? data : text;
    }
  }
}

function parts(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}

/** Y4. */
function isFlow(text: string): boolean {
  return /^\s*[[{]/.test(text);
}

/** JSON, or a list or section in YAML's flow form; undefined when it is neither. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return isFlow(text) ? flow(text) : undefined;
  }
}

function flow(text: string): unknown {
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent' });
  if (document.errors.length > 0 || !isCollection(document.contents)) return undefined;
  try {
    return document.toJS({ maxAliasCount: aliasesMax }) as unknown;
  } catch {
    return undefined;
  }
}
