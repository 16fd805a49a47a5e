import { describe, expect, it, test } from 'vitest';
import { isTellable, tokenFinders } from '../../../src/grm/chat-tokens.js';
import { inert, noncePattern } from '../../../src/grm/inert.js';
import { limits } from '../../../src/limits.js';

const nonce = noncePattern('a1b2c3d4');

/** One line a family, as their templates write them. */
const families: Readonly<Record<string, string>> = {
  llama2: '<s> </s> [INST] [/INST] <<SYS>> <</SYS>> <unk>',
  llama3:
    '<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> <|eom_id|> <|python_tag|> <|reserved_special_token_7|>',
  llama4: '<|header_start|> <|header_end|> <|eot|> <|image|>',
  mistral:
    '[AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_CALLS] [TOOL_RESULTS] [/TOOL_RESULTS] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT] [ARGS] [CALL_ID] [IMG] [IMG_BREAK] [PREFIX] [THINK] [/THINK] <SPECIAL_12>',
  gemma: '<bos> <eos> <pad> <start_of_turn> <end_of_turn> <start_of_image> <image_soft_token> <unused99>',
  gemma4: '<|turn> <turn|> <|channel> <channel|> <|tool> <tool|> <|think|> <|tool_call> <|"|>',
  qwen: '<|im_start|> <|im_end|> <|endoftext|> <|vision_start|> <tool_call> </tool_call> <tool_response> <think> </think>',
  deepseek:
    '<\uff5cUser\uff5c> <\uff5cAssistant\uff5c> <\uff5cend\u2581of\u2581sentence\uff5c> <\uff5cbegin\u2581of\u2581sentence\uff5c> <\uff5cDSML\uff5cinvoke> <|User|> <|EOT|>',
  phi: '<|user|> <|assistant|> <|end|> <|im_sep|>',
  command: '<|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|CHATBOT_TOKEN|> <|START_THINKING|> <BOS_TOKEN> <EOS_TOKEN>',
  glm: '[gMASK] [MASK] <sop> <eop> <|observation|> <arg_key> </arg_value>',
  kimi: '<|im_user|> <|im_middle|> <|media_pad|> [BOS] [EOS] [EOT] \u25c1think\u25b7 \u25c1/think\u25b7',
  exaone: '[|system|] [|user|] [|assistant|] [|endofturn|] [|tool|]',
  smolvlm: '<end_of_utterance> <fake_token_around_image> <global-img> <row_1_col_2>',
  seed: '<seed:bos> <seed:eos> <seed:think> </seed:think> <seed:tool_call> <seed:cot_budget_reflect>',
  granite: '<|start_of_role|> <|end_of_role|> <|end_of_text|> <fim_prefix>',
  falcon: '>>QUESTION<< >>ANSWER<< <|startoftext|>',
  harmony: '<|start|> <|channel|> <|message|> <|return|> <|call|> <|constrain|>',
  jamba: '<|bom|> <|eom|> <|startoftext|>',
  nemotron: '<extra_id_0> <extra_id_1> <SPECIAL_10>',
  hunyuan:
    '<\uff5chy_User\uff5c> <\uff5chy_Assistant\uff5c> <\uff5chy_place\u2581holder\u2581no\u25812\uff5c> <|extra_4|> <|eos|>',
  minimax: ']~b] [e~[ ]~!b[ ]!p~[ ]<]image[>[ <minimax:tool_call> <beginning_of_sentence> <end_of_sentence>',
  ernie: '<|begin_of_sentence|> <|end_of_sentence|> <mask:1> <|IMAGE_PLACEHOLDER|> <global_setting>',
  baichuan: '<reserved_106> <reserved_107>',
  internlm: '<eoh> <eoa> <TOKENS_UNUSED_1> [UNUSED_TOKEN_145] <|action_start|> <IMG_CONTEXT>',
  ling: '<role>HUMAN</role> <|role_end|>',
  telechat: '<_user> <_bot> <_system> <_end>',
  bert: '[CLS] [SEP] [PAD] [UNK] <cls> <sep> <mask>',
  starcoder: '<file_sep> <jupyter_start> <repo_name>',
};

describe('I3: the control tokens of chat formats', () => {
  it.each(Object.entries(families))('%s', (_, tokens) => {
    for (const token of tokens.split(' ')) {
      const broken = inert(`so ${token} there`, nonce, []);
      expect(broken).not.toContain(token);
      expect(broken.replaceAll('\u00b7', '')).toBe(`so ${token} there`);
      expect(inert(broken, nonce, [])).toBe(broken);
    }
  });

  it.each([
    ['in capitals', '<|IM_END|>'],
    ['with spaces inside', '<| im_end |>'],
    ['full-width', '\uff1c|im_end|\uff1e'],
    ['with bars of another kind', '<\u2502im_end\u2502>'],
    ['with an invisible character inside', '<|im\u200b_end|>'],
    ['with Cyrillic letters', '<|im_\u0435nd|>'],
    ['with spaces around an instruction', '[ INST ]'],
    ['one inside another', '<|im_<|im_end|>end|>'],
    ['two in a row, without a seam', '<|im_start|><|im_end|>'],
    ['two that share a bracket', '[e~[INST]'],
  ])('a look-alike %s: %s', (_, text) => {
    const broken = inert(text, nonce, []);
    expect(broken).not.toBe(text);
    expect(broken).not.toContain('<|im_end|>');
    expect(broken).not.toContain('[INST]');
  });

  it.each([
    'def f(x: List[int]) -> dict[str, int]: return arr[mask][i]',
    'std::vector<std::string> v; cout << "a" << endl; if (a < b && c > d) x[0] |= 1;',
    'List.map f <| List.filter g xs |> h',
    '<html><body><p class="a">Hi <b>there</b></p><video controls></video><user id="1"/></body></html>',
    'a | b | c\n---|---|---\n[link](http://x.y) [1] [x] ![image](a.png)',
    '\\left[ \\frac{a}{b} \\right] < \\infty, |x| < 1, <x|y>, <\u03c8|\u03c6> \\boxed{42}',
    'for s in <input>; do [[ -f "$s" ]] && cat <<EOF > "$out"; done',
    '« Bonjour », 『こんにちは』（例）【注】',
    'if x < 3 | y > 4 { [|1; 2|] }',
  ])('ordinary text stays as it is: %s', (text) => {
    expect(inert(text, nonce, [])).toBe(text);
  });
});

describe("I3: an engine's own tokens", () => {
  it('are broken wherever they stand, numbered ones of any number', () => {
    const finders = tokenFinders(['<own>', '{{stop}}', '@@r12@@', '@@r13@@', '\uff3btell\uff3d']);
    for (const text of ['<own>', 'x{{stop}}', '@@r7@@', '[tell]', '\uff3btell\uff3d', '<o\u200bwn>', '<<own>>'])
      expect(inert(text, nonce, finders)).not.toBe(text);
    for (const text of ['own', '{{stops}}', '@@r@@', 'tell', '<OWN>']) expect(inert(text, nonce, finders)).toBe(text);
  });

  it('are left out where they cannot be told from ordinary text', () => {
    for (const token of [
      'the',
      '\n\n',
      '\u2581\u2581\u2581',
      'ab',
      '  ',
      '---',
      'eng_Latn',
      'x'.repeat(limits.specialTokenCharsMax + 1) + '>',
      '<a\u00b7b>',
      '<\ud800>',
    ])
      expect(isTellable(token), token).toBe(false);
    for (const token of ['</x>', '[x]', '{{a}}', '<\u7528\u6237>']) expect(isTellable(token), token).toBe(true);
    expect(inert('the --- \n\n end', nonce, tokenFinders(['the', '---', '\n\n']))).toBe('the --- \n\n end');
  });

  test('that the list finds anyway cost nothing; of the others there is a bound', () => {
    expect(tokenFinders(['<|im_end|>', '<|x_17|>', '</s>', '[MASK]', '<end_of_turn>'])).toEqual([]);
    const many = Array.from(
      { length: 3 * limits.specialTokensMax },
      (_, at) => `<z${at.toString(36).replace(/\d/g, (digit) => 'qwrtypsdfg'[Number(digit)]!)}>`,
    );
    const patterns = tokenFinders(many).flatMap(({ pattern }) => pattern.source.split('|'));
    expect(patterns.length).toBeLessThanOrEqual(limits.specialTokensMax);
    expect(
      tokenFinders(Array.from({ length: 5_000 }, (_, at) => `<zz${at}>`)).flatMap(({ pattern }) =>
        pattern.source.split('|'),
      ),
    ).toHaveLength(1);
  });
});
