// Fold: a text as a hasty reader sees it. Full-width, mathematical and accented letters, letters of other scripts that look Latin, all kinds of
// brackets, bars, colons and spaces become the ASCII character they look like; what nobody sees (zero-width and bidi marks, variation selectors,
// combining marks) is gone. Inert text (inert.ts) is looked for here, and marked in the text itself: a fold is never shown to anybody.
//
//   F1. Character by character: the fold of a text that contains another one contains the fold of that.
//   F2. ASCII text is its own fold.

export interface Folded {
  readonly text: string;
  /** The same in small letters, unit by unit. */
  readonly lower: string;
  /** Place in the original, in UTF-16 units, of the character that this unit of the fold was made of. */
  originOf(place: number): number;
}

const asciiOnly = /^[\0-\x7f]*$/;

export function fold(text: string): Folded {
  if (asciiOnly.test(text)) return { text, lower: text.toLowerCase(), originOf: (place) => place };
  const folds = foldTable();
  const parts: string[] = [];
  /** Where in the fold, and in the original, the two go on side by side: after each character that changed its length. */
  const foldPlaces = [0];
  const origins = [0];
  let length = 0;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80 || (unit >= 0x3400 && unit < 0xa000) || (unit >= 0xac00 && unit < 0xd7a4)) continue;
    const code = text.codePointAt(at)!;
    const width = code > 0xffff ? 2 : 1;
    const folded = folds.get(code);
    if (folded !== undefined) {
      parts.push(text.slice(from, at), folded);
      length += at - from;
      if (folded.length !== width) {
        // All units of a longer fold come from this one character.
        for (let made = 0; made < folded.length; made++) {
          foldPlaces.push(length + made);
          origins.push(at);
        }
        foldPlaces.push(length + folded.length);
        origins.push(at + width);
      }
      length += folded.length;
      from = at + width;
    }
    at += width - 1;
  }
  parts.push(text.slice(from));
  const all = parts.join('');
  return { text: all, lower: asciiLower(all), originOf };

  function originOf(place: number): number {
    let low = 0;
    let high = foldPlaces.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (foldPlaces[middle]! <= place) low = middle;
      else high = middle;
    }
    return origins[low]! + place - foldPlaces[low]!;
  }
}

/** Letters outside ASCII may change their length when they are made small; no marker and no token hangs on them. */
function asciiLower(text: string): string {
  const lower = text.toLowerCase();
  return lower.length === text.length ? lower : text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

const foldUnitsMax = 3;

/** Written as they look, the ASCII character last. */
const lookAlikes: readonly string[] = [
  '【〔〖〘〚⟦⁅❲[',
  '】〕〗〙〛⟧⁆❳]',
  '‹«〈《⟨⟪❬❮❰≪⋘<',
  '›»〉》⟩⟫❭❯❱≫⋙>',
  '￨∣│┃❘❙❚ǀ¦╎|',
  '∶꞉ː：:',
  'аɑαａa',
  'ᴀАΑA',
  'ʙВΒB',
  'Ьƅb',
  'сϲᴄc',
  'СϹC',
  'ԁᴅd',
  'еєᴇεe',
  'ғꜰf',
  'ЕΕE',
  'ɡɢg',
  'һʜнh',
  'НΗH',
  'іιɪıi',
  'ІΙI',
  'јᴊj',
  'ЈJ',
  'кκᴋk',
  'КΚK',
  'ʟl',
  'мᴍm',
  'МΜM',
  'пոɴηn',
  'ΝN',
  'оοσօᴏo',
  'ОΟՕO',
  'рρᴘp',
  'РΡP',
  'ԛq',
  'гʀr',
  'ѕꜱs',
  'ЅS',
  'тτᴛt',
  'ТΤT',
  'υսᴜu',
  'νᴠv',
  'ѡԝᴡw',
  'хχx',
  'ХΧX',
  'уγʏy',
  'УΥY',
  'ᴢz',

  'ΖZ',
];

/** Blocks in which the standard itself says what a character is a form of (NFKD). */
const compatible: readonly (readonly [number, number])[] = [
  [0xa0, 0x24f],
  [0x2b0, 0x2ff],
  [0x1d2c, 0x1d6a],
  [0x1e00, 0x1eff],
  [0x2000, 0x218f],
  [0x2460, 0x24ff],
  [0x3000, 0x3000],
  [0xfe10, 0xfe6f],
  [0xff01, 0xff5e],
  [0x1d400, 0x1d7ff],
  [0x1f110, 0x1f169],
];

const invisible = /^[\p{Default_Ignorable_Code_Point}\p{M}]$/u;

let table: ReadonlyMap<number, string> | undefined;

/** Made when the first text needs it: a few milliseconds. */
function foldTable(): ReadonlyMap<number, string> {
  if (table !== undefined) return table;
  const made = new Map<number, string>();
  for (const [from, to] of [[0x80, 0xffff] as const, [0xe0000, 0xe0fff] as const, [0x1d165, 0x1d1ad] as const]) {
    for (let code = from; code <= to; code++) if (invisible.test(String.fromCodePoint(code))) made.set(code, '');
  }
  for (const [from, to] of compatible) {
    for (let code = from; code <= to; code++) {
      const plain = String.fromCodePoint(code).normalize('NFKD').replace(/\p{M}/gu, '');
      if (plain !== '' && plain.length <= foldUnitsMax && asciiOnly.test(plain)) made.set(code, plain);
    }
  }
  for (const code of [0x2028, 0x2029]) made.set(code, '\n');
  for (const code of [0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212]) made.set(code, '-');
  for (const group of lookAlikes) {
    const plain = group.at(-1)!;
    for (const each of group.slice(0, -1)) made.set(each.codePointAt(0)!, plain);
  }
  return (table = made);
}
