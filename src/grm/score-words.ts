// Score words: the headings under which judges write scores, in the languages that judges write, and the words that tell whose number a sentence gives.
//
//   W1. A heading begins a line. A list of languages is never complete, and need not be: where no heading is known, a box counts on the last line alone.
//   W2. All repetition is bounded: looking at a line costs at most a constant.

/** Blanks of all widths, and marks of the direction of writing. */
const blanks = ' \\t\\u00a0\\u2000-\\u200f\\u202a-\\u202f\\u205f\\u2060\\u2066-\\u2069\\u3000\\ufeff';

const latin = [
  'scores?|ratings?|grades?|marks?|scoring',
  'punkte|(?:gesamt|end)?(?:punktzahl|bewertung|wertung)(?:en)?|(?:gesamt|end)noten?',
  'notations?|(?:notes?|évaluations?|points) final(?:es?)?|notes? globales?|puntuaci(?:ó|o)n(?:es)?|puntajes?|calificaci(?:ó|o)n(?:es)?|valoraci(?:ó|o)n(?:es)?',
  'pontua(?:ç|c)(?:ão|ões|ao|oes)|avalia(?:ç|c)(?:ão|ões|ao|oes)|punteggi[o]?|vot[oi]|valutazion[ei]',
  'beoordeling(?:en)?|cijfers?|punten|ocen[ay]|punkty|punktacja|wyniki?|hodnocení|skóre|známky',
  'puan(?:lar|ı|ları)?|skor(?:lar)?|điểm(?: số)?|nilai|penilaian|betyg|poäng|karakter(?:er)?|poeng|pisteet|arvosanat?|pontszám(?:ok)?|értékelés(?:ek)?|punctaj(?:e)?|scor(?:uri)?',
].join('|');
const cyrillicAndGreek = 'оценк[аи]|балл?[ыи]?|рейтинги?|очки|оцінк[аи]|βαθμολογί(?:α|ες)|βαθμοί|βαθμός';
const semiticAndIndic =
  '(?:ال)?(?:درجات|درجة|تقييم(?:ات)?|نتيجة|نتائج|نقاط)|امتیاز(?:ات|ها)?|نمره|نمرات|ציון|ציונים|ניקוד|अंक|स्कोर|प्राप्तांक|คะแนน';
const eastAsian =
  '[\\u3040-\\u30ff\\u4e00-\\u9fff]{0,6}(?:评分|評分|得分|分数|分數|打分|总分|總分|评级|評級|スコア|得点|点数|評点|採点)(?:结果|結果|如下|は)?|(?:최종|총|종합|전체)?[ ]?(?:점수|평점|채점)';
const words = `${latin}|${cyrillicAndGreek}|${semiticAndIndic}|${eastAsian}`;

const gap = `[${blanks}*_]{1,4}`;
const before = `(?:(?:here are|my|the|our|and|so|thus|final|finale?|overall|total|own|revised|updated|corrected|adjusted|official|numeric(?:al)?|numerical|resulting|combined|average|assigned|meine?|die|endgültigen?|finale[nr]?|mes|les|la|las|los|mis|il|i|miei|итогов\\p{L}{1,3}|общ\\p{L}{1,3}|окончательн\\p{L}{1,3}|мои)${gap}){0,4}`;
const after = `(?:${gap}(?:final(?:e|es|i|is)?|finais|total(?:e|es)?|globale?s?|general(?:es)?|overall|(?:for|of)${gap}(?:both|all|the|each)(?:${gap}[a-z]{2,10}){0,2}))?(?:[${blanks}]{0,2}[(（][^()\\n（）\\\\]{0,60}[)）])?(?:${gap}(?:are|is|as follows|follow))?`;
const dress = `[${blanks}#*_.()\\[\\]【】|\\d•·–—→-]{0,32}`;
const box = '\\\\{0,4}(?:f?box|[b\\b]oxed|framebox)';
const separator = `[${blanks}*_]{0,8}(?:[:：|=→]|[–—-](?=[${blanks}])|$|(?=[$*]{0,4}${box})|(?=\\\\))`;
/** Words that are remarks in one language and scores in another ("Notes : ..."): headings only where scores follow at once. */
const weak = `(?:notes?|notas?|noten?)[${blanks}*_]{0,8}[:：](?=[${blanks}$*_]{0,8}(?:${box}|\\d{1,2}(?:[.,]\\d)?[${blanks}]{0,2}[,;/]))`;

/**
 * A part's heading at the beginning of a line, in plain text or Markdown ("### Analysis:", "**Scores:", "3. Scores"): group 1 of the principles, 2 of
 * the critique, 3 of the scores, 4 of scores where the word may be another.
 */
export const heading = new RegExp(
  `${dress}(?:((?:specific )?(?:criteria|principles))[ \\t*_]{0,8}(?:[:：]|$|(?=\\\\))|(analysis|critique)[ \\t*_]{0,8}(?:[:：]|$|(?=\\\\))|(${before}(?:${words})${after})${separator}|(${before}${weak}))[${blanks}*_]{0,8}`,
  'imyu',
);

/** A word for scores, anywhere in a sentence. */
export const scoreWord = new RegExp(
  `(?<!\\p{L})(?:${latin}|${cyrillicAndGreek}|${semiticAndIndic})(?!\\p{L})|${eastAsian}`,
  'iu',
);
/** The judge gives a number. */
export const gives =
  /\b(?:verdict|judge?ments?|(?:i|we)(?:'d| would| will| therefore| thus| hence)? (?:give|rate|award|assign|grade|judge|score))\b/i;
/** The end of a judgement, or the judge's own voice. */
export const ownVoice = /\b(?:i|my|we|our|final(?:ly)?|overall|output)\b/i;
/** The judge works on the task itself. */
export const computes =
  /\b(?:i|we)(?:'d| would| will| can)? (?:get|got|find|found|obtain|compute|calculate|derive|arrive)\b/i;
/** Words that quote: what follows is somebody else's. Third person and past, since a judge that gives scores says "I give". */
export const quotes =
  /\b(?:says|said|claims|claimed|states|stated|reads|writes|wrote|written|contains|contained|containing|ends|ended|ending|closes|closed|closing|concludes|concluded|finishes|finished|includes|included|including|adds|added|appends|appended|inserts|inserted|asks|asked|demands|demanded|tells|told|instructs|instructed|instructions?|suggests|suggested|quotes|quoted|quoting|quotation|cites|cited|prints|printed|outputs|tries|tried|attempts?|attempted|pretends|pretended|injects|injected|injection|shows|gives|gave|arrives|gets|got|reaches|reached|computes|computed|finds|found|derives|yields|reports|puts|presents|wants|requests|requested|has|had|steer(?:s|ed|ing)?|manipulat\p{L}*|fake[sd]?|faking|forge[sd]?|spoof\p{L}*|trick(?:s|ed)?|cheat\p{L}*|itself|self)\b/iu;
/** The thing that is judged. */
export const judged =
  /\b(?:responses?|assistants?|candidates?|answers?|models?|users?|texts?|prompts?)\b|répons|respuest|respost|rispost|antwort|ответ|відповід|回答|回复|回覆|答案|응답|답변|回應|解答|odpowied|yanıt|cevap|antwoord|vastau|إجابة|الرد/iu;
/** A number that is the solution of what was asked, and no score. */
export const solution =
  /\b(?:answers?|solutions?|results?|correct|equals?|values?|total|sum|proof|therefore x)\b|=\s{0,4}$|répons|résultat|respuest|respost|rispost|lösung|antwort|ergebnis|ответ|результат|答案|结果|結果|解答|정답|답은|답:/iu;
/** The judge takes back what it wrote. */
export const takesBack =
  /^(?:wait|hm+|no[,.!:—-]|actually|correction|sorry|oops|scratch that|on (?:second thoughts?|reflection)|let me (?:re|correct|fix|check|adjust|double)|i (?:made|was wrong|mixed|swapped|confused|misread|should (?:have|swap)|need to (?:re|correct|swap))|my mistake|(?:these|the|those) (?:scores?|numbers?) (?:are|were) (?:wrong|swapped|reversed)|(?:the )?(?:revised|corrected|updated|adjusted)\b)/i;
/** A sentence about what stands before it, as about a thing of somebody else. */
export const pointsBack =
  /^(?:(?:this|that|which|these|it|those)\b|the (?:line|section|box|heading|above|text|scores?) (?:above|is|was|are|were)|(?:is|was|are|were|appears|stands)\b)/i;
/** Scores stated without a box: the words, then what is said of them. */
export const statement = new RegExp(
  `(?:\\b(?:verdict|judge?ments?)|(?<!\\p{L})(?:${latin}|${cyrillicAndGreek}|${semiticAndIndic})(?!\\p{L})|${eastAsian})(?:[${blanks}*_]{0,3}[(（][^()\\n（）]{0,40}[)）])?[${blanks}*_]{0,3}(?:[:：=—–-]|(?:is|are|was|were|be|remains?|ist|sind|est|sont|es|son|sono)\\b|是|为|為|は|を|은|는)([^\\n!?。！？]{0,60})|\\bi(?:'d| would| will| therefore| thus| hence)?[ ]+(?:give|gave|rate|award|assign|score|grade)\\b([^\\n!?。！？]{0,60})`,
  'giu',
);
