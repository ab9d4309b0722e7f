/** Every plant, by the ids of docs/edge-cases.md. */
import { credentials } from './credentials.ts';
import { device } from './device.ts';
import { flow } from './flow.ts';
import { links } from './links.ts';
import { messages } from './messages.ts';
import type { Plant } from './plant.ts';
import { requests } from './requests.ts';
import { rooms } from './rooms.ts';
import { time } from './time.ts';
import { wires } from './wires.ts';

export const plants: readonly Plant[] = [
  ...links,
  ...time,
  ...device,
  ...rooms,
  ...requests,
  ...credentials,
  ...messages,
  ...flow,
  ...wires,
];
