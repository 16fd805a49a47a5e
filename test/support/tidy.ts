// Tidy: the repository's rules as functions over parsed files. test/tidy.test.ts runs them over the tree, and each over a file that breaks it.

import { posix } from 'node:path';
import { builtinModules } from 'node:module';
import ts from 'typescript';

export interface TidyFile {
  /** From the repository's root, with slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Finding {
  readonly rule: RuleName;
  /** "src/grm/vote.ts:12" */
  readonly where: string;
  readonly message: string;
}

/**
 * What each room of src/ sees beside itself, fault.ts and limits.ts. "room" = all of it; "room/file" = that file alone, its interface.
 * A new room needs a line here, and a reason for each thing that it sees.
 */
const sees: Readonly<Record<string, readonly string[]>> = {
  grm: [],
  work: ['grm'],
  // A labelled row holds a request, and is read and refused as the doors do it.
  spct: ['grm', 'coordinator/intake', 'coordinator/findings'],
  wire: ['grm', 'work'],
  observe: ['grm', 'work'],
  process: ['grm', 'observe'],
  queue: ['grm', 'work', 'wire', 'observe', 'process/clock'],
  // What a finish reason says of a text is one list, for those who read streams and those who read texts.
  engine: ['grm/finish', 'observe', 'process/clock'],
  actor: ['wire', 'observe', 'process/clock', 'queue/queue', 'engine/engine'],
  coordinator: ['grm', 'work', 'observe', 'process/clock', 'queue/queue'],
  worker: ['grm', 'work', 'observe', 'process/clock', 'queue/queue', 'engine/engine'],
  rpc: ['grm', 'work', 'wire', 'observe', 'coordinator', 'process/clock'],
  gateway: ['spct', 'observe/listen'],
  cli: [
    'actor',
    'coordinator',
    'engine',
    'gateway',
    'grm',
    'observe',
    'process',
    'queue',
    'rpc',
    'spct',
    'wire',
    'work',
    'worker',
  ],
};

const pureRooms = ['grm', 'work', 'spct'];

/** Third-party packages and where they live: a room of src/, or a folder of services/. */
const homes: readonly { readonly packages: RegExp; readonly rooms: readonly string[]; readonly typesOnly?: boolean }[] =
  [
    { packages: /^@nats-io\//, rooms: ['queue'] },
    { packages: /^@grpc\/|^grpc-health-check$/, rooms: ['rpc'] },
    { packages: /^(undici|eventsource-parser)$/, rooms: ['engine'] },
    // Not a dependency of this package: services/llama-engine has an install of its own.
    { packages: /^node-llama-cpp$/, rooms: ['engine', 'services/llama-engine'], typesOnly: true },
    // The stand-in for vLLM shows metrics of its own.
    { packages: /^prom-client$/, rooms: ['observe', 'services/fake-engine'] },
    { packages: /^pino$/, rooms: ['observe'] },
    { packages: /^(zod|yaml)$/, rooms: ['process'] },
    { packages: /^(commander|cli-progress|cli-table3|picocolors)$/, rooms: ['cli'] },
    { packages: /^@bufbuild\/protobuf(\/wire)?$/, rooms: ['wire'] },
    { packages: /^lru-cache$/, rooms: ['worker'] },
    { packages: /^fastify$/, rooms: ['gateway'] },
    { packages: /^(node:)?(http|https|http2)$/, rooms: ['observe', 'gateway', 'services/fake-engine'] },
  ];

const linesMax = 400;
/** A suite may list more cases than a file of code may hold ideas. */
const testLinesMax = 600;
const drawerWords = new Set(['util', 'utils', 'common', 'helper', 'helpers', 'manager', 'managers', 'misc']);
const impureNames = new Set([
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'crypto',
  'process',
  'fetch',
  'console',
]);
const moduleMocks = new Set(['mock', 'doMock', 'unmock', 'doUnmock', 'hoisted']);
const testWords = new Set(['it', 'test', 'describe']);
const unrun = new Set(['only', 'skip', 'todo']);

export type RuleName =
  | 'room imports'
  | 'package home'
  | 'services are ends'
  | 'pure rooms'
  | 'environment'
  | 'exit'
  | 'no barrel'
  | 'no default export'
  | 'no drawer names'
  | 'length'
  | 'no enum'
  | 'no module mock'
  | 'every test runs';

type Report = (node: ts.Node | undefined, message: string) => void;
type Rule = (file: Parsed, report: Report) => void;

interface Import {
  readonly node: ts.Node;
  readonly specifier: string;
  readonly typesOnly: boolean;
}

interface Parsed {
  readonly path: string;
  readonly text: string;
  readonly source: ts.SourceFile;
  readonly imports: readonly Import[];
  /** "src/grm" for rooms of src, "services/coordinator" below services, else "". */
  readonly home: string;
}

export const rules: Readonly<Record<RuleName, Rule>> = {
  'room imports': (file, report) => {
    const room = roomOf(file.path);
    if (room === undefined) return;
    const seen = sees[room];
    if (!seen) {
      report(undefined, `room ${room} has no line in the table of what rooms see`);
      return;
    }
    for (const { node, specifier } of file.imports) {
      const target = resolved(file.path, specifier);
      if (target === undefined || /^src\/(fault|limits)\.ts$/.test(target)) continue;
      const other = roomOf(target);
      if (other === undefined) {
        if (!target.startsWith('services/')) report(node, `${room} may not import ${target}`);
        continue;
      }
      const name = target.slice('src/'.length).replace(/\.ts$/, '');
      if (other !== room && !seen.includes(other) && !seen.includes(name)) report(node, `${room} does not see ${name}`);
    }
  },

  'package home': (file, report) => {
    if (file.home === '') return;
    for (const { node, specifier, typesOnly } of file.imports) {
      if (specifier.startsWith('.')) continue;
      const home = homes.find(({ packages }) => packages.test(specifier));
      if (!home) {
        if (!isBuiltin(specifier)) report(node, `${specifier} has no home in the table of packages`);
      } else if (!home.rooms.some((room) => file.home === room || file.home === `src/${room}`)) {
        report(node, `${specifier} belongs to ${home.rooms.join(' and ')}`);
      } else if (home.typesOnly && !typesOnly && file.home.startsWith('src/')) {
        report(node, `of ${specifier} only types may be imported`);
      }
    }
  },

  'services are ends': (file, report) => {
    if (!file.path.startsWith('src/')) return;
    for (const { node, specifier } of file.imports) {
      const target = resolved(file.path, specifier);
      if (target !== undefined && /^(services|test|bench)\//.test(target)) report(node, `src may not import ${target}`);
    }
  },

  'pure rooms': (file, report) => {
    if (!pureRooms.includes(roomOf(file.path) ?? '')) return;
    for (const { node, specifier } of file.imports) {
      if (!specifier.startsWith('.')) report(node, `a pure room may not import ${specifier}`);
    }
    walk(file.source, (node) => {
      if (isMember(node, 'Math', 'random')) report(node, 'random numbers are parameters');
      if (ts.isIdentifier(node) && impureNames.has(node.text) && isReference(node)) {
        report(node, `${node.text}: clocks and the world are parameters`);
      }
    });
  },

  environment: (file, report) => {
    if (file.home === '' || file.home === 'src/process') return;
    processMember(file, 'env', (node) => report(node, 'process.env is read in src/process alone'));
  },

  exit: (file, report) => {
    if (file.home === '' || file.home.startsWith('services') || file.home === 'src/cli') return;
    processMember(file, 'exit', (node) => report(node, 'process.exit is called in services/ and src/cli alone'));
  },

  'no barrel': (file, report) => {
    if (posix.basename(file.path) === 'index.ts') report(undefined, 'index.ts is a barrel by name');
    const statements = file.source.statements;
    for (const node of statements) {
      if (ts.isExportDeclaration(node) && node.moduleSpecifier && !node.exportClause)
        report(node, 'export * hides where names come from');
    }
    const reexports = statements.filter((node) => ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined);
    if (statements.length > 0 && reexports.length === statements.length)
      report(statements[0], 'the file only passes on what others export');
  },

  'no default export': (file, report) => {
    if (/^[^/]+\.config\.ts$/.test(file.path)) return;
    for (const node of file.source.statements) {
      const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
      const isDefault = modifiers.some((modifier) => modifier.kind === ts.SyntaxKind.DefaultKeyword);
      const named = ts.isExportDeclaration(node) && node.exportClause && ts.isNamedExports(node.exportClause);
      const asDefault = named && node.exportClause.elements.some(({ name }) => name.text === 'default');
      if (ts.isExportAssignment(node) || isDefault || asDefault) report(node, 'exports are named');
    }
  },

  'no drawer names': (file, report) => {
    for (const part of file.path.split('/')) {
      const word = part
        .split('.')[0]
        ?.split(/[-_]/)
        .find((each) => drawerWords.has(each.toLowerCase()));
      if (word !== undefined) report(undefined, `"${word}" says nothing about what is inside`);
    }
  },

  length: (file, report) => {
    const lines = file.text.replace(/\n$/, '').split('\n').length;
    const max = file.path.startsWith('test/') ? testLinesMax : linesMax;
    if (lines > max) report(undefined, `${lines} lines: more than ${max}, so a second idea lives in it`);
  },

  'no enum': (file, report) => {
    walk(file.source, (node) => {
      if (ts.isEnumDeclaration(node)) report(node, 'use a union of literals');
    });
  },

  'no module mock': (file, report) => {
    walk(file.source, (node) => {
      if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return;
      const { expression, name } = node.expression;
      const mocks = ts.isIdentifier(expression) && ['vi', 'vitest', 'jest'].includes(expression.text);
      if (mocks && moduleMocks.has(name.text)) report(node, 'tests run on the real thing');
    });
  },

  'every test runs': (file, report) => {
    if (!file.path.startsWith('test/')) return;
    walk(file.source, (node) => {
      if (!ts.isPropertyAccessExpression(node) || !unrun.has(node.name.text)) return;
      let base: ts.Node = node.expression;
      while (ts.isPropertyAccessExpression(base)) base = base.expression;
      if (ts.isIdentifier(base) && testWords.has(base.text)) report(node, `.${node.name.text} leaves tests out`);
    });
  },
};

/** Parsing costs more than all rules together: once per file. */
const parsedFiles = new WeakMap<TidyFile, Parsed>();

/** What the rules find in one file. */
export function check(
  file: TidyFile,
  names: readonly RuleName[] = Object.keys(rules) as RuleName[],
): readonly Finding[] {
  const parsed = parsedFiles.get(file) ?? parse(file);
  parsedFiles.set(file, parsed);
  const findings: Finding[] = [];
  for (const rule of names) {
    rules[rule](parsed, (node, message) => {
      const at = node ? parsed.source.getLineAndCharacterOfPosition(node.getStart(parsed.source)).line + 1 : undefined;
      findings.push({ rule, where: at === undefined ? file.path : `${file.path}:${at}`, message });
    });
  }
  return findings;
}

function parse({ path, text }: TidyFile): Parsed {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);
  const imports: Import[] = [];
  walk(source, (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      const typesOnly = ts.isImportDeclaration(node) ? onlyTypes(node) : node.isTypeOnly;
      if (node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) {
        imports.push({ node, specifier: node.moduleSpecifier.text, typesOnly });
      }
    } else if (ts.isCallExpression(node)) {
      const [argument] = node.arguments;
      const loads =
        node.expression.kind === ts.SyntaxKind.ImportKeyword ||
        (ts.isIdentifier(node.expression) && node.expression.text === 'require');
      if (loads && argument && ts.isStringLiteralLike(argument))
        imports.push({ node, specifier: argument.text, typesOnly: false });
    } else if (
      ts.isImportTypeNode(node) &&
      ts.isLiteralTypeNode(node.argument) &&
      ts.isStringLiteral(node.argument.literal)
    ) {
      imports.push({ node, specifier: node.argument.literal.text, typesOnly: true });
    }
  });
  return { path, text, source, imports, home: homeOf(path) };
}

function onlyTypes(node: ts.ImportDeclaration): boolean {
  const clause = node.importClause;
  if (!clause) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const bindings = clause.namedBindings;
  return (
    !clause.name &&
    !!bindings &&
    ts.isNamedImports(bindings) &&
    bindings.elements.every((element) => element.isTypeOnly)
  );
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

function roomOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

function homeOf(path: string): string {
  const [top = '', folder = ''] = path.split('/');
  return (top === 'src' || top === 'services') && path.split('/').length > 2
    ? `${top}/${folder}`
    : top === 'services' || top === 'src'
      ? top
      : '';
}

/** Path of a relative import's file; undefined for packages. */
function resolved(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return posix.normalize(posix.join(posix.dirname(from), specifier)).replace(/\.js$/, '.ts');
}

function isBuiltin(specifier: string): boolean {
  return specifier.startsWith('node:') || builtinModules.includes(specifier);
}

function isMember(node: ts.Node, object: string, member: string): boolean {
  if (ts.isPropertyAccessExpression(node)) {
    return ts.isIdentifier(node.expression) && node.expression.text === object && node.name.text === member;
  }
  if (ts.isElementAccessExpression(node)) {
    const { expression, argumentExpression: argument } = node;
    return (
      ts.isIdentifier(expression) &&
      expression.text === object &&
      ts.isStringLiteralLike(argument) &&
      argument.text === member
    );
  }
  return false;
}

/** process.member, process['member'], const { member } = process, and anything taken from node:process. */
function processMember(file: Parsed, member: string, found: (node: ts.Node) => void): void {
  for (const { node, specifier } of file.imports) if (/^(node:)?process$/.test(specifier)) found(node);
  walk(file.source, (node) => {
    if (isMember(node, 'process', member)) found(node);
    if (
      ts.isVariableDeclaration(node) &&
      node.initializer &&
      ts.isIdentifier(node.initializer) &&
      node.initializer.text === 'process'
    ) {
      if (ts.isObjectBindingPattern(node.name)) {
        for (const element of node.name.elements) {
          if ((element.propertyName ?? element.name).getText(file.source) === member) found(element);
        }
      }
    }
  });
}

/** True for a name that is used; false for names of properties, fields and declarations. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node;
  if (ts.isPropertySignature(parent) || ts.isPropertyDeclaration(parent) || ts.isMethodDeclaration(parent))
    return false;
  if (ts.isMethodSignature(parent) || ts.isParameter(parent) || ts.isBindingElement(parent)) return false;
  return !ts.isVariableDeclaration(parent) || parent.initializer === node;
}
