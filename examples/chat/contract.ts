/** What the room's clients and its server say to each other. */
import { defineContract } from 'holdfast';
import * as z from 'zod';

// The page forbids `eval`, which zod would otherwise try, for speed.
z.config({ jitless: true });

/** The one room of this example. */
export const LOBBY = 'lobby';

/** `number` counts what one sender has said, from 1: a hole in it is a loss that can be seen. */
const said = z.object({
  id: z.string(),
  from: z.string(),
  text: z.string(),
  number: z.int(),
});

export type Said = z.infer<typeof said>;

export const contract = defineContract({
  requests: {
    'message:say': {
      payload: z.object({ text: z.string().trim().min(1).max(500), number: z.int() }),
      data: z.object({ id: z.string() }),
    },
    // Does nothing: how long it takes is what the page draws.
    'echo:ask': { payload: z.object({}), data: z.object({}) },
  },
  events: {
    'message:said': said,
    // Twenty a second, numbered from 1.
    'feed:ticked': z.object({ number: z.int() }),
  },
});
