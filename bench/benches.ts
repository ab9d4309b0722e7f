/** Every bench that compares contenders, in the order of the table. */
import type { Bench } from './bench.ts';
import { catchUp } from './benches/catch-up.ts';
import { connect } from './benches/connect.ts';
import { idle } from './benches/idle.ts';
import { inbound } from './benches/inbound.ts';
import { memory } from './benches/memory.ts';
import { outbound } from './benches/outbound.ts';
import { request } from './benches/request.ts';

export const benches: readonly Bench[] = [
  ...inbound,
  ...outbound,
  ...request,
  ...connect,
  ...idle,
  ...memory,
  ...catchUp,
];
