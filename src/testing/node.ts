/** `holdfast/testing/node`: what needs real sockets, so that `holdfast/testing` runs in browsers. */
export {
  type FaultProxy,
  type FaultProxyOptions,
  faultProxy,
  type ProxyCounters,
  type ProxyFaults,
  type ProxyTarget,
} from './fault-proxy.node.js';
export { captivePortal, type ProxyAccept, type ProxyAnswer } from './proxy-door.node.js';
export type { ProxyConnection } from './proxy-pair.node.js';
export { type RealStageOptions, realStage } from './real-stage.node.js';
