/** Events as a WebSocket's are, on platforms that lack some of their classes too. */

/** What a listener is told, by type. */
export interface ReconnectingWebSocketEventMap {
  open: Event;
  message: MessageEvent;
  close: CloseEvent;
  /** `message` and `error` say why, where the platform does. */
  error: ErrorEvent;
}

type EventType = keyof ReconnectingWebSocketEventMap;

/** The platform's own class where it has one; what that does not take is set on the event. */
export function eventOf<K extends EventType>(
  type: K,
  fields: Readonly<Record<string, unknown>> = {},
): ReconnectingWebSocketEventMap[K] {
  const event = native(type, fields) ?? { type, ...inert };
  for (const [name, value] of Object.entries(fields)) {
    if (Reflect.get(event, name) !== value) {
      Object.defineProperty(event, name, { value, enumerable: true });
    }
  }
  // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- made of that class, or of its fields
  return event as ReconnectingWebSocketEventMap[K];
}

/** Node has no ErrorEvent and had no CloseEvent, React Native and bare contexts have less. */
function native(type: EventType, fields: object): Event | undefined {
  for (const kind of [classes[type], classes.open]) {
    try {
      return kind(type, fields);
    } catch {
      // Missing, or denied to this page.
    }
  }
  return undefined;
}

const classes: Record<EventType, (type: string, fields: object) => Event> = {
  open: (type) => new Event(type),
  message: (type, fields) => new MessageEvent(type, fields),
  close: (type, fields) => new CloseEvent(type, fields),
  error: (type, fields) => new ErrorEvent(type, fields),
};

/** These events can be neither cancelled nor stopped on their way: they have none. */
const inert = {
  defaultPrevented: false,
  preventDefault() {},
  stopPropagation() {},
  stopImmediatePropagation() {},
};

/** A DOMException where there is one. */
export function exception(message: string, name: string): Error {
  try {
    return new DOMException(message, name);
  } catch {
    return Object.assign(new Error(message), { name });
  }
}
