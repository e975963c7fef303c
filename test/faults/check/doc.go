// Package check judges histories: whether what clients were told can have come
// from one ensemble that keeps its promises (docs/consistency.md).
//
//   - Linearizable: writes, and reads behind a sync or a write of the same
//     session, took effect in one order that agrees with real time;
//   - Order: a session's answers come in the order of its requests, with zxids
//     that do not fall, on all its connections; no zxid was given twice; what a
//     read shows is what was there at the zxid of its answer;
//   - Ephemerals: nodes of a session are there exactly as long as it is;
//   - Expiry: no session ended whose client was answered within its timeout;
//   - Watches: a watch fires for the first change, before any answer shows it;
//   - Appended: no acknowledged write is missing at the end, none is there twice.
//
// What a client was not told may have happened or not, until its session has
// been attached again or has ended: a write that was under way then has either
// been executed, or is refused (docs/architecture.md, invariant 3).
//
// In the room: pure functions of a history. Not in the room: clocks, processes,
// the servers' packages.
package check
