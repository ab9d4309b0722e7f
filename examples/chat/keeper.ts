/** The lighthouse keeper: somebody who talks, so that a visitor who is alone has something to miss. */

export function remark(number: number): string {
  return remarks[(number - 1) % remarks.length] ?? '';
}

const remarks = [
  'Evening. The lamp is lit.',
  'A holdfast is the root that kelp grips its rock with. It feeds nothing. It only holds.',
  'Pull the plug on the right, whenever you like. I keep talking.',
  'Two boats went out, two came back. That is the whole job: counting.',
  'Fog. I can hear the bell buoy, so the line is alive.',
  'No bell for a second and a half, and I would send a boat.',
  'Write something while you are cut off. It leaves with the first tide.',
  'The radio says everything twice. I write it down once.',
  'Every wave has a number. I look for the one that is missing.',
  'If I ever lose my logbook I shall tell you so. That is what a gap notice is.',
  'When the harbour opens again, do not all row at once.',
  'Gulls keep no order. My logbook does.',
];
