/** Renders the Jinja chat template that comes with a tokenizer. Which messages to write is left to the pipelines. */

import { withTimeLimit } from '#tokenizers/time-limit';
import { DejaDitError } from '../errors/errors.ts';
import { compileTemplate } from './jinja.ts';
import type { TokenizerSettings } from './tokenizer-files.ts';

export interface ChatMessage {
  role: string;
  /** Text, or parts such as `{ type: 'text', text }` for templates that take them. */
  content: unknown;
}

export interface ChatTemplateOptions {
  /** End with the words that open the assistant's answer. Default false. */
  addGenerationPrompt?: boolean;
  /** Which template, for tokenizers that carry several. Default: `default`. */
  template?: string;
  tools?: readonly unknown[];
  /** Further variables that a template knows, e.g. `enable_thinking`. */
  variables?: Record<string, unknown>;
}

export async function renderChatTemplate({
  messages,
  options,
  settings,
  path,
}: {
  messages: readonly ChatMessage[];
  options: ChatTemplateOptions;
  settings: TokenizerSettings;
  path: string;
}): Promise<string> {
  const name = options.template ?? 'default';
  const source = settings.chatTemplates.get(name);
  if (source === undefined) {
    const names = [...settings.chatTemplates.keys()].join(', ') || 'none';
    throw new DejaDitError('NOT_FOUND', `the tokenizer has no chat template '${name}' (it has: ${names})`, { path });
  }
  try {
    const render = await compileTemplate(source);
    const variables = {
      messages,
      tools: options.tools ?? null,
      add_generation_prompt: options.addGenerationPrompt ?? false,
      bos_token: settings.bosToken,
      eos_token: settings.eosToken,
      pad_token: settings.padToken,
      unk_token: settings.unkToken,
      ...options.variables,
    };
    return withTimeLimit(() => render(variables), { milliseconds: 1000, task: `the chat template '${name}'`, path });
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    throw new DejaDitError('INVALID_ARGUMENT', `the chat template '${name}' failed: ${(cause as Error).message}`, {
      path,
      cause,
    });
  }
}
