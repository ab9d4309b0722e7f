/** What an ordinary server's ack says. */
import type { ErrorBody } from '../../protocol/frame.js';
import { serverFrame } from '../../protocol/guard.js';
import { fieldsOf, viewed } from './fields.js';

export type Outcome =
  | { readonly success: true; readonly data: unknown }
  | { readonly success: false; readonly error: ErrorBody };

/** `{ success, data, error }`; anything else is the data itself. */
export function outcome(answer: unknown): Outcome {
  let whole: unknown;
  try {
    whole = viewed(answer);
  } catch {
    const message = 'The answer of the server is nested too deeply.';
    return { success: false, error: { code: 'PROTOCOL_ERROR', message } };
  }
  const { success, data = whole, error } = fieldsOf(whole);
  if (success === false) return { success, error: errorOf(error) };
  return { success: true, data: success === true ? data : whole };
}

function errorOf(error: unknown): ErrorBody {
  const message = typeof error === 'string' ? error : 'The server gave no reason.';
  const unsaid = { code: 'SERVER_ERROR', message };
  const said = serverFrame({ kind: 'error', error: { ...unsaid, ...fieldsOf(error) } });
  return said.kind === 'error' ? said.error : unsaid;
}
