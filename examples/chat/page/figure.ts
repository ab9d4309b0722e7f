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
const BAR = 500;
/** Milliseconds that the picture holds: a narrow one less. */
const SPANS = { wide: 60_000, narrow: 30_000 };
/** A picture that is no wider, in CSS pixels, is narrow. */
const NARROW = 340;
/** Milliseconds between two drawings, and between two for those who want less motion. */
const PACE = { usual: 50, calm: 1_000 };
const FONT = '11px system-ui, sans-serif';

export class Figure {
  readonly #canvas: HTMLCanvasElement;
  readonly #calm = matchMedia('(prefers-reduced-motion: reduce)');
  #drawnAt = Number.NEGATIVE_INFINITY;
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
    if (now - this.#drawnAt < (this.#calm.matches ? PACE.calm : PACE.usual)) return;
    this.#drawnAt = now;
    const pen = this.#pen();
    if (pen === null) return;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const span = width > NARROW ? SPANS.wide : SPANS.narrow;
    this.#forget(now - span - 1_000);
    const plan: Plan = {
      width,
      span,
      now,
      lanes: lanesOf(height),
      x: (at) => width * (1 - (now - at) / span),
      colour: colours(),
    };
    drawRules(pen, plan);
    this.#drawEvents(pen, plan);
    this.#drawAnswers(pen, plan);
    this.#drawStates(pen, plan);
    this.#drawHarms(pen, plan);
    drawLabels(pen, plan);
  }

  /** Sharp on every screen, and as large as its card has room for. */
  #pen(): CanvasRenderingContext2D | null {
    const canvas = this.#canvas;
    const pen = canvas.getContext('2d');
    const ratio = devicePixelRatio;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    pen?.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen?.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
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

  #drawHarms(pen: CanvasRenderingContext2D, { x, colour, lanes, width }: Plan): void {
    let free = Number.NEGATIVE_INFINITY;
    pen.fillStyle = pen.strokeStyle = colour('--off');
    pen.setLineDash([2, 3]);
    for (const { at, label } of this.#harms) {
      const left = Math.round(x(at)) + 0.5;
      pen.beginPath();
      pen.moveTo(left, 14);
      pen.lineTo(left, lanes.states[1]);
      pen.stroke();
      const long = pen.measureText(label).width;
      // Beside its line: to the right, or where the picture ends there, to the left.
      const start = left + 3 + long <= width ? left + 3 : left - 3 - long;
      if (start < free) continue;
      pen.fillText(label, start, 7);
      free = start + long + 3;
    }
    pen.setLineDash([]);
  }

  /** Square roots: a flood of what was missed stays in the picture, and a single event is seen. */
  #drawEvents(pen: CanvasRenderingContext2D, { x, colour, lanes, width, span }: Plan): void {
    const [top, bottom] = lanes.events;
    const bar = Math.max(1, (width * BAR) / span - 1);
    const most = Math.max(40, ...[...this.#buckets.values()].map(({ live, late }) => live + late));
    const height = (count: number) => ((bottom - top) * Math.sqrt(count)) / Math.sqrt(most);
    for (const [key, { live, late }] of this.#buckets) {
      const left = x(key * BAR);
      const all = height(live + late);
      const lower = height(late);
      pen.fillStyle = colour('--behind');
      pen.fillRect(left, bottom - lower, bar, lower);
      pen.fillStyle = colour('--ok');
      pen.fillRect(left, bottom - all, bar, all - lower);
    }
  }

  /** On a scale of powers of ten, at the moment of the question. */
  #drawAnswers(pen: CanvasRenderingContext2D, { x, colour, now, lanes }: Plan): void {
    for (const { at, took } of this.#asked) {
      pen.fillStyle = pen.strokeStyle =
        took === null || took > 1_000 ? colour('--wait') : colour('--soft');
      pen.beginPath();
      pen.arc(x(at), answerHeight(took ?? now - at, lanes), 2.2, 0, 2 * Math.PI);
      if (took === null) pen.stroke();
      else pen.fill();
    }
  }

  #drawStates(pen: CanvasRenderingContext2D, { x, colour, width, lanes }: Plan): void {
    const [top, bottom] = lanes.states;
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
  readonly width: number;
  /** Milliseconds. */
  readonly span: number;
  readonly now: number;
  readonly lanes: Lanes;
  readonly x: (at: number) => number;
  readonly colour: (name: string) => string;
}

/** Top and bottom of each lane, in CSS pixels. */
interface Lanes {
  readonly events: readonly [number, number];
  readonly answers: readonly [number, number];
  readonly states: readonly [number, number];
  readonly axis: number;
}

function lanesOf(height: number): Lanes {
  const states = [height - 34, height - 22] as const;
  const middle = 16 + (states[0] - 16) / 2;
  return {
    events: [16, middle - 4],
    answers: [middle + 14, states[0] - 12],
    states,
    axis: height - 8,
  };
}

/** Milliseconds that have a line, and those that say so. */
const POWERS = [1, 10, 100, 1_000, 10_000];
const LABELS = { 1: '1 ms', 100: '100 ms', 10000: '10 s' };

function drawRules(pen: CanvasRenderingContext2D, { width, lanes, colour }: Plan): void {
  pen.font = FONT;
  pen.lineWidth = 1;
  pen.textAlign = 'left';
  pen.textBaseline = 'middle';
  pen.strokeStyle = colour('--line');
  for (const y of [lanes.events[1], ...POWERS.map((ms) => answerHeight(ms, lanes))]) {
    pen.beginPath();
    pen.moveTo(0, Math.round(y) + 0.5);
    pen.lineTo(width, Math.round(y) + 0.5);
    pen.stroke();
  }
}

/** Last, and on a patch of the card: what passes behind them does not cross them out. */
function drawLabels(pen: CanvasRenderingContext2D, { width, span, lanes, colour }: Plan): void {
  for (const [ms, label] of Object.entries(LABELS)) {
    const y = answerHeight(Number(ms), lanes) - 7;
    pen.fillStyle = colour('--card');
    pen.fillRect(0, y - 6, pen.measureText(label).width + 3, 12);
    pen.fillStyle = colour('--soft');
    pen.fillText(label, 0, y);
  }
  pen.fillText(`${span / 1_000} s ago`, 0, lanes.axis);
  pen.textAlign = 'right';
  pen.fillText('now', width, lanes.axis);
}

function answerHeight(ms: number, { answers: [top, bottom] }: Lanes): number {
  const power = Math.log10(Math.min(10_000, Math.max(1, ms)));
  return bottom - ((bottom - top) * power) / 4;
}

/** As the style sheet has them now, by day or by night. */
function colours(): (name: string) => string {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name);
}
