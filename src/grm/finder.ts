// Finder: what one pattern of inert text looks for.

export interface Finder {
  /** A part of every occurrence: looking for it is several times faster than a search by pattern. Empty: there is none. */
  readonly holds: string;
  /** Global, for folded text in small letters. Where it has a group, what is looked for begins after it. */
  readonly pattern: RegExp;
  /** The pattern is for folded text as it is written. */
  readonly exactCase?: true;
}
