/** One picture of the last minute: events as they came, answer times, states, and the harm that was done. */
import type { Tone } from './words.ts';

interface Bucket {
  live: number;
  late: number;
}

interface Asked {
  readonly at: number;
  took: number | null;
}

interface Span {
  readonly at: number;
  readonly tone: Tone;
}

/** Milliseconds of one bar. */
const BAR = 250;
/** Milliseconds that the picture holds: a narrow one less. */
const SPANS = { wide: 60_000, narrow: 30_000 };
/** Top and bottom of each lane, in CSS pixels of a picture 230 high. */
const LANES = { events: [18, 92], answers: [108, 182], states: [196, 208], axis: 222 } as const;
const HEIGHT = 230;
const FONT = '11px system-ui, sans-serif';

export class Figure {
  readonly #canvas: HTMLCanvasElement;
  readonly #buckets = new Map<number, Bucket>();
  #asked: Asked[] = [];
  #spans: Span[] = [];
  #harms: { readonly at: number; readonly label: string }[] = [];

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  /** @param isLate it was missed first, and caught up with now */
  arrived(isLate: boolean): void {
    const key = Math.floor(performance.now() / BAR);
    const bucket = this.#buckets.get(key) ?? { live: 0, late: 0 };
    bucket[isLate ? 'late' : 'live']++;
    this.#buckets.set(key, bucket);
  }

  /** A request leaves; call what is returned when it is answered. */
  asked(): () => void {
    const asked: Asked = { at: performance.now(), took: null };
    this.#asked.push(asked);
    return () => {
      asked.took = performance.now() - asked.at;
    };
  }

  entered(tone: Tone): void {
    if (this.#spans.at(-1)?.tone !== tone) this.#spans.push({ at: performance.now(), tone });
  }

  harmed(label: string): void {
    this.#harms.push({ at: performance.now(), label });
  }

  draw(now: number): void {
    const pen = this.#pen();
    if (pen === null) return;
    const { clientWidth: width } = this.#canvas;
    const span = width < 480 ? SPANS.narrow : SPANS.wide;
    this.#forget(now - span - 1_000);
    const x = (at: number) => width * (1 - (now - at) / span);
    const colour = colours();
    drawAxis(pen, { width, span, colour });
    this.#drawHarms(pen, { x, colour });
    this.#drawEvents(pen, { x, colour, bar: (width * BAR) / span });
    this.#drawAnswers(pen, { x, colour, now });
    this.#drawStates(pen, { x, colour, width });
  }

  /** Sharp on every screen, and as wide as its card. */
  #pen(): CanvasRenderingContext2D | null {
    const canvas = this.#canvas;
    const pen = canvas.getContext('2d');
    const ratio = devicePixelRatio;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio];
    if (canvas.width !== Math.round(width) || canvas.height !== Math.round(height)) {
      canvas.width = Math.round(width);
      canvas.height = Math.round(height);
    }
    pen?.setTransform(ratio, 0, 0, (canvas.clientHeight / HEIGHT) * ratio, 0, 0);
    pen?.clearRect(0, 0, canvas.clientWidth, HEIGHT);
    return pen;
  }

  #forget(before: number): void {
    for (const key of this.#buckets.keys()) {
      if (key * BAR < before) this.#buckets.delete(key);
      else break;
    }
    this.#asked = this.#asked.filter(({ at, took }) => at + (took ?? 0) > before);
    this.#harms = this.#harms.filter(({ at }) => at > before);
    while ((this.#spans[1]?.at ?? before) < before) this.#spans.shift();
  }

  #drawHarms(pen: CanvasRenderingContext2D, { x, colour }: Plan): void {
    let free = Number.NEGATIVE_INFINITY;
    pen.fillStyle = pen.strokeStyle = colour('--off');
    pen.setLineDash([2, 3]);
    for (const { at, label } of this.#harms) {
      const left = x(at);
      pen.beginPath();
      pen.moveTo(left, 4);
      pen.lineTo(left, LANES.states[1]);
      pen.stroke();
      if (left < free) continue;
      pen.fillText(label, left + 4, 11);
      free = left + pen.measureText(label).width + 10;
    }
    pen.setLineDash([]);
  }

  /** Square roots: a flood of what was missed stays in the picture, and a single event is seen. */
  #drawEvents(pen: CanvasRenderingContext2D, { x, colour, bar }: Plan & { bar: number }): void {
    const [top, bottom] = LANES.events;
    const most = Math.max(25, ...[...this.#buckets.values()].map(({ live, late }) => live + late));
    const height = (count: number) => ((bottom - top) * Math.sqrt(count)) / Math.sqrt(most);
    for (const [key, { live, late }] of this.#buckets) {
      const left = x(key * BAR);
      const all = height(live + late);
      const lower = height(late);
      pen.fillStyle = colour('--behind');
      pen.fillRect(left, bottom - lower, Math.max(1, bar - 1), lower);
      pen.fillStyle = colour('--ok');
      pen.fillRect(left, bottom - all, Math.max(1, bar - 1), all - lower);
    }
  }

  /** On a scale of powers of ten, at the moment of the question. */
  #drawAnswers(pen: CanvasRenderingContext2D, { x, colour, now }: Plan & { now: number }): void {
    for (const { at, took } of this.#asked) {
      pen.fillStyle = pen.strokeStyle =
        took === null || took > 1_000 ? colour('--wait') : colour('--soft');
      pen.beginPath();
      pen.arc(x(at), answerHeight(took ?? now - at), 2.2, 0, 2 * Math.PI);
      if (took === null) pen.stroke();
      else pen.fill();
    }
  }

  #drawStates(pen: CanvasRenderingContext2D, { x, colour, width }: Plan & { width: number }): void {
    const [top, bottom] = LANES.states;
    this.#spans.forEach(({ at, tone }, index) => {
      const next = this.#spans[index + 1];
      const left = Math.max(0, x(at));
      const right = next === undefined ? width : x(next.at);
      pen.fillStyle = colour(`--${tone}`);
      // A state that lasted for a blink is seen all the same.
      pen.fillRect(left, top, Math.max(1.5, right - left), bottom - top);
    });
  }
}

interface Plan {
  readonly x: (at: number) => number;
  readonly colour: (name: string) => string;
}

function drawAxis(
  pen: CanvasRenderingContext2D,
  { width, span, colour }: { width: number; span: number; colour: Plan['colour'] },
): void {
  pen.font = FONT;
  pen.lineWidth = 1;
  pen.textAlign = 'left';
  pen.textBaseline = 'middle';
  pen.fillStyle = colour('--soft');
  pen.strokeStyle = colour('--line');
  const rule = (y: number) => {
    pen.beginPath();
    pen.moveTo(0, y);
    pen.lineTo(width, y);
    pen.stroke();
  };
  rule(LANES.events[1] + 0.5);
  for (const [ms, label] of [
    [1, '1 ms'],
    [10, ''],
    [100, '100 ms'],
    [1_000, ''],
    [10_000, '10 s'],
  ] as const) {
    rule(Math.round(answerHeight(ms)) + 0.5);
    pen.fillText(label, 0, answerHeight(ms) - 6);
  }
  pen.fillText(`${span / 1_000} s ago`, 0, LANES.axis);
  pen.textAlign = 'right';
  pen.fillText('now', width, LANES.axis);
  pen.textAlign = 'left';
}

function answerHeight(ms: number): number {
  const [top, bottom] = LANES.answers;
  const power = Math.log10(Math.min(10_000, Math.max(1, ms)));
  return bottom - ((bottom - top) * power) / 4;
}

/** As the style sheet has them now, by day or by night. */
function colours(): (name: string) => string {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name);
}
