/** One promise of a transport, as a scene that can fail. */
import type { Scene } from './scene.js';

export interface Promised {
  /** A sentence in the present tense. */
  readonly title: string;
  /** @throws Error where it is broken. */
  play(scene: Scene): Promise<void>;
}

export function promised(title: string, play: Promised['play']): Promised {
  return { title, play };
}
