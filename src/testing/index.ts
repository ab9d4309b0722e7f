/** `holdfast/testing`: everything a test needs in place of time, chance and a network. */
export type {
  ClientFrame,
  ErrorBody,
  Event,
  Hello,
  Request,
  RoomJoined,
  ServerFrame,
  Welcome,
} from '../protocol/frame.js';
export type { Ending, HubParts, StageNetwork, TransportStage } from './conformance/stage.js';
export {
  type PromiseName,
  type TransportRule,
  type TransportRulesOptions,
  transportRules,
} from './conformance.js';
export { ids, seededDice } from './dice.js';
export type { Direction, EachWay, Faults, FrameTest, PassingFrame } from './memory-faults.js';
export type { Accept } from './memory-link.js';
export {
  type FaultControls,
  type MemoryLink,
  type MemoryNetwork,
  type MemoryNetworkOptions,
  type MemoryTransportOptions,
  memoryNetwork,
  type NetworkClock,
} from './memory-network.js';
export {
  type CrashOptions,
  type MemoryStorage,
  type MemoryStorageOptions,
  memoryStorage,
  type StorageFaults,
  type StoredSlot,
} from './memory-storage.js';
export {
  type Recordable,
  type RecordedGap,
  type RecordedMeta,
  type Recorder,
  recorder,
  type Sighting,
} from './recorder.js';
export { type Decided, type Replay, type ReplayedStep, replayTrace } from './replay.js';
export { type SaveOptions, saveTrace } from './saved-trace.js';
export type { ScriptedLink } from './scripted-link.js';
export { type ScriptedServer, scriptedServer } from './scripted-server.js';
export {
  drawFault,
  drawFaults,
  type FaultDraw,
  type FaultStage,
  type FaultSurroundings,
  type NetworkFault,
  playFaults,
  startFault,
  type TimedFault,
} from './simulation/network-faults.js';
export { type ShrinkOptions, shrink } from './simulation/shrink.js';
export { type StorageRule, storageRules } from './storage-rules.js';
export {
  VIRTUAL_EPOCH,
  type VirtualClock,
  type VirtualDevice,
  virtualClock,
} from './virtual-clock.js';
