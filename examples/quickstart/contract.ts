import { defineContract } from 'holdfast';
import * as z from 'zod';

/** What client and server say to each other: types and checks on both sides. */
export const chat = defineContract({
  requests: {
    'message:send': {
      payload: z.object({ text: z.string().max(4000) }),
      data: z.object({ id: z.string() }),
    },
  },
  events: {
    'message:received': z.object({ id: z.string(), from: z.string(), text: z.string() }),
  },
});
