/** Every wire keeps every promise, but for what is listed. */
import { transportRules } from 'holdfast/testing';
import { describe, test } from 'vitest';
import { wires } from './wires.js';

// Nearly all of it is waiting. What looks at the whole process has it to itself.
const alone = 'close';

describe.concurrent.each(wires)('$name', ({ stage, less }) => {
  for (const { name, title, run } of transportRules(stage, { less }))
    if (name !== alone) test(title, run, 60_000);
});

describe.each(wires)('$name', ({ stage, less }) => {
  for (const { name, title, run } of transportRules(stage, { less }))
    if (name === alone) test(title, run, 60_000);
});
